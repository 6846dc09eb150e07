//! The built programs, heg-gateway and hegctl, with an appliance played by this process on the loopback interface.

#![expect(clippy::unwrap_used, reason = "helpers of tests, where a panic is a failed test")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};
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

#[test]
fn an_appliance_is_found_watched_and_commanded_and_every_ending_has_its_exit_code() {
    let home = Home::new();
    let gateway = home.start();
    let tv = Appliance::start(PowerState::On);

    // Found, its state known, its events subscribed to.
    let view = gateway.wait_for(&tv, |a| a["state"] == "ON" && a["subscribed"] == true && a["rated-power-w"] == 90);
    assert_eq!((&view["name"], &view["mac"]), (&"Test TV".into(), &"02:00:00:00:00:09".into()));

    // A change is told by the appliance's own event.
    tv.order(Told::State(PowerState::Off));
    gateway.wait_for(&tv, |a| a["state"] == "OFF");

    // Obeyed and confirmed: 0. By the beginning of the UDN as well as by the whole.
    let bare = tv.udn.bare();
    gateway.expect(0, &["on", bare], "done");
    gateway.expect(0, &["off", &bare[..30]], "done");
    assert_eq!(tv.calls_of("OperationO"), ["OperationOn", "OperationOff"]);

    // Refused by the appliance, with its reason, and asked once only: 2.
    tv.order(Told::Refuse(RefusalKind::ActiveSession, "a film is on"));
    gateway.expect(2, &["standby", bare], "refused (802): a film is on");
    assert_eq!(tv.calls_of("GoToStandby").len(), 1);

    // Declined by the gateway on the appliance's own wish: 3.
    tv.order(Told::Obey);
    let reg = gateway
        .asked_by(&tv, "NoStandbyPeriod", "<StartTime>00:00:00</StartTime><StopTime>23:59:59</StopTime>")
        .unwrap();
    gateway.expect(
        3,
        &["standby", bare],
        &format!("declined: NoStandbyPeriod 00:00:00 23:59:59 (RegID {reg}) forbids it now"),
    );
    assert_eq!(tv.calls_of("GoToStandby").len(), 1);

    // Withdraw: an unknown number and one of others is a fault, the own one is not.
    assert_eq!(gateway.asked_by(&tv, "Withdraw", "<RegID>4711</RegID>").unwrap_err(), 820);
    gateway.asked_by(&tv, "Withdraw", &format!("<RegID>{reg}</RegID>")).unwrap();
    gateway.expect(0, &["standby", bare], "done");

    // Asleep: unreachable is 4, a wake that nobody hears is 5.
    gateway.wait_for(&tv, |a| a["state"] == "Standby" && a["reachable"] == false);
    tv.order(Told::Vanish);
    gateway.expect(4, &["off", bare], "unreachable: it is asleep (Standby); wake it first");
    gateway.expect(5, &["wake", bare], "timed-out: not awake after");

    // Names that fit nothing or nothing sensible.
    gateway.expect(66, &["show", "kettle"], "no appliance is called \"kettle\"");
    gateway.expect(66, &["withdraw", "4711"], "no registration has RegID 4711");
    gateway.expect(64, &["fly", "tv"], "unrecognized subcommand");

    // All of it is in the journal, with cause and reason.
    let journal = gateway.json(&["journal", "--appliance", bare]);
    let has = |action: &str, outcome: &str| {
        let fits = |e: &&Value| e["action"] == action && e["outcome"] == outcome;
        journal
            .as_array()
            .unwrap()
            .iter()
            .find(fits)
            .unwrap_or_else(|| panic!("{action} {outcome}: {journal:#}"))
            .clone()
    };
    let uid = format!("person:{}", uid());
    assert_eq!(has("OperationOn", "done")["cause"], Value::from(uid.clone()));
    assert_eq!(has("GoToStandby", "refused")["reason"], "a film is on");
    assert_eq!(has("GoToStandby", "declined")["cause"], Value::from(uid));
    assert_eq!(has("NoStandbyPeriod 00:00:00 23:59:59", "registered")["cause"], "appliance");
    assert_eq!(has("wake", "timed-out")["name"], "Test TV");

    gateway.stop();
    let out = home.hegctl(&["status"]);
    assert_eq!(out.status.code(), Some(69), "no gateway runs");
}

#[test]
fn nothing_acknowledged_is_lost_when_the_gateway_is_killed() {
    let home = Home::new();
    let mut gateway = home.start();
    let tv = Appliance::start(PowerState::On);
    gateway.wait_for(&tv, |a| a["state"] == "ON");
    let bare = tv.udn.bare();

    let by_appliance = gateway.asked_by(&tv, "WakeUpTime", "<Time>06:30:00</Time>").unwrap();
    let by_person = gateway.json(&["schedule", bare, "wake", "07:15"])["reg-id"].as_u64().unwrap() as u32;
    let there = gateway.json(&["schedule", bare, "standby", "22:00", "05:00"]);
    assert_eq!((&there["kept-by"], &there["reg-id"]), (&"appliance".into(), &77.into()));
    gateway.expect(0, &["off", bare], "done");
    gateway.kill();

    gateway = home.start();
    let view = gateway.wait_for(&tv, |a| a["state"] == "OFF");
    let mut kept: Vec<_> =
        view["registrations"].as_array().unwrap().iter().map(|r| r["reg-id"].as_u64().unwrap() as u32).collect();
    kept.sort();
    assert_eq!(kept, [by_appliance, by_person, 77]);
    let journal = gateway.json(&["journal"]);
    assert!(journal.as_array().unwrap().iter().any(|e| e["action"] == "OperationOff" && e["outcome"] == "done"));

    // The same wish again, after the restart, is the same registration; a new one has a new number.
    gateway.wait_for(&tv, |a| a["reachable"] == true);
    assert_eq!(gateway.asked_by(&tv, "WakeUpTime", "<Time>06:30:00</Time>").unwrap(), by_appliance);
    assert!(gateway.asked_by(&tv, "WakeUpTime", "<Time>06:31:00</Time>").unwrap() > by_person);

    // Withdrawn wherever it is kept.
    gateway.expect(0, &["withdraw", "77"], "done");
    assert_eq!(tv.calls_of("Withdraw").len(), 1);
    gateway.expect(0, &["withdraw", &by_person.to_string()], "done");
    gateway.stop();
}

#[test]
fn a_damaged_database_and_a_broken_reload_are_told_and_stop_nothing() {
    let home = Home::new();
    std::fs::create_dir_all(home.dir.path().join("state")).unwrap();
    std::fs::write(home.dir.path().join("state/heg.db"), "not a database".repeat(500)).unwrap();
    let gateway = home.start();
    let status = gateway.json(&["status"]);
    assert!(status["troubles"][0].as_str().unwrap().starts_with("the database was damaged"), "{status}");
    assert!(status["status"].as_str().unwrap().contains("damaged"), "{status}");

    std::fs::write(&home.config, "[discovery]\npoll-every-s = 'often'").unwrap();
    gateway.signal("HUP");
    wait("the reload to be refused", || {
        let status = gateway.json(&["status"]);
        let told = status["troubles"].to_string().contains("discovery.poll-every-s");
        told.then_some(())
    });
    home.write_config("[network]\nloopback = true\nhttp-port = 1\n");
    gateway.signal("HUP");
    wait("the restart to be asked for", || {
        let troubles = gateway.json(&["status"])["troubles"].to_string();
        (troubles.contains("a restart is needed for changes to [network]") && !troubles.contains("often")).then_some(())
    });
    gateway.stop();
}

#[test]
fn a_second_gateway_on_the_same_socket_and_a_wrong_configuration_end_with_a_clear_error() {
    let home = Home::new();
    let gateway = home.start();
    let second = Command::new(env!("CARGO_BIN_EXE_heg-gateway")).arg("--config").arg(&home.config).output().unwrap();
    assert_eq!(second.status.code(), Some(69));
    assert!(String::from_utf8_lossy(&second.stderr).contains("is in use"), "{second:?}");
    gateway.stop();

    std::fs::write(&home.config, "[netwrok]\n").unwrap();
    let check =
        Command::new(env!("CARGO_BIN_EXE_heg-gateway")).arg("--check").arg("--config").arg(&home.config).output();
    let check = check.unwrap();
    assert_eq!(check.status.code(), Some(78));
    let text = String::from_utf8_lossy(&check.stderr).into_owned();
    assert!(text.contains("heg.toml:1:2: netwrok: unknown key, did you mean `network`?"), "{text}");
}

#[test]
fn a_completion_script_is_printed_for_each_shell_and_a_full_disk_is_an_error_without_a_panic() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let out = Command::new(env!("CARGO_BIN_EXE_hegctl")).args(["completion", shell]).output().unwrap();
        assert!(out.status.success() && String::from_utf8_lossy(&out.stdout).contains("no-standby"), "{shell}");
    }
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let out = Command::new(env!("CARGO_BIN_EXE_hegctl")).args(["completion", "bash"]).stdout(full).output().unwrap();
    assert_eq!(out.status.code(), Some(74), "{out:?}");
}

#[test]
fn a_wrong_command_line_is_json_too_where_json_is_asked_for() {
    for (line, said) in [
        ("--json frobnicate", "frobnicate"),
        ("show --json", "<ID>"),
        ("on tv --json --quickly", "--quickly"),
        ("--json", "requires a subcommand"),
        ("--json schedule tv wake 25:00", "25:00"),
    ] {
        let out = Command::new(env!("CARGO_BIN_EXE_hegctl")).args(line.split(' ')).output().unwrap();
        assert_eq!(out.status.code(), Some(64), "{line}");
        let body: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{line}: {e}: {out:?}"));
        assert_eq!(body["code"], "usage", "{line}");
        let error = body["error"].as_str().unwrap();
        assert!(error.contains(said) && !error.contains("Usage") && !error.contains('\n'), "{line}: {error}");
        assert!(!out.stderr.is_empty(), "{line}: people are told as ever");
    }
    let out = Command::new(env!("CARGO_BIN_EXE_hegctl")).args(["show"]).output().unwrap();
    assert!(out.status.code() == Some(64) && out.stdout.is_empty(), "{out:?}");
    let out = Command::new(env!("CARGO_BIN_EXE_hegctl")).args(["--json", "--help"]).output().unwrap();
    assert!(out.status.success() && !out.stdout.starts_with(b"{"), "{out:?}");
}

#[test]
fn watch_shows_what_is_and_then_what_changes() {
    let home = Home::new();
    let gateway = home.start();
    let tv = Appliance::start(PowerState::On);
    gateway.wait_for(&tv, |a| a["state"] == "ON" && a["subscribed"] == true);
    let mut watch = home.command(&["--json", "watch"]).stdout(Stdio::piped()).spawn().unwrap();
    let out = watch.stdout.take().unwrap();
    let (lines_in, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in std::io::BufRead::lines(std::io::BufReader::new(out)).map_while(Result::ok) {
            let _ = lines_in.send(serde_json::from_str::<Value>(&line).unwrap());
        }
    });
    let next = |kind: &str| loop {
        let line = lines.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("no line {kind}"));
        let ours = line["appliance"]["udn"] == tv.udn.as_str() || line["entry"]["udn"] == tv.udn.as_str();
        if line["kind"] == kind && (ours || kind == "ready") {
            return line;
        }
    };
    assert_eq!(next("appliance")["appliance"]["state"], "ON");
    next("ready");
    tv.order(Told::State(PowerState::Standby));
    assert_eq!(next("journal")["entry"]["action"], "PowerState Standby");
    assert_eq!(next("appliance")["appliance"]["state"], "Standby");
    watch.kill().unwrap();
    watch.wait().unwrap();
    gateway.stop();
}

// The programs.

const DEADLINE: Duration = Duration::from_secs(30);

fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = clock::boottime() + DEADLINE;
    while clock::boottime() < until {
        if let Some(seen) = look() {
            return seen;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("waited in vain for {what}");
}

struct Home {
    dir: tempfile::TempDir,
    config: PathBuf,
    socket: PathBuf,
}

impl Home {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = Self { config: dir.path().join("heg.toml"), socket: dir.path().join("s"), dir };
        home.write_config("[network]\nloopback = true\nipv6 = false\ninterfaces = ['lo']\n[commands]\nwithin-s = 10\nwake-within-s = 3\n");
        home
    }

    fn write_config(&self, text: &str) {
        let (state, socket) = (self.dir.path().join("state"), self.socket.display());
        // These run on the machine's own network, whose rules are none of a test's business.
        let text = format!(
            "state-dir = '{}'\n{text}[firewall]\nmode = 'off'\n[control]\nsocket = '{socket}'\n",
            state.display()
        );
        std::fs::write(&self.config, text).unwrap();
    }

    fn start(&self) -> Gateway<'_> {
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

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hegctl"));
        command.arg("--socket").arg(&self.socket).args(args);
        command
    }

    fn hegctl(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }
}

struct Gateway<'a> {
    home: &'a Home,
    child: Option<Child>,
}

impl Gateway<'_> {
    fn expect(&self, code: i32, args: &[&str], text: &str) {
        let out = self.home.hegctl(args);
        let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert!(out.status.code() == Some(code) && said.contains(text), "hegctl {args:?}: {:?} {said}", out.status);
    }

    fn json(&self, args: &[&str]) -> Value {
        let out = self.home.hegctl(&[&["--json"], args].concat());
        serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("hegctl {args:?}: {e}: {out:?}"))
    }

    fn wait_for(&self, appliance: &Appliance, so: impl Fn(&Value) -> bool) -> Value {
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
    fn asked_by(&self, appliance: &Appliance, action: &str, arguments: &str) -> Result<u32, u16> {
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

    fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    fn stop(mut self) {
        self.signal("TERM");
        let status = self.child.take().unwrap().wait().unwrap();
        assert_eq!(status.code(), Some(0));
    }

    fn kill(mut self) {
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

enum Told {
    State(PowerState),
    Refuse(RefusalKind, &'static str),
    Obey,
    /// Goes off the network without a word.
    Vanish,
}

struct Appliance {
    udn: Udn,
    orders: tokio::sync::mpsc::UnboundedSender<Told>,
    calls: Arc<Mutex<Vec<String>>>,
}

impl Appliance {
    fn start(state: PowerState) -> Self {
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

    fn order(&self, told: Told) {
        self.orders.send(told).unwrap();
    }

    fn calls_of(&self, action: &str) -> Vec<String> {
        self.calls.lock().unwrap().iter().filter(|c| c.starts_with(action)).cloned().collect()
    }
}

/// The appliance's own loop.
struct Player {
    udn: Udn,
    state: PowerState,
    refuse: Option<Refusal>,
    calls: Arc<Mutex<Vec<String>>>,
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

    fn device(&self, http_port: u16) -> DeviceConfig {
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

    fn publish(&self, device: &mut RootDevice) {
        let change = pm::Event::PowerState(self.state).change();
        device.set_variables(&pm::DECLARATION, &[change], boot());
    }

    fn act(&mut self, call: &ActionCall) -> Result<Vec<(&'static str, String)>, UpnpError> {
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

fn uid() -> u32 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").unwrap().uid()
}

fn boot() -> BootTime {
    BootTime::from_duration(clock::boottime())
}
