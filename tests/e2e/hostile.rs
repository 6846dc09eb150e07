//! What a hostile or broken neighbour, a broken disk and a slip in a configuration do to the running programs: nothing that
//! is not told clearly, bounded, and over when it ends.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use house_tests::house::{AGENT, House};
use testkit::lab::{Host, Lab, sandbox, wait_until};
use upnp::limits::SUBSCRIPTIONS_PER_PEER_MAX;

use crate::homes::{SOON, nas, tv, wait_subscribed, with_one};

/// Devices that are announced and do not exist, half of them as appliances and half as gateways.
const BOGUS: u32 = 10_000;
/// SUBSCRIBEs whose callback nobody serves: more than one peer may hold.
const DEAD_SUBSCRIBERS: usize = 300;
/// Private memory that a program may have more after all of it than before, KiB: 192 devices of at most 5 KiB from one host, 256
/// subscriptions of under 1 KiB, and what the allocator keeps of descriptions (8 of at most 256 KiB at a time) and bodies.
const GROWTH_KIB_MAX: u64 = 3 * 1024;

const GROUP: &str = "239.255.255.250:1900";

#[test]
fn a_hostile_neighbour_costs_neither_appliances_nor_memory_nor_a_restart() {
    sandbox::test(|| {
        with_one(tv(), "OFF", |house| {
            house.add(nas())?;
            house.wait_state("nas", "ON", SOON)?;
            wait_subscribed(house, "nas")?;
            wait_until("the agent's gateway", SOON, || {
                house.agent("tv", &["request", "no-standby-period", "03:00:00", "03:00:01"]).ok()
            })?;
            let intruder = Intruder::new(house)?;
            let gateway = house.gateway().pid().context("the gateway's number")?;
            let agent = house.appliance("tv")?.program_pid(AGENT).context("the agent's number")?;
            let before = [private_kib(gateway)?, private_kib(agent)?];

            let (at_gateway, at_tv) = (house.lan().ipv4(1), house.lan().ipv4(2));
            intruder.host.in_network(|| intruder.flood_with_devices())?;
            wait_until("an appliance that does not exist", SOON, || {
                house.gateway().appliances().ok()?.iter().any(|a| a.name.starts_with("bogus")).then_some(())
            })?;
            intruder.host.in_network(|| intruder.flood_with_nonsense(house.lan().ipv4(255)))?;
            let doors = [(at_gateway, "EnergyGateway", "WakeUpTime"), (at_tv, "PowerManagement", "OperationOff")];
            for (address, service, action) in doors {
                intruder.host.in_network(|| {
                    let device = intruder.find(address)?;
                    intruder.send_wrong_bodies(device, service, action)
                })?;
            }
            let accepted = intruder.host.in_network(|| {
                let device = intruder.find(at_tv)?;
                intruder.subscribe_and_vanish(device, "PowerManagement")
            })?;
            ensure!(accepted == SUBSCRIPTIONS_PER_PEER_MAX, "{accepted} of {DEAD_SUBSCRIBERS} were taken");
            intruder.host.in_network(|| intruder.say_goodbye_for(&house.wait_state("tv", "OFF", SOON)?.udn))?;

            // The home is as it was: known, subscribed, obeying, and its events arrive among the dead subscribers.
            for (name, verb, state) in
                [("tv", "on", "ON"), ("tv", "off", "OFF"), ("nas", "standby", "Standby"), ("nas", "wake", "ON")]
            {
                house.gateway().hegctl_ok(&[verb, name]).with_context(|| format!("{verb} {name}"))?;
                house.wait_state(name, state, SOON)?;
            }
            wait_subscribed(house, "tv")?;
            // Not every bogus gateway will take it, so that the command ends with an error; ours does.
            let _of_some = house.agent("tv", &["request", "no-standby-period", "04:00:00", "04:00:01"]);
            let shown = house.gateway().json(&["show", "tv"])?.to_string();
            ensure!(shown.contains("03:00:00") && shown.contains("04:00:00"), "a registration is missing: {shown}");

            ensure!(house.gateway().pid() == Some(gateway) && runs(gateway), "the gateway was restarted");
            ensure!(house.appliance("tv")?.program_pid(AGENT) == Some(agent) && runs(agent), "the agent was restarted");
            let after = [private_kib(gateway)?, private_kib(agent)?];
            println!("private memory before {before:?} KiB, after {after:?} KiB");
            for (who, (before, after)) in ["gateway", "agent"].into_iter().zip(before.into_iter().zip(after)) {
                ensure!(after < before + GROWTH_KIB_MAX, "the {who} grew from {before} to {after} KiB");
            }
            ensure_no_panic(house.lab())
        })
    });
}

#[test]
fn a_damaged_database_is_set_aside_and_told_and_the_appliances_are_found_again() {
    sandbox::test(|| {
        with_one(tv(), "OFF", |house| {
            let before = house.wait_state("tv", "OFF", SOON)?;
            let state = house.gateway().host().dir().join("lib/heg");
            let database = state.join("heg.db");
            for (round, damage) in [Damage::Overwritten, Damage::PageLost, Damage::Cut].into_iter().enumerate() {
                house.gateway_mut().stop(SOON)?;
                let damaged = damage.done_to(&fs::read(&database).context("reading the database")?);
                fs::write(&database, &damaged).context("damaging the database")?;
                house.gateway_mut().start()?;
                let after = house.wait_state("tv", "OFF", SOON)?;
                ensure!(after.udn == before.udn, "{damage:?}: another appliance");
                wait_subscribed(house, "tv")?;
                house.gateway().hegctl_ok(&["on", "tv"])?;
                house.gateway().hegctl_ok(&["off", "tv"])?;

                let told = house.gateway().json(&["status"])?.to_string();
                ensure!(told.contains("the database was damaged"), "{damage:?}: {told}");
                let aside = set_aside(&state)?;
                ensure!(aside.len() == round + 1, "{damage:?}: {aside:?}");
                let kept = aside.iter().any(|file| fs::read(state.join(file)).is_ok_and(|bytes| bytes == damaged));
                ensure!(kept, "{damage:?}: none of {aside:?} is what was found");
            }
            let log = log_of(house.lab(), "gateway-heg-gateway")?;
            ensure!(log.contains("damaged and set aside"), "{log}");
            ensure_no_panic(house.lab())
        })
    });
}

#[test]
fn a_broken_configuration_ends_with_78_and_names_file_line_and_key() {
    sandbox::test(|| {
        let mut lab = Lab::new()?;
        let host = lab.host("host")?;
        for (program, name) in [("psm-agent", "psm"), ("heg-gateway", "heg")] {
            host.make_service_directories(name)?;
            let file = host.dir().join(format!("{program}.toml"));
            for (text, line, key) in [
                ("[network]\nhttp-port = 'many'\n", 2, "network.http-port"),
                ("[network]\nhttp-port = 65536\n", 2, "network.http-port"),
                ("[network]\nport = 80\n", 2, "network.port"),
                ("# nothing\n\n[netwrok]\nhttp-port = 1\n", 3, "netwrok"),
                ("[network]\nhttp-port = 1\nhttp-port = 2\n", 3, "http-port"),
                ("[network\n", 1, ""),
                ("\u{0}", 1, ""),
            ] {
                fs::write(&file, text)?;
                let path = file.display().to_string();
                let place = format!("{path}:{line}:");
                for arguments in [&["--config", &path][..], &["--check", "--config", &path]] {
                    let output = run(&host, &lab, program, arguments)?;
                    let said = String::from_utf8_lossy(&output.stderr);
                    ensure!(output.status.code() == Some(78), "{program}, {text:?}: {} {said}", output.status);
                    ensure!(
                        said.contains(&place) && said.contains(key),
                        "{program}, {text:?}: {place} {key} is missing: {said}"
                    );
                }
            }
        }
        ensure_no_panic(&lab)
    });
}

/// A host on the LAN that means no good.
struct Intruder {
    host: Host,
    address: Ipv4Addr,
    /// Where the descriptions of its devices are.
    web: SocketAddr,
    /// Where nobody listens.
    nowhere: SocketAddr,
}

impl Intruder {
    fn new(house: &mut House) -> Result<Intruder> {
        const NUMBER: u8 = 66;
        let (lan, host) = (house.lan().clone(), house.lab_mut().host("intruder")?);
        house.lab().attach(&host, "eth0", &lan, NUMBER)?;
        let routed = host.run("ip", &["route", "add", "239.0.0.0/8", "dev", "eth0"])?;
        ensure!(routed.status.success(), "{}", String::from_utf8_lossy(&routed.stderr));
        let address = lan.ipv4(NUMBER);
        let (listener, closed) = host.in_network(|| {
            let closed = TcpListener::bind((address, 0))?.local_addr()?;
            Ok((TcpListener::bind((address, 0))?, closed))
        })?;
        let web = listener.local_addr()?;
        std::thread::spawn(move || serve_bad_descriptions(&listener));
        Ok(Intruder { host, address, web, nowhere: closed })
    }

    fn socket(&self) -> Result<UdpSocket> {
        let socket = UdpSocket::bind((self.address, 0))?;
        socket.set_read_timeout(Some(Duration::from_millis(500)))?;
        Ok(socket)
    }

    fn flood_with_devices(&self) -> Result<()> {
        let socket = self.socket()?;
        for n in 0..BOGUS {
            let kind = if n % 2 == 0 { "ManagedAppliance" } else { "HomeEnergyGateway" };
            let text = format!(
                "NOTIFY * HTTP/1.1\r\nHOST: {GROUP}\r\nCACHE-CONTROL: max-age=1800\r\nLOCATION: http://{}/{n}\r\n\
                 NT: urn:heg-energy-org:device:{kind}:1\r\nNTS: ssdp:alive\r\nSERVER: bogus\r\n\
                 USN: uuid:{}::urn:heg-energy-org:device:{kind}:1\r\nBOOTID.UPNP.ORG: 1\r\n\r\n",
                self.web,
                bogus_uuid(n)
            );
            send(&socket, text.as_bytes(), GROUP, n)?;
        }
        Ok(())
    }

    /// To the group, to the hosts and to all of them at once (`broadcast`).
    fn flood_with_nonsense(&self, broadcast: Ipv4Addr) -> Result<()> {
        let socket = self.socket()?;
        socket.set_broadcast(true)?;
        let long = "x".repeat(7000);
        let alive =
            |headers: &str| format!("NOTIFY * HTTP/1.1\r\nHOST: {GROUP}\r\nNTS: ssdp:alive\r\n{headers}\r\n\r\n");
        let messages = [
            Vec::new(),
            vec![0; 1400],
            vec![0xff; 8000],
            b"NOTIFY".to_vec(),
            b"NOTIFY * HTTP/1.1\r\n\r\n".to_vec(),
            b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
            format!("M-SEARCH * HTTP/1.1\r\nMAN: \"ssdp:discover\"\r\nMX: -1\r\nST: {long}\r\n\r\n").into_bytes(),
            b"M-SEARCH * HTTP/1.1\r\nMAN: ssdp:discover\r\nMX: 99999999999999999999\r\nST: ssdp:all\r\n\r\n".to_vec(),
            alive(&format!("NT: upnp:rootdevice\r\nUSN: uuid:{long}::upnp:rootdevice\r\nLOCATION: http://{}/", self.web)).into(),
            alive("NT: upnp:rootdevice\r\nUSN: uuid:a::upnp:rootdevice\r\nLOCATION: http://10.88.0.1:70000/").into(),
            alive("NT: upnp:rootdevice\r\nUSN: uuid:a::upnp:rootdevice\r\nLOCATION: file:///etc/passwd").into(),
            alive("NT: upnp:rootdevice\r\nUSN: uuid:a::upnp:rootdevice\r\nBOOTID.UPNP.ORG: -1\r\nLOCATION: http://127.0.0.1:1/").into(),
            alive(&"X: y\r\n".repeat(900)).into(),
            "NOTIFY * HTTP/1.1\r\nNT: \u{fffd}\u{202e}\r\nUSN: \u{fffd}\r\n\r\n".into(),
        ];
        for round in 0..20 {
            for (n, message) in (0u32..).zip(&messages) {
                for to in [GROUP.to_owned(), format!("{broadcast}:1900"), "239.255.255.246:7900".to_owned()] {
                    send(&socket, message, &to, round + n)?;
                }
            }
        }
        Ok(())
    }

    /// The HTTP address of the device on `host`, by a search of that host alone. That it is answered shows that the program
    /// has come through what was sent before.
    fn find(&self, host: Ipv4Addr) -> Result<SocketAddr> {
        let socket = self.socket()?;
        let search = format!(
            "M-SEARCH * HTTP/1.1\r\nHOST: {host}:1900\r\nMAN: \"ssdp:discover\"\r\nST: upnp:rootdevice\r\n\r\n"
        );
        wait_until(&format!("an answer of {host}"), SOON, || {
            socket.send_to(search.as_bytes(), (host, 1900)).ok()?;
            let mut buffer = [0; 2048];
            let (length, _) = socket.recv_from(&mut buffer).ok()?;
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let location = text.lines().find_map(|line| line.strip_prefix("LOCATION: http://"))?;
            location.split('/').next()?.parse().ok()
        })
    }

    fn send_wrong_bodies(&self, device: SocketAddr, service: &str, action: &str) -> Result<()> {
        let urn = format!("urn:heg-energy-org:service:{service}:1");
        let envelope = |inner: &str| {
            format!(
                "<?xml version=\"1.0\"?><s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
                 s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body>{inner}</s:Body></s:Envelope>"
            )
        };
        let call =
            |name: &str, arguments: &str| envelope(&format!("<u:{name} xmlns:u=\"{urn}\">{arguments}</u:{name}>"));
        let good = call(action, "");
        let entities = "<!DOCTYPE a [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;\">]>";
        let bodies = [
            (action, "<".to_owned(), 400),
            (action, "\u{0}".repeat(1000), 400),
            (action, good[..good.len() - 30].to_owned(), 400),
            (action, "<a>".repeat(15_000), 400),
            (action, good.replace("?>", &format!("?>{entities}")), 400),
            (action, envelope(""), 400),
            (action, good.clone(), 500),
            (action, call(action, &"<UUID>x</UUID>".repeat(1000)), 500),
            (action, call(action, "<UUID>&#x7;</UUID>"), 400),
            ("Explode", call("Explode", ""), 500),
            (action, call("Explode", ""), 500),
            (action, good.replace(&urn, "urn:attacker:service:x:1"), 500),
            (action, "x".repeat(5_000_000), 413),
        ];
        for round in 0..5 {
            for (action, body, status) in &bodies {
                let head = format!(
                    "POST /{service}/control HTTP/1.1\r\nHost: {device}\r\nConnection: close\r\nContent-Type: text/xml\r\n\
                     SOAPACTION: \"{urn}#{action}\"\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                let got = self.ask(device, &(head + body))?;
                ensure!(
                    got == Some(*status),
                    "round {round}: {got:?} and not {status} for {}",
                    &body[..body.len().min(300)]
                );
            }
        }
        Ok(())
    }

    /// How many of the SUBSCRIBEs were taken.
    fn subscribe_and_vanish(&self, device: SocketAddr, service: &str) -> Result<usize> {
        let text = format!(
            "SUBSCRIBE /{service}/event HTTP/1.1\r\nHost: {device}\r\nConnection: close\r\nNT: upnp:event\r\n\
             CALLBACK: <http://{}/>\r\nTIMEOUT: Second-1800\r\n\r\n",
            self.nowhere
        );
        let mut accepted = 0;
        for n in 0..DEAD_SUBSCRIBERS {
            match self.ask(device, &text)? {
                Some(200) => accepted += 1,
                Some(503) => {}
                other => anyhow::bail!("SUBSCRIBE {n} was answered {other:?}"),
            }
        }
        Ok(accepted)
    }

    fn say_goodbye_for(&self, udn: &str) -> Result<()> {
        let uuid = udn.trim_start_matches("uuid:");
        let text = format!(
            "NOTIFY * HTTP/1.1\r\nHOST: {GROUP}\r\nNT: upnp:rootdevice\r\nNTS: ssdp:byebye\r\nUSN: uuid:{uuid}::upnp:rootdevice\r\n\r\n"
        );
        self.socket()?.send_to(text.as_bytes(), GROUP).map(drop).context("sending a byebye")
    }

    /// The status of the answer; none when the connection ended without one.
    fn ask(&self, device: SocketAddr, text: &str) -> Result<Option<u16>> {
        let mut stream = TcpStream::connect_timeout(&device, SOON)?;
        stream.set_read_timeout(Some(SOON))?;
        stream.set_write_timeout(Some(SOON))?;
        // The refusal may come before all is sent.
        let _refused = stream.write_all(text.as_bytes());
        let mut answer = Vec::new();
        let _reset = stream.read_to_end(&mut answer);
        Ok(String::from_utf8_lossy(&answer).get(9..12).and_then(|status| status.parse().ok()))
    }
}

fn bogus_uuid(n: u32) -> String {
    format!("00000000-0000-4000-8000-{n:012}")
}

/// Sends; now and then the receivers get time to read, so that most of it arrives.
fn send(socket: &UdpSocket, payload: &[u8], to: &str, n: u32) -> Result<()> {
    const BURST: u32 = 20;
    const PAUSE: Duration = Duration::from_millis(2);
    socket.send_to(payload, to).with_context(|| format!("sending {} bytes to {to}", payload.len()))?;
    if n.is_multiple_of(BURST) {
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Answers requests for descriptions in every bad way, and every eighth as a real appliance would.
fn serve_bad_descriptions(listener: &TcpListener) {
    for mut stream in listener.incoming().flatten() {
        std::thread::spawn(move || {
            let _set = stream.set_read_timeout(Some(SOON)).and_then(|()| stream.set_write_timeout(Some(SOON)));
            let mut buffer = [0; 1024];
            let length = stream.read(&mut buffer).unwrap_or(0);
            let text = String::from_utf8_lossy(&buffer[..length]);
            let path = text.split(' ').nth(1).unwrap_or_default();
            let _gone = stream.write_all(bad_description(path.trim_start_matches('/').parse().unwrap_or(1)).as_bytes());
            // Open and silent: the deadline is the other side's business.
            let _closed = stream.read(&mut buffer);
        });
    }
}

fn bad_description(n: u32) -> String {
    let xml = |body: &str| {
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    // Halved, so that appliances and gateways get the same.
    match n / 2 % 8 {
        0 => xml(&description(n)),
        1 => xml("<root"),
        2 => xml(&format!("<!DOCTYPE a [<!ENTITY a \"{}\">]><root>&a;</root>", "a".repeat(1000))),
        3 => xml(&"<a>".repeat(50_000)),
        4 => xml(&"x".repeat(3_000_000)),
        5 => "HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\nless".to_owned(),
        6 => "garbage".repeat(5000),
        _ => "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:22/\r\nContent-Length: 0\r\n\r\n".to_owned(),
    }
}

/// An appliance or gateway, all of whose URLs lead to bad answers.
fn description(n: u32) -> String {
    let (device, service) = if n.is_multiple_of(2) {
        ("ManagedAppliance", "PowerManagement")
    } else {
        ("HomeEnergyGateway", "EnergyGateway")
    };
    format!(
        "<root xmlns=\"urn:schemas-upnp-org:device-1-0\"><device><deviceType>urn:heg-energy-org:device:{device}:1</deviceType>\
         <friendlyName>{}</friendlyName><UDN>uuid:{}</UDN><serviceList><service>\
         <serviceType>urn:heg-energy-org:service:{service}:1</serviceType><serviceId>urn:heg-energy-org:serviceId:x</serviceId>\
         <SCPDURL>/1</SCPDURL><controlURL>/3</controlURL><eventSubURL>/5</eventSubURL></service></serviceList></device></root>",
        "bogus".repeat(100),
        bogus_uuid(n)
    )
}

/// What happens to a file on a bad disk.
#[derive(Debug, Clone, Copy)]
enum Damage {
    /// Its beginning is something else.
    Overwritten,
    /// Its second page is something else, and maybe every one after it.
    PageLost,
    /// Its end is missing, in the middle of a page.
    Cut,
}

impl Damage {
    fn done_to(self, bytes: &[u8]) -> Vec<u8> {
        const PAGE: usize = 4096;
        let mut bytes = bytes.to_vec();
        match self {
            Self::Overwritten => bytes.iter_mut().take(200).for_each(|b| *b = b'?'),
            Self::PageLost => bytes.iter_mut().skip(PAGE).for_each(|b| *b ^= 0x5a),
            Self::Cut => bytes.truncate(PAGE + PAGE / 2),
        }
        bytes
    }
}

fn set_aside(state: &std::path::Path) -> Result<Vec<String>> {
    let names = fs::read_dir(state)?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    Ok(names.filter(|name| name.contains("damaged") && !name.ends_with("-wal")).collect())
}

fn run(host: &Host, lab: &Lab, program: &str, arguments: &[&str]) -> Result<Output> {
    host.run(lab.program(program), arguments)
}

/// Memory that is the process's own, KiB.
fn private_kib(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("reading a process's memory")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).context("no RssAnon")?;
    line.trim().trim_end_matches(" kB").parse().with_context(|| format!("reading {line:?}"))
}

fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with(['Z', 'X']) && !rest.is_empty())
}

fn log_of(lab: &Lab, name: &str) -> Result<String> {
    let path = lab.dir().join("log").join(format!("{name}.log"));
    let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn ensure_no_panic(lab: &Lab) -> Result<()> {
    for entry in fs::read_dir(lab.dir().join("log"))?.flatten() {
        let text = String::from_utf8_lossy(&fs::read(entry.path())?).into_owned();
        if let Some(line) = text.lines().find(|line| line.contains("panicked")) {
            anyhow::bail!("{}: {line}", entry.path().display());
        }
    }
    Ok(())
}
