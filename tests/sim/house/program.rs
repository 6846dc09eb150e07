//! What runs on a host of the house: an appliance's machine, or the gateway.

use bytes::Bytes;
use http::Response;
use testkit::network::{Host, ReplyTo};
use upnp::net::{Datagram, HttpAnswer, IncomingRequest, Interface};
use upnp::time::BootTime;

use crate::appliance::Appliance;
use crate::gateway::GatewayHost;

/// A program on a host of the house.
pub(crate) enum Program {
    Appliance(Box<Appliance>),
    Gateway(Box<GatewayHost>),
}

impl Host for Program {
    fn handle_interfaces(&mut self, interfaces: &[Interface], now: BootTime) {
        match self {
            Self::Appliance(a) => a.handle_interfaces(interfaces, now),
            Self::Gateway(g) => g.handle_interfaces(interfaces, now),
        }
    }
    fn handle_datagram(&mut self, datagram: &Datagram, now: BootTime) {
        match self {
            Self::Appliance(a) => a.handle_datagram(datagram, now),
            Self::Gateway(g) => g.handle_datagram(datagram, now),
        }
    }
    fn handle_request(&mut self, request: IncomingRequest, id: ReplyTo, now: BootTime) -> Option<Response<Bytes>> {
        match self {
            Self::Appliance(a) => {
                a.handle_request(&request, id, now);
                None
            }
            Self::Gateway(g) => g.handle_request(&request, id, now),
        }
    }
    fn handle_answer(&mut self, answer: HttpAnswer, now: BootTime) {
        match self {
            Self::Appliance(a) => a.handle_answer(answer, now),
            Self::Gateway(g) => g.handle_answer(answer, now),
        }
    }
    fn handle_timeout(&mut self, now: BootTime) {
        match self {
            Self::Appliance(a) => a.handle_timeout(now),
            Self::Gateway(g) => g.handle_timeout(now),
        }
    }
    fn poll_effect(&mut self) -> Option<upnp::Effect> {
        match self {
            Self::Appliance(a) => a.poll_effect(),
            Self::Gateway(g) => g.poll_effect(),
        }
    }
    fn poll_response(&mut self) -> Option<(ReplyTo, Response<Bytes>)> {
        match self {
            Self::Appliance(a) => a.poll_response(),
            Self::Gateway(g) => g.poll_response(),
        }
    }
    fn poll_timeout(&self) -> Option<BootTime> {
        match self {
            Self::Appliance(a) => a.poll_timeout(),
            Self::Gateway(g) => g.poll_timeout(),
        }
    }
}
