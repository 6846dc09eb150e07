//! The devices that are measured side by side: ours, libupnp's sample television, async_upnp_client's light.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use testkit::lab::{Host, Lab, Process, wait_until};

/// A kind of device.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// Column of the tables.
    pub(crate) name: &'static str,
    /// TCP port.
    pub(crate) port: u16,
    /// Control URL's path.
    pub(crate) control: &'static str,
    /// Event URL's path.
    pub(crate) event: &'static str,
    /// Service type.
    pub(crate) service: &'static str,
    /// An action that changes nothing, with its arguments.
    pub(crate) get: (&'static str, &'static str),
    /// An action that changes an evented variable; `%` stands for a value that differs each time.
    pub(crate) set: (&'static str, &'static str),
    /// The values it may take.
    pub(crate) values: [&'static str; 2],
    command: Vec<String>,
}

fn env(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).filter(|p| p.exists())
}

/// Ours, and the foreign ones that are on this machine; one that is missing is named.
pub(crate) fn peers(lab: &Lab, address: IpAddr) -> Vec<Peer> {
    let mut peers = vec![Peer {
        name: "ours",
        port: 8001,
        control: "/SwitchPower/control",
        event: "/SwitchPower/event",
        service: "urn:schemas-upnp-org:service:SwitchPower:1",
        get: ("GetStatus", ""),
        set: ("SetTarget", "<newTargetValue>%</newTargetValue>"),
        values: ["0", "1"],
        command: vec![lab.program("house-bench").display().to_string(), "light".into(), "--port=8001".into()],
    }];
    match (env("LIBUPNP_BIN"), env("LIBUPNP_LIB"), env("LIBUPNP_WEB")) {
        (Some(bin), Some(lib), Some(web)) => peers.push(Peer {
            name: "libupnp 1.14.20",
            port: 49152,
            control: "/upnp/control/tvcontrol1",
            event: "/upnp/event/tvcontrol1",
            service: "urn:schemas-upnp-org:service:tvcontrol:1",
            get: ("PowerOn", ""),
            set: ("SetVolume", "<Volume>%</Volume>"),
            values: ["3", "4"],
            command: vec![
                "sh".into(),
                "-c".into(),
                format!(
                    "sleep infinity | LD_LIBRARY_PATH={} exec {}/tv_device -i eth0 -port 49152 -webdir {}",
                    lib.display(),
                    bin.display(),
                    web.display()
                ),
            ],
        }),
        _ => eprintln!("skipped: libupnp is not here (LIBUPNP_BIN)"),
    }
    match env("AUP_PYTHON") {
        Some(python) => peers.push(Peer {
            name: "async_upnp_client 0.49.0",
            port: 8002,
            control: "/control",
            event: "/event",
            service: "urn:schemas-upnp-org:service:SwitchPower:1",
            get: ("GetStatus", ""),
            set: ("SetTarget", "<newTargetValue>%</newTargetValue>"),
            values: ["0", "1"],
            command: vec![
                python.display().to_string(),
                std::env::current_dir().unwrap_or_default().join("tests/interop/aup_light.py").display().to_string(),
                address.to_string(),
                "8002".into(),
            ],
        }),
        None => eprintln!("skipped: async_upnp_client is not here (AUP_PYTHON)"),
    }
    peers
}

impl Peer {
    /// Starts it on `host` and waits until its port answers.
    pub(crate) fn start(&self, host: &Host, address: IpAddr) -> Result<Process> {
        let mut words = self.command.iter();
        let mut command = host.command(words.next().map(String::as_str).unwrap_or_default());
        let process = host.start(self.name.split(' ').next().unwrap_or(self.name), command.args(words))?;
        let to = SocketAddr::new(address, self.port);
        host.in_network(|| {
            wait_until(&format!("{} listens", self.name), Duration::from_secs(15), || {
                std::net::TcpStream::connect_timeout(&to, Duration::from_millis(200)).ok()
            })
        })?;
        Ok(process)
    }

    /// A whole POST request of `action` with `arguments`.
    pub(crate) fn request(&self, to: SocketAddr, action: &str, arguments: &str) -> Vec<u8> {
        let body = format!(
            "<?xml version=\"1.0\"?><s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body>\
             <u:{action} xmlns:u=\"{}\">{arguments}</u:{action}></s:Body></s:Envelope>",
            self.service
        );
        format!(
            "POST {} HTTP/1.1\r\nHost: {to}\r\nContent-Type: text/xml; charset=\"utf-8\"\r\nSOAPACTION: \"{}#{action}\"\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.control,
            self.service,
            body.len()
        )
        .into_bytes()
    }
}
