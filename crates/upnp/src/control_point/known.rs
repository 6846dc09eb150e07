//! What the control point keeps of a device it has read: compact, as there may be hundreds.

use core::net::IpAddr;
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::description::DeviceDesc;
use crate::ids::{TypeUrn, Udn};
use crate::limits::INTERNED_MAX;
use crate::net::InterfaceId;
use crate::ssdp::Sighting;
use crate::url::HttpUrl;

/// A device whose description was read. Of the description only what is needed to show, call and subscribe is kept; texts are
/// at most `DESCRIPTION_TEXT_BYTES_MAX` bytes long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownDevice {
    /// Its name; that of an embedded device where that was searched for.
    pub udn: Udn,
    /// Where the description is, with scope id for a link-local address.
    pub location: HttpUrl,
    /// Interface it is reached through.
    pub interface: InterfaceId,
    /// Its address.
    pub address: IpAddr,
    /// Our address toward it, which callback URLs name.
    pub local: IpAddr,
    /// BOOTID.UPNP.ORG; none from UDA 1.0 devices and static ones.
    pub boot_id: Option<u32>,
    /// CONFIGID.UPNP.ORG.
    pub config_id: Option<u32>,
    /// SERVER header of its announcements.
    pub server: Option<Arc<str>>,
    /// `deviceType`.
    pub device_type: TypeUrn,
    /// `friendlyName`.
    pub friendly_name: Box<str>,
    /// `manufacturer`; may be empty.
    pub manufacturer: Arc<str>,
    /// `modelName`; may be empty.
    pub model_name: Arc<str>,
    /// `presentationURL`, where it leads to the device itself.
    pub presentation_url: Option<HttpUrl>,
    /// Services of the device and of the devices embedded in it.
    pub services: Box<[KnownService]>,
}

/// A service of a [`KnownDevice`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownService {
    /// `serviceType`, in the version the device offers.
    pub service_type: TypeUrn,
    /// Where actions are posted.
    pub control_url: HttpUrl,
    /// Where subscriptions are made; none where the service has no events.
    pub event_url: Option<HttpUrl>,
}

impl KnownDevice {
    /// The first service that serves who asks for `wanted`.
    pub fn service(&self, wanted: &TypeUrn) -> Option<&KnownService> {
        self.services.iter().find(|s| s.service_type.serves(wanted))
    }

    pub(super) fn new(sighting: &Sighting, desc: &DeviceDesc, texts: &mut Interner) -> Self {
        let mut services = Vec::new();
        collect(desc, &mut services, texts);
        Self {
            udn: sighting.udn.clone(),
            location: sighting.location.clone(),
            interface: sighting.interface,
            address: sighting.location.address().ip(),
            local: sighting.local,
            boot_id: sighting.boot_id,
            config_id: sighting.config_id,
            server: sighting.server.as_deref().map(|s| texts.text(s)),
            device_type: texts.urn(&desc.device_type),
            friendly_name: desc.friendly_name.as_str().into(),
            manufacturer: texts.text(&desc.manufacturer),
            model_name: texts.text(&desc.model_name),
            presentation_url: desc.presentation_url.clone(),
            services: services.into(),
        }
    }

    /// The same device as it is sighted now, its description unchanged.
    pub(super) fn sighted_again(&self, sighting: &Sighting, texts: &mut Interner) -> Self {
        Self {
            interface: sighting.interface,
            local: sighting.local,
            boot_id: sighting.boot_id,
            config_id: sighting.config_id,
            server: sighting.server.as_deref().map(|s| texts.text(s)),
            ..self.clone()
        }
    }
}

fn collect(desc: &DeviceDesc, services: &mut Vec<KnownService>, texts: &mut Interner) {
    services.extend(desc.services.iter().map(|s| KnownService {
        service_type: texts.urn(&s.service_type),
        control_url: s.control_url.clone(),
        event_url: s.event_url.clone(),
    }));
    for embedded in &desc.embedded {
        collect(embedded, services, texts);
    }
}

/// Texts and types that many devices share, held once.
#[derive(Debug, Default)]
pub(super) struct Interner {
    texts: BTreeSet<Arc<str>>,
    urns: BTreeSet<TypeUrn>,
}

impl Interner {
    pub(super) fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return known.clone();
        }
        let text: Arc<str> = text.into();
        if self.texts.len() >= INTERNED_MAX {
            self.texts.retain(|t| Arc::strong_count(t) > 1);
        }
        if self.texts.len() < INTERNED_MAX {
            self.texts.insert(text.clone());
        }
        text
    }

    pub(super) fn urn(&mut self, urn: &TypeUrn) -> TypeUrn {
        if let Some(known) = self.urns.get(urn) {
            return known.clone();
        }
        if self.urns.len() < INTERNED_MAX {
            self.urns.insert(urn.clone());
        }
        urn.clone()
    }
}
