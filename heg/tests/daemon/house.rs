//! The programs as they are built, and an appliance that this process plays.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use daemon_kit::clock;
use energy_model::{PowerState, RefusalKind, RegId, WakeMethod, Watts};
use energy_services::power_management as pm;
use energy_services::{Refusal, Reply, appliance_info, managed_appliance};
use serde_json::Value;
use upnp::device::{ActionCall, DeviceConfig, Handled, RootDevice, not_found, presentation_response};
use upnp::error::UpnpError;
use upnp::ids::{Udn, uuid_v4};
use upnp::time::BootTime;
use upnp_net::{InterfaceFilter, Net, NetConfig, NetEvent};

// The programs.

pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = clock::boottime() + DEADLINE;
    while clock::boottime() < until {
        if let Some(seen) = look() {
            return seen;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("waited in vain for {what}");
}

pub(crate) struct Home {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) config: PathBuf,
    pub(crate) socket: PathBuf,
}

impl Home {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = Self { config: dir.path().join("heg.toml"), socket: dir.path().join("s"), dir };
        home.write_config("[network]\nloopback = true\nipv6 = false\ninterfaces = ['lo']\n[commands]\nwithin-s = 10\nwake-within-s = 3\n");
        home
    }

    pub(crate) fn write_config(&self, text: &str) {
        let (state, socket) = (self.dir.path().join("state"), self.socket.display());
        // These run on the machine's own network, whose rules are none of a test's business.
        let text = format!(
            "state-dir = '{}'\n{text}[firewall]\nmode = 'off'\n[control]\nsocket = '{socket}'\n",
            state.display()
        );
        std::fs::write(&self.config, text).unwrap();
    }

    pub(crate) fn start(&self) -> Gateway<'_> {
        let log = std::fs::File::options().create(true).append(true).open(self.dir.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_heg-gateway"))
            .arg("--config")
            .arg(&self.config)
            .env_remove("STATE_DIRECTORY")
            .env_remove("RUNTIME_DIRECTORY")
            .env("LOG_LEVEL", "debug")
            .stderr(log)
            .spawn()
            .unwrap();
        let gateway = Gateway { home: self, child: Some(child) };
        wait("the control socket", || self.hegctl(&["status"]).status.success().then_some(()));
        gateway
    }

    /// `heg-gateway simulate` by the same configuration: its exit code and all it says.
    pub(crate) fn simulate(&self, args: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_heg-gateway"));
        let out = command.arg("simulate").args(args).arg("--config").arg(&self.config).output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        (out.status.code(), said)
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hegctl"));
        command.arg("--socket").arg(&self.socket).args(args);
        command
    }

    pub(crate) fn hegctl(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }
}

pub(crate) struct Gateway<'a> {
    home: &'a Home,
    child: Option<Child>,
}

impl Gateway<'_> {
    pub(crate) fn expect(&self, code: i32, args: &[&str], text: &str) {
        let out = self.home.hegctl(args);
        let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert!(out.status.code() == Some(code) && said.contains(text), "hegctl {args:?}: {:?} {said}", out.status);
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let out = self.home.hegctl(&[&["--json"], args].concat());
        serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("hegctl {args:?}: {e}: {out:?}"))
    }

    pub(crate) fn wait_for(&self, appliance: &Appliance, so: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let until = clock::boottime() + DEADLINE;
        while clock::boottime() < until {
            last = self.json(&["show", appliance.udn.bare()]);
            if so(&last) {
                return last;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!(
            "the appliance never was so: {last:#}\n{}",
            std::fs::read_to_string(self.home.dir.path().join("log")).unwrap()
        );
    }

    /// Calls an action of Table II as that appliance; the RegID returned (0 for none), or the code of the fault.
    pub(crate) fn asked_by(&self, appliance: &Appliance, action: &str, arguments: &str) -> Result<u32, u16> {
        let port = self.json(&["status"])["http-port"].as_u64().unwrap() as u16;
        let body = format!(
            "<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'><s:Body><u:{action} \
             xmlns:u='urn:heg-energy-org:service:EnergyGateway:1'><UUID>{}</UUID><Address>127.0.0.1</Address>{arguments}\
             </u:{action}></s:Body></s:Envelope>",
            appliance.udn.bare()
        );
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        write!(
            stream,
            "POST /EnergyGateway/control HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: text/xml\r\nSOAPACTION: \
             \"urn:heg-energy-org:service:EnergyGateway:1#{action}\"\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let between = |open: &str| {
            answer.split_once(open).and_then(|(_, rest)| rest.split('<').next()).and_then(|n| n.parse().ok())
        };
        match between("<errorCode>") {
            Some(code) => Err(code as u16),
            None if answer.starts_with("HTTP/1.1 200") => Ok(between("<RegID>").unwrap_or(0)),
            None => panic!("{answer}"),
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    pub(crate) fn stop(mut self) {
        self.signal("TERM");
        let status = self.child.take().unwrap().wait().unwrap();
        assert_eq!(status.code(), Some(0));
    }

    pub(crate) fn kill(mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

impl Drop for Gateway<'_> {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

// The appliance.

pub(crate) enum Told {
    State(PowerState),
    Refuse(RefusalKind, &'static str),
    Obey,
    /// Goes off the network without a word.
    Vanish,
}

pub(crate) struct Appliance {
    pub(crate) udn: Udn,
    pub(crate) orders: tokio::sync::mpsc::UnboundedSender<Told>,
    pub(crate) calls: Arc<Mutex<Vec<String>>>,
}

impl Appliance {
    pub(crate) fn start(state: PowerState) -> Self {
        let mut random = [0; 16];
        std::fs::File::open("/dev/urandom").unwrap().read_exact(&mut random).unwrap();
        let udn = Udn::parse(&format!("uuid:{}", uuid_v4(u128::from_ne_bytes(random)))).unwrap();
        let (orders, inbox) = tokio::sync::mpsc::unbounded_channel();
        let calls = Arc::<Mutex<Vec<String>>>::default();
        let player = Player { udn: udn.clone(), state, refuse: None, calls: calls.clone() };
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(player.play(inbox));
        });
        Self { udn, orders, calls }
    }

    pub(crate) fn order(&self, told: Told) {
        self.orders.send(told).unwrap();
    }

    pub(crate) fn calls_of(&self, action: &str) -> Vec<String> {
        self.calls.lock().unwrap().iter().filter(|c| c.starts_with(action)).cloned().collect()
    }
}

/// The appliance's own loop.
pub(crate) struct Player {
    pub(crate) udn: Udn,
    state: PowerState,
    refuse: Option<Refusal>,
    pub(crate) calls: Arc<Mutex<Vec<String>>>,
}

impl Player {
    async fn play(mut self, mut inbox: tokio::sync::mpsc::UnboundedReceiver<Told>) {
        let interfaces = InterfaceFilter { include: vec!["lo".into()], loopback: true, ..InterfaceFilter::default() };
        let mut net = Net::bind(NetConfig { interfaces, ipv6: false, ..NetConfig::default() }).await.unwrap();
        let mut device = RootDevice::new(self.device(net.http_port()), boot());
        self.publish(&mut device);
        let power = appliance_info::Event::Power(Watts::new(5)).change();
        let none = appliance_info::Event::LastRefusal(None).change();
        device.set_variables(&appliance_info::DECLARATION, &[power, none], boot());
        loop {
            while let Some(effect) = device.poll_effect() {
                net.apply(effect);
            }
            let due = device.poll_timeout().map_or(DEADLINE, |at| at.since(boot()));
            tokio::select! {
                event = net.next() => match event {
                    NetEvent::Interfaces(interfaces) => device.handle_interfaces(&interfaces, boot()),
                    NetEvent::Datagram(datagram) => device.handle_datagram(&datagram, boot()),
                    NetEvent::Answer(answer) => device.handle_answer(answer, boot()),
                    NetEvent::Request(request, responder) => responder.send(match device.handle_request(&request, boot()) {
                        Handled::Response(response) => response,
                        Handled::Action(call) => {
                            let result = self.act(&call);
                            self.publish(&mut device);
                            call.respond(result)
                        }
                        Handled::Presentation => presentation_response(String::new()),
                        Handled::NotMine => not_found(),
                    }),
                },
                told = inbox.recv() => match told {
                    Some(Told::State(state)) => {
                        self.state = state;
                        self.publish(&mut device);
                    }
                    Some(Told::Refuse(kind, reason)) => self.refuse = Some(Refusal::new(kind, reason)),
                    Some(Told::Obey) => self.refuse = None,
                    Some(Told::Vanish) | None => return,
                },
                () = tokio::time::sleep(due) => device.handle_timeout(boot()),
            }
        }
    }

    pub(crate) fn device(&self, http_port: u16) -> DeviceConfig {
        DeviceConfig {
            udn: self.udn.clone(),
            device_type: managed_appliance(),
            friendly_name: "Test TV".into(),
            manufacturer: "Maker".into(),
            manufacturer_url: String::new(),
            model_name: "Model".into(),
            model_description: String::new(),
            model_number: String::new(),
            services: vec![&pm::DECLARATION, &appliance_info::DECLARATION],
            server: "Linux/6 UPnP/1.1 test/1".into(),
            http_port,
            boot_id: 1,
            max_age: Duration::from_secs(1800),
            host_names: vec![],
            seed: 1,
        }
    }

    pub(crate) fn publish(&self, device: &mut RootDevice) {
        let change = pm::Event::PowerState(self.state).change();
        device.set_variables(&pm::DECLARATION, &[change], boot());
    }

    pub(crate) fn act(&mut self, call: &ActionCall) -> Result<Vec<(&'static str, String)>, UpnpError> {
        self.calls.lock().unwrap().push(call.action.name.to_owned());
        if call.service.service_type == appliance_info::DECLARATION.service_type {
            return Ok(appliance_info::GetApplianceInfoReply {
                rated_power: Watts::new(90),
                importance: energy_model::Importance::Normal,
                flexibility: energy_model::Flexibility::StandbyAble,
                mac_address: Some("02:00:00:00:00:09".parse().unwrap()),
                minimum_on_time_s: 0,
                minimum_off_time_s: 0,
                wake_method: WakeMethod::Wol,
            }
            .into_arguments());
        }
        let reg_id = RegId::new(77).unwrap();
        let mut enter = |state| match self.refuse.clone() {
            Some(refusal) => Err(UpnpError::from(refusal)),
            None => {
                self.state = state;
                Ok(())
            }
        };
        Ok(match pm::Call::decode(call.action.name, &call.arguments)? {
            pm::Call::GetPowerState(_) => pm::GetPowerStateReply { power_state: self.state, reg_id }.into_arguments(),
            pm::Call::WakeUpMethod(_) => {
                pm::WakeUpMethodReply { wake_method: WakeMethod::Wol, reg_id }.into_arguments()
            }
            pm::Call::OperationOn(_) => {
                enter(PowerState::On)?;
                pm::OperationOnReply { reg_id }.into_arguments()
            }
            pm::Call::OperationOff(_) => {
                enter(PowerState::Off)?;
                pm::OperationOffReply { reg_id }.into_arguments()
            }
            pm::Call::GoToStandby(_) => {
                enter(PowerState::Standby)?;
                pm::GoToStandbyReply { reg_id }.into_arguments()
            }
            pm::Call::StandbyPeriod(_) => pm::StandbyPeriodReply { reg_id }.into_arguments(),
            pm::Call::Withdraw(_) => pm::WithdrawReply {}.into_arguments(),
        })
    }
}

pub(crate) fn uid() -> u32 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").unwrap().uid()
}

pub(crate) fn boot() -> BootTime {
    BootTime::from_duration(clock::boottime())
}
