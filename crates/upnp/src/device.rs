//! A root device: its documents, its services, its subscribers and its announcements behind one face.
//!
//! HTTP requests come in at [`RootDevice::handle_request`], which answers what it can by itself (documents, subscriptions,
//! everything refused) and hands a checked action call to its caller. Changes come in at [`RootDevice::set_variables`].
//! Announcements and events go out as effects. Paths: `/description.xml`, `/NAME/scpd.xml`, `/NAME/control`,
//! `/NAME/event` with the NAME of `urn:DOMAIN:service:NAME:VERSION`, and `/` for the presentation page.

use core::time::Duration;
use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, SERVER, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};

use crate::error::{ErrorCode, UpnpError};
use crate::gena::publisher::{Publisher, PublisherConfig};
use crate::http::{TEXT_XML, check_origin, document, empty, method_not_allowed};
use crate::ids::{TypeUrn, Udn};
use crate::net::{Channel, Datagram, Effect, HttpAnswer, IncomingRequest, Interface};
use crate::service::{ActionDecl, Direction, Eventing, ServiceDecl};
use crate::soap::{self, SoapReject};
use crate::ssdp::advertiser::{Advertiser, AdvertiserConfig, Announced};
use crate::time::{BootTime, earliest};
use crate::{description, scpd};

pub use crate::http::not_found;

/// Path of the description.
pub const DESCRIPTION_PATH: &str = "/description.xml";

const EXT: HeaderName = HeaderName::from_static("ext");

/// Who a device is.
#[derive(Clone, Debug)]
pub struct DeviceConfig {
    /// Unique Device Name, kept for the life of the device.
    pub udn: Udn,
    /// Device type.
    pub device_type: TypeUrn,
    /// Name for people.
    pub friendly_name: String,
    /// Maker's name.
    pub manufacturer: String,
    /// Maker's site; empty for none.
    pub manufacturer_url: String,
    /// Model name.
    pub model_name: String,
    /// What the model is; empty for none.
    pub model_description: String,
    /// Model number; empty for none.
    pub model_number: String,
    /// Services, in the order of the description.
    pub services: Vec<&'static ServiceDecl>,
    /// SERVER header: `OS/version UPnP/1.1 product/version`.
    pub server: String,
    /// TCP port of our HTTP server.
    pub http_port: u16,
    /// BOOTID.UPNP.ORG: 31 bits, higher at every start.
    pub boot_id: u32,
    /// How long an announcement holds; at least 1800 s.
    pub max_age: Duration,
    /// Names besides our addresses that may stand in a Host header.
    pub host_names: Vec<String>,
    /// Seeds everything random: SIDs and times of announcements.
    pub seed: u64,
}

/// A root device without embedded devices.
#[derive(Debug)]
pub struct RootDevice {
    server: HeaderValue,
    host_names: Vec<String>,
    config_id: u32,
    description: Bytes,
    services: Vec<Service>,
    advertiser: Advertiser,
    publisher: Publisher,
}

#[derive(Debug)]
struct Service {
    decl: &'static ServiceDecl,
    service_type: Option<TypeUrn>,
    scpd: Bytes,
}

/// What became of a request.
#[derive(Debug)]
pub enum Handled {
    /// Answered; hand the response over before asking for effects.
    Response(Response<Bytes>),
    /// An action to carry out; answer with [`ActionCall::respond`] within 30 s (UDA 1.1, 3.1.1).
    Action(ActionCall),
    /// GET or HEAD of the presentation page; answer with [`presentation_response`].
    Presentation,
    /// No path of this device. Host and Origin have been checked, save for a NOTIFY, which is for the control point to judge.
    /// Where nobody else knows the path, the answer is [`not_found`].
    NotMine,
}

/// A call that passed every check its declaration allows: the action exists, the IN arguments are all there, of their type
/// and within their allowed values.
#[derive(Clone, Debug)]
pub struct ActionCall {
    /// The service called.
    pub service: &'static ServiceDecl,
    /// The action called.
    pub action: &'static ActionDecl,
    /// IN arguments in declared order, in the spelling of [`soap::check_arguments`].
    pub arguments: Vec<(String, String)>,
    /// Who calls.
    pub peer: SocketAddr,
    /// The service type as the caller wrote it: a lower version than ours is answered in kind.
    service_type: Box<str>,
    server: HeaderValue,
}

impl ActionCall {
    /// The reply: the OUT arguments of `Ok`, put in declared order, or the fault. A missing OUT argument makes it 501.
    pub fn respond(&self, result: Result<Vec<(&'static str, String)>, UpnpError>) -> Response<Bytes> {
        let result = result.and_then(|values| {
            let out = self.action.arguments.iter().filter(|a| a.direction == Direction::Out);
            let ordered = out.map(|a| values.iter().find(|(name, _)| *name == a.name));
            let ordered: Option<Vec<_>> = ordered.map(|v| v.map(|(name, value)| (*name, &**value))).collect();
            let ordered = ordered.ok_or_else(|| UpnpError::new(ErrorCode::ACTION_FAILED))?;
            Ok(soap::write_response(&self.service_type, self.action.name, &ordered))
        });
        match result {
            Ok(body) => soap_response(StatusCode::OK, body, &self.server),
            Err(error) => soap_response(StatusCode::INTERNAL_SERVER_ERROR, soap::write_fault(&error), &self.server),
        }
    }
}

fn soap_response(status: StatusCode, body: Bytes, server: &HeaderValue) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, TEXT_XML);
    headers.insert(EXT, HeaderValue::from_static(""));
    headers.insert(SERVER, server.clone());
    response
}

/// The presentation page. It may not be framed, load anything, send a form or run a script: it is read only.
pub fn presentation_response(html: String) -> Response<Bytes> {
    const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; \
                          base-uri 'none'; form-action 'none'";
    let mut response = Response::new(Bytes::from(html));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=\"utf-8\""));
    headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static("en"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// What a path leads to; the number is the service's index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resource {
    Presentation,
    Description,
    Scpd(usize),
    Control(usize),
    Event(usize),
}

impl RootDevice {
    /// The device, silent until it is told of an interface.
    pub fn new(config: DeviceConfig, now: BootTime) -> Self {
        let config_id = config_id(&config);
        let service = |decl: &&'static ServiceDecl| Service {
            decl,
            service_type: TypeUrn::parse(decl.service_type).ok(),
            scpd: scpd::write_configured(decl, Some(config_id)).into(),
        };
        let services: Vec<_> = config.services.iter().map(service).collect();
        let description = description::write(&config, Some(config_id)).into();
        // Two machines with their own streams from one seed.
        let mut seeds = fastrand::Rng::with_seed(config.seed);
        let advertiser = AdvertiserConfig {
            root: Announced {
                udn: config.udn.clone(),
                device_type: config.device_type,
                service_types: services.iter().filter_map(|s| s.service_type.clone()).collect(),
            },
            embedded: Vec::new(),
            http_port: config.http_port,
            description_path: DESCRIPTION_PATH.to_owned(),
            server: config.server.clone(),
            max_age: config.max_age,
            boot_id: config.boot_id,
            config_id,
            seed: seeds.u64(..),
        };
        let advertiser = Advertiser::new(advertiser, now);
        let publisher = PublisherConfig {
            udn: config.udn,
            services: config.services,
            server: config.server.clone(),
            boot_id: advertiser.boot_id(),
            seed: seeds.u64(..),
        };
        Self {
            server: HeaderValue::from_str(&config.server).unwrap_or(HeaderValue::from_static("UPnP/1.1")),
            host_names: config.host_names,
            config_id,
            description,
            services,
            advertiser,
            publisher: Publisher::new(publisher, now),
        }
    }

    /// CONFIGID.UPNP.ORG: a hash of the description and all SCPDs, 0 to 2^24-1.
    pub fn config_id(&self) -> u32 {
        self.config_id
    }

    /// BOOTID.UPNP.ORG now in force; the next start must begin above it.
    pub fn boot_id(&self) -> u32 {
        self.advertiser.boot_id()
    }

    /// Takes the interfaces as they are now.
    pub fn handle_interfaces(&mut self, interfaces: &[Interface], now: BootTime) {
        self.advertiser.handle_interfaces(interfaces, now);
        self.publisher.handle_interfaces(interfaces);
        self.publisher.set_boot_id(self.advertiser.boot_id());
    }

    /// Takes a datagram; only those of SSDP matter to a device.
    pub fn handle_datagram(&mut self, datagram: &Datagram, now: BootTime) {
        if datagram.channel == Channel::Ssdp {
            self.advertiser.handle_datagram(datagram, now);
        }
    }

    /// Takes a request. Refuses, in this order: a foreign Host or Origin, an unknown path, a wrong method, a wrong body.
    pub fn handle_request(&mut self, incoming: &IncomingRequest, now: BootTime) -> Handled {
        let request = &incoming.request;
        let resource = self.resource(request.uri().path());
        if resource.is_none() && request.method().as_str() == "NOTIFY" {
            return Handled::NotMine;
        }
        if let Err(foreign) = check_origin(request, incoming.local, &self.host_names) {
            return Handled::Response(self.signed(empty(foreign.status())));
        }
        let Some(resource) = resource else {
            // None of ours and of nobody's: no path of this host has such parts.
            let odd = request.uri().path().contains("..") || request.uri().path().contains(['%', '\\']);
            return if odd { Handled::Response(self.signed(not_found())) } else { Handled::NotMine };
        };
        let response = match (resource, request.method().as_str()) {
            (Resource::Presentation, "GET" | "HEAD") => return Handled::Presentation,
            (Resource::Description, "GET" | "HEAD") => document(request, &self.description),
            (Resource::Scpd(i), "GET" | "HEAD") => document(request, &self.services[i].scpd),
            (Resource::Control(i), "POST") => match self.call(i, request, incoming.peer) {
                Ok(call) => return Handled::Action(call),
                Err(reject) => self.rejected(&reject),
            },
            (Resource::Event(i), "SUBSCRIBE" | "UNSUBSCRIBE") => {
                self.publisher.handle_request(self.services[i].decl, incoming, now)
            }
            (Resource::Presentation | Resource::Description | Resource::Scpd(_), _) => method_not_allowed("GET, HEAD"),
            (Resource::Control(_), _) => method_not_allowed("POST"),
            (Resource::Event(_), _) => method_not_allowed("SUBSCRIBE, UNSUBSCRIBE"),
        };
        Handled::Response(self.signed(response))
    }

    /// Takes the answer to one of our NOTIFYs.
    pub fn handle_answer(&mut self, answer: HttpAnswer, now: BootTime) {
        self.publisher.handle_answer(answer, now);
    }

    /// Takes new values of a service's state variables; changes of evented ones go out. Those of others are not looked at.
    pub fn set_variables(&mut self, service: &'static ServiceDecl, changes: &[(&'static str, String)], now: BootTime) {
        self.publisher.set_variables(service, changes, now);
    }

    /// Whether some event is queued or in flight; a machine that is to sleep waits for it, within bounds.
    pub fn events_pending(&self) -> bool {
        self.publisher.events_pending()
    }

    /// Number of subscriptions to all services.
    pub fn subscribers(&self) -> usize {
        self.publisher.subscribers()
    }

    /// The machine has slept: announces itself with a new BOOTID and ends subscriptions that ran out meanwhile.
    pub fn resumed(&mut self, now: BootTime) {
        self.advertiser.resumed(now);
        self.publisher.set_boot_id(self.advertiser.boot_id());
        self.publisher.resumed(now);
    }

    /// Says goodbye and ends all subscriptions. Wait for [`Self::events_pending`] before it if events are to arrive.
    pub fn stop(&mut self, now: BootTime) {
        self.publisher.stop();
        self.advertiser.stop(now);
    }

    /// The next order; events before announcements.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.publisher.poll_effect().or_else(|| self.advertiser.poll_effect())
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<BootTime> {
        earliest(self.publisher.poll_timeout(), self.advertiser.poll_timeout())
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: BootTime) {
        self.advertiser.handle_timeout(now);
        self.publisher.set_boot_id(self.advertiser.boot_id());
        self.publisher.handle_timeout(now);
    }

    fn resource(&self, path: &str) -> Option<Resource> {
        match path {
            "/" => return Some(Resource::Presentation),
            DESCRIPTION_PATH => return Some(Resource::Description),
            _ => {}
        }
        let (name, what) = path.strip_prefix('/')?.split_once('/')?;
        let index = self.services.iter().position(|s| s.decl.short_name() == name)?;
        match what {
            "scpd.xml" => Some(Resource::Scpd(index)),
            "control" => Some(Resource::Control(index)),
            "event" if is_evented(self.services[index].decl) => Some(Resource::Event(index)),
            _ => None,
        }
    }

    fn call(&self, index: usize, request: &Request<Bytes>, peer: SocketAddr) -> Result<ActionCall, SoapReject> {
        let Service { decl, service_type, .. } = &self.services[index];
        let asked = soap::parse_request(request.headers(), request.body())?;
        let invalid = |why: String| UpnpError::with(ErrorCode::INVALID_ACTION, format!("Invalid Action: {why}"));
        let served = asked.service_type == decl.service_type
            || match (service_type, TypeUrn::parse(&asked.service_type)) {
                (Some(ours), Ok(wanted)) => wanted.version() > 0 && ours.serves(&wanted),
                _ => false,
            };
        if !served {
            return Err(invalid(format!("this is {}", decl.service_type)).into());
        }
        let action = decl.action(&asked.action).ok_or_else(|| invalid(format!("not one of {}", decl.short_name())))?;
        let arguments = soap::check_arguments(decl, action, &asked.arguments)?;
        let service_type = asked.service_type.into();
        Ok(ActionCall { service: decl, action, arguments, peer, service_type, server: self.server.clone() })
    }

    fn rejected(&self, reject: &SoapReject) -> Response<Bytes> {
        let body = match reject {
            SoapReject::Fault(error) => soap::write_fault(error),
            SoapReject::MustUnderstand => soap::write_must_understand(),
            _ => return empty(reject.status()),
        };
        soap_response(reject.status(), body, &self.server)
    }

    fn signed(&self, mut response: Response<Bytes>) -> Response<Bytes> {
        response.headers_mut().insert(SERVER, self.server.clone());
        response
    }
}

fn is_evented(service: &ServiceDecl) -> bool {
    service.variables.iter().any(|v| v.eventing != Eventing::No)
}

/// FNV-1a of the documents, folded to 24 bits: the same documents give the same number on every machine and start.
fn config_id(config: &DeviceConfig) -> u32 {
    let mut hash = 0x811c_9dc5_u32;
    let scpds = config.services.iter().map(|s| scpd::write(s));
    for document in core::iter::once(description::write(config, None)).chain(scpds) {
        for byte in document.bytes() {
            hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        }
    }
    (hash >> 24) ^ (hash & 0x00ff_ffff)
}
