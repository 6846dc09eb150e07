//! Device description (UDA 1.1, 2.3): reads those of foreign devices leniently, writes ours strictly.

use core::fmt::Write as _;

use crate::device::DeviceConfig;
use crate::ids::{NameError, TypeUrn, Udn};
use crate::limits::{DESCRIPTION_TEXT_BYTES_MAX, DEVICES_MAX, SERVICES_MAX};
use crate::service::Eventing;
use crate::url::HttpUrl;
use crate::xml::{self, Caps, Element, Writer, XmlError};

/// Namespace of a description.
pub const NAMESPACE: &str = "urn:schemas-upnp-org:device-1-0";

/// Why a description was not taken.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum DescriptionError {
    /// Not XML, or XML beyond the caps.
    #[error("the description is not usable XML")]
    Xml(#[from] XmlError),
    /// No `device` element below the root.
    #[error("no device in the description")]
    NoDevice,
    /// The root device has no usable `UDN`.
    #[error("no usable UDN")]
    Udn(#[source] NameError),
    /// The root device has no usable `deviceType`.
    #[error("no usable deviceType")]
    DeviceType(#[source] NameError),
}

/// What a description says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The root device with all below it.
    pub root: DeviceDesc,
    /// `configId` of the root element, where given.
    pub config_id: Option<u32>,
}

/// One device of a description. Texts are trimmed and at most [`DESCRIPTION_TEXT_BYTES_MAX`] bytes; a missing one is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceDesc {
    /// `UDN`.
    pub udn: Udn,
    /// `deviceType`.
    pub device_type: TypeUrn,
    /// `friendlyName`.
    pub friendly_name: String,
    /// `manufacturer`.
    pub manufacturer: String,
    /// `modelName`.
    pub model_name: String,
    /// `modelDescription`.
    pub model_description: String,
    /// `modelNumber`.
    pub model_number: String,
    /// `presentationURL` on the device's own host.
    pub presentation_url: Option<HttpUrl>,
    /// Services in document order, at most [`SERVICES_MAX`]; one without a usable type or control URL is left out.
    pub services: Vec<ServiceDesc>,
    /// Embedded devices in document order; one without a usable UDN or type is left out.
    pub embedded: Vec<DeviceDesc>,
}

/// One service of a description. URLs are absolute and on the host of the description (SECURITY.md).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceDesc {
    /// `serviceType`.
    pub service_type: TypeUrn,
    /// `serviceId`.
    pub service_id: String,
    /// `SCPDURL`; none where it is missing or leads elsewhere.
    pub scpd_url: Option<HttpUrl>,
    /// `controlURL`.
    pub control_url: HttpUrl,
    /// `eventSubURL`; none where the service has no evented variables, or the URL leads elsewhere.
    pub event_url: Option<HttpUrl>,
}

impl Description {
    /// Reads a description that was fetched from `base`. Relative URLs are resolved against `URLBase` where that is on the
    /// same host, else against `base`. Elements it does not know are passed over.
    pub fn parse(bytes: &[u8], base: &HttpUrl) -> Result<Self, DescriptionError> {
        let root = xml::parse(bytes, Caps::DESCRIPTION)?;
        let base = match root.child_text("URLBase").map(|u| base.join(u)) {
            Some(Ok(url)) => url,
            _ => base.clone(),
        };
        let device = root.child("device").ok_or(DescriptionError::NoDevice)?;
        let config_id = root.attribute("configId").and_then(|c| c.trim().parse().ok());
        let mut left = DEVICES_MAX;
        Ok(Self { root: device_desc(device, &base, &mut left)?, config_id })
    }

    /// The root device and all embedded ones, depth first.
    pub fn devices(&self) -> impl Iterator<Item = &DeviceDesc> {
        let mut stack = vec![&self.root];
        core::iter::from_fn(move || {
            let next = stack.pop()?;
            stack.extend(next.embedded.iter().rev());
            Some(next)
        })
    }

    /// All services of all devices, those of the root device first.
    pub fn services(&self) -> impl Iterator<Item = &ServiceDesc> {
        self.devices().flat_map(|d| &d.services)
    }
}

fn device_desc(device: &Element, base: &HttpUrl, left: &mut usize) -> Result<DeviceDesc, DescriptionError> {
    *left = left.saturating_sub(1);
    let text = |name| cut(device.child_text(name).unwrap_or_default());
    let udn = Udn::parse(device.child_text("UDN").unwrap_or_default()).map_err(DescriptionError::Udn)?;
    let device_type =
        TypeUrn::parse(device.child_text("deviceType").unwrap_or_default()).map_err(DescriptionError::DeviceType)?;
    let services = device
        .child("serviceList")
        .map(|list| list.children_named("service").filter_map(|s| service_desc(s, base)).take(SERVICES_MAX).collect());
    let mut embedded = Vec::new();
    for inner in device.child("deviceList").into_iter().flat_map(|l| l.children_named("device")) {
        if *left == 0 {
            break;
        }
        embedded.extend(device_desc(inner, base, left).ok());
    }
    Ok(DeviceDesc {
        udn,
        device_type,
        friendly_name: text("friendlyName"),
        manufacturer: text("manufacturer"),
        model_name: text("modelName"),
        model_description: text("modelDescription"),
        model_number: text("modelNumber"),
        presentation_url: url(device, "presentationURL", base),
        services: services.unwrap_or_default(),
        embedded,
    })
}

fn service_desc(service: &Element, base: &HttpUrl) -> Option<ServiceDesc> {
    Some(ServiceDesc {
        service_type: TypeUrn::parse(service.child_text("serviceType")?).ok()?,
        service_id: cut(service.child_text("serviceId").unwrap_or_default()),
        scpd_url: url(service, "SCPDURL", base),
        control_url: url(service, "controlURL", base)?,
        event_url: url(service, "eventSubURL", base),
    })
}

fn url(parent: &Element, name: &str, base: &HttpUrl) -> Option<HttpUrl> {
    base.join(parent.child_text(name)?).ok()
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(DESCRIPTION_TEXT_BYTES_MAX)].to_owned()
}

/// Writes our description: one root device without embedded ones, URLs rooted at our own paths, so that the same document
/// is right on every address. `config_id` is left out where it is being computed.
pub fn write(cfg: &DeviceConfig, config_id: Option<u32>) -> String {
    let id = config_id.map(|id| id.to_string());
    let mut attributes = vec![("xmlns", NAMESPACE)];
    attributes.extend(id.as_deref().map(|id| ("configId", id)));
    let mut w = Writer::document();
    w.start("root", &attributes);
    w.start("specVersion", &[]).leaf("major", "1").leaf("minor", "1").end("specVersion");
    w.start("device", &[]);
    w.leaf("deviceType", &cfg.device_type.to_string());
    w.leaf("friendlyName", &cfg.friendly_name);
    w.leaf("manufacturer", &cfg.manufacturer);
    for (name, text) in [
        ("manufacturerURL", &cfg.manufacturer_url),
        ("modelDescription", &cfg.model_description),
        ("modelName", &cfg.model_name),
        ("modelNumber", &cfg.model_number),
    ] {
        // Optional elements, save modelName, which UDA requires even if empty.
        if !text.is_empty() || name == "modelName" {
            w.leaf(name, text);
        }
    }
    w.leaf("UDN", cfg.udn.as_str());
    w.start("serviceList", &[]);
    let mut path = String::new();
    for service in &cfg.services {
        let mut at = |what: &str| {
            path.clear();
            // Writing to a String cannot fail.
            let _ = write!(path, "/{}/{what}", service.short_name());
            path.clone()
        };
        let evented = service.variables.iter().any(|v| v.eventing != Eventing::No);
        w.start("service", &[]);
        w.leaf("serviceType", service.service_type);
        w.leaf("serviceId", service.service_id);
        w.leaf("SCPDURL", &at("scpd.xml"));
        w.leaf("controlURL", &at("control"));
        // Empty for a service without evented variables (UDA 1.1, 2.3).
        w.leaf("eventSubURL", &if evented { at("event") } else { String::new() });
        w.end("service");
    }
    w.end("serviceList").leaf("presentationURL", "/").end("device").end("root");
    w.finish()
}
