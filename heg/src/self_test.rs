//! `heg-gateway self-test`: does this build work on this machine? It needs no configuration and leaves nothing behind.
//!
//! Each check does the real thing: fresh keys and a sealed message, the database in a directory of its own, the device's answers to a
//! search and to a call, the kernel's tables. The network is not touched.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use daemon_kit::exit::Exit;
use daemon_kit::self_test::TemporaryDir;
use daemon_kit::{clock, identity};
use energy_model::RegId;
use energy_services::energy_gateway::DECLARATION;
use getrandom::SysRng;
use http::header::CONTENT_TYPE;
use rand_core::UnwrapErr;
use secure_http::UnixTime;
use upnp::Effect;
use upnp::description::Description;
use upnp::device::{DESCRIPTION_PATH, Handled, RootDevice};
use upnp::ids::Udn;
use upnp::net::{Channel, Datagram, IncomingRequest, Interface, InterfaceAddress, InterfaceId};
use upnp::soap;
use upnp::ssdp::message::{self, SsdpMessage};
use upnp::time::BootTime;

use crate::config::Config;
use crate::device::{self, Identity};
use crate::gateway::{Reply, Request};
use crate::journal::{Cause, Ending, Entry};
use crate::registry::{KnownBy, Profile};
use crate::store::batch::Batch;
use crate::store::{FILE, JournalQuery, Opened, Store};

/// The device's own address and a neighbour's, of the networks for examples (RFC 5737); nothing is sent there.
const HERE: [u8; 4] = [192, 0, 2, 1];
const PEER: ([u8; 4], u16) = ([192, 0, 2, 7], 40_000);
const HTTP_PORT: u16 = 49_152;
/// A search with MX 1 is answered within one second of virtual time (UDA 1.1, 1.3.3); announcements fall due meanwhile.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
const TURNS_MAX: usize = 1000;

/// Runs all checks and prints what came of them.
///
/// # Errors
/// Standard output is gone.
pub fn run() -> anyhow::Result<Exit> {
    daemon_kit::self_test::run(
        "heg-gateway",
        env!("CARGO_PKG_VERSION"),
        &[("sealed messages", sealed), ("database", database), ("UPnP", upnp), ("kernel", kernel), ("names", names)],
    )
}

fn sealed() -> anyhow::Result<String> {
    let now = UnixTime(u64::try_from(clock::wall().as_second()).context("the clock is before 1970")?);
    let tested = secure_http::self_test(&mut UnwrapErr(SysRng), now)?;
    Ok(format!("{} bytes sealed and opened with fresh keys, {} forgeries refused", tested.sealed_bytes, tested.refused))
}

fn database() -> anyhow::Result<String> {
    let dir = TemporaryDir::new()?;
    written_is_read_back(&dir.path().join(FILE))?;
    Ok(format!("SQLite {}, written and read back", rusqlite::version()))
}

fn written_is_read_back(path: &Path) -> anyhow::Result<()> {
    let now = clock::wall();
    let appliance = Profile {
        udn: fresh_udn()?,
        name: "Washing machine".into(),
        maker: "".into(),
        model: "".into(),
        address: Some(IpAddr::from(PEER.0)),
        mac: None,
        wake_method: None,
        facts: None,
        power: None,
        state: None,
        // The database keeps milliseconds.
        since: now.round(jiff::Unit::Millisecond)?,
        last_known: None,
        last_seen: None,
        known_by: KnownBy::OwnRequest,
        last_refusal: "".into(),
    };
    let entry = Entry {
        at: appliance.since,
        udn: Some(appliance.udn.clone()),
        action: "SelfTest".into(),
        cause: Cause::Gateway,
        ending: Ending::Done,
        reason: "".into(),
    };
    let batch = Batch {
        appliances: [(appliance.udn.clone(), Some(appliance.clone()))].into(),
        journal: vec![entry.clone()],
        last_reg: 7,
        ..Batch::default()
    };
    let retention = Config::default().retention();
    Store::open(path, retention, now)?.store.write(&batch, now)?;
    let Opened { store, restored, set_aside } = Store::open(path, retention, now)?;
    ensure!(set_aside.is_none(), "the database was damaged at once");
    ensure!(restored.appliances == [appliance] && restored.last_reg == 7, "the appliance reads back as another");
    let journal = store.journal(&JournalQuery { limit: 10, ..JournalQuery::default() })?;
    ensure!(journal == [entry], "the journal reads back as another");
    Ok(())
}

fn upnp() -> anyhow::Result<String> {
    let identity = Identity {
        udn: fresh_udn()?,
        friendly_name: "Self-test".to_owned(),
        server: format!("Linux UPnP/1.1 heg-gateway/{}", env!("CARGO_PKG_VERSION")),
        boot_id: 1,
    };
    let udn = identity.udn.clone();
    let mut device = device::root_device(&Config::default(), identity, HTTP_PORT, 1, BootTime::ZERO);
    let address = InterfaceAddress { address: HERE.into(), prefix_len: 24 };
    let interface = Interface { id: InterfaceId(1), name: "test".to_owned(), addresses: vec![address] };
    device.handle_interfaces(&[interface], BootTime::ZERO);
    let location = search(&mut device, &udn)?;
    let described = Description::parse(&get(&mut device, DESCRIPTION_PATH)?, &location.resolve(HERE.into())?)?;
    ensure!(described.services().any(|s| s.control_url.path().ends_with("/control")), "no service is described");
    call(&mut device, &udn)?;
    Ok("a search, the description and a call answered".to_owned())
}

fn search(device: &mut RootDevice, udn: &Udn) -> anyhow::Result<message::Location> {
    let text = format!(
        "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: {udn}\r\n\r\n"
    );
    let from = SocketAddr::from(PEER);
    let payload = Bytes::from(text);
    let datagram = Datagram { interface: InterfaceId(1), channel: Channel::Ssdp, multicast: true, from, payload };
    device.handle_datagram(&datagram, BootTime::ZERO);
    for _ in 0..TURNS_MAX {
        while let Some(effect) = device.poll_effect() {
            if let Effect::Send(sent) = effect
                && sent.to == from
            {
                let SsdpMessage::Answer(found) = message::parse(&sent.payload)? else { bail!("no answer to a search") };
                return found.location.context("an answer to a search without LOCATION");
            }
        }
        match device.poll_timeout() {
            Some(due) if due <= BootTime::ZERO + ANSWER_WITHIN => device.handle_timeout(due),
            _ => break,
        }
    }
    bail!("a search was not answered")
}

fn get(device: &mut RootDevice, path: &str) -> anyhow::Result<Bytes> {
    match device.handle_request(&incoming(http::Request::get(path), Bytes::new())?, BootTime::ZERO) {
        Handled::Response(response) if response.status().is_success() => Ok(response.into_body()),
        other => bail!("GET {path}: {other:?}"),
    }
}

fn call(device: &mut RootDevice, udn: &Udn) -> anyhow::Result<()> {
    let (action, wanted) = ("WakeUpTime", "06:30:00");
    let arguments = [("UUID", udn.bare()), ("Address", "192.0.2.7"), ("Time", wanted)];
    let arguments = arguments.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let body = soap::write_request(DECLARATION.service_type, action, &arguments);
    let request = http::Request::post(format!("/{}/control", DECLARATION.short_name()))
        .header(CONTENT_TYPE, "text/xml; charset=\"utf-8\"")
        .header("SOAPACTION", format!("\"{}#{action}\"", DECLARATION.service_type));
    let handled = device.handle_request(&incoming(request, body)?, BootTime::ZERO);
    let Handled::Action(call) = handled else { bail!("a call was not taken: {handled:?}") };
    match device::request(&call)? {
        (caller, Request::WakeUpTime(time)) if caller == *udn && time == wanted.parse()? => {}
        other => bail!("a call was understood as {other:?}"),
    }
    let response = device::response(&call, Reply::Registered(RegId::new(7)?));
    let (status, body) = (response.status(), response.into_body());
    let given = soap::parse_response(status, &body, action)?;
    ensure!(given == [("RegID".to_owned(), "7".to_owned())], "a call was answered by {given:?}");
    Ok(())
}

fn incoming(request: http::request::Builder, body: Bytes) -> anyhow::Result<IncomingRequest> {
    let local = SocketAddr::from((HERE, HTTP_PORT));
    let request = request.header("Host", local.to_string()).body(body)?;
    Ok(IncomingRequest { peer: PEER.into(), local, request })
}

/// What the daemon asks of the kernel first: its network links, and the clock that goes on in sleep.
fn kernel() -> anyhow::Result<String> {
    let links = upnp_net::network_links().context("network links by netlink")?;
    ensure!(links.iter().any(|link| link.loopback), "no loopback among {} network links", links.len());
    let addresses = links.iter().map(|link| link.addresses.len()).sum::<usize>();
    let (first, second) = (clock::boottime(), clock::boottime());
    ensure!(!first.is_zero() && second >= first, "CLOCK_BOOTTIME goes backwards");
    Ok(format!("{} network links with {addresses} addresses, up for {} s", links.len(), first.as_secs()))
}

/// The C library's lookup, by which the KMC is found; no server is asked for this name.
fn names() -> anyhow::Result<String> {
    let found: Vec<_> = ("localhost", 0).to_socket_addrs().context("localhost")?.map(|a| a.ip()).collect();
    ensure!(found.iter().any(IpAddr::is_loopback), "localhost is {found:?}");
    Ok("localhost is this machine".to_owned())
}

fn fresh_udn() -> anyhow::Result<Udn> {
    Ok(Udn::parse(&format!("uuid:{}", identity::random_uuid()?))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_a_gateway_is_made_of_works_here() {
        for check in [sealed, database, upnp, kernel, names] {
            check().unwrap();
        }
    }
}
