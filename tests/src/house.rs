//! A home: a gateway and appliances on one LAN, each with the unmodified programs as they are installed.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use testkit::lab::{Host, Lab, Lan, Link, Mark, Process, wait_until};

use crate::machine::{Machine, MachineConfig, Program};

/// The agent's name among a machine's programs.
pub const AGENT: &str = "psm-agent";
/// The gateway's place on the LAN.
pub const GATEWAY_NUMBER: u8 = 1;

/// What an appliance is made of.
#[derive(Debug, Clone, Default)]
pub struct ApplianceConfig {
    /// Host name, and the name shown to people.
    pub name: String,
    /// Its place on the LAN, 2 to 254.
    pub number: u8,
    /// `psm-agent.toml`.
    pub agent: String,
    /// Units its systemd knows.
    pub units: Vec<String>,
    /// SecureOn password of its network card.
    pub wake_password: Option<Vec<u8>>,
}

/// The home. Dropping it ends everything in it.
#[derive(Debug)]
pub struct House {
    appliances: BTreeMap<String, Machine>,
    gateway: Gateway,
    lan: Lan,
    lab: Lab,
}

/// The gateway's host and daemon.
#[derive(Debug)]
pub struct Gateway {
    host: Host,
    links: Vec<Link>,
    daemon: Option<Process>,
    program: PathBuf,
    hegctl: PathBuf,
    config: PathBuf,
}

/// An appliance as the gateway's registry has it (`hegctl --json appliances`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its UDN.
    pub udn: String,
    /// Its name.
    pub name: String,
    /// `ON`, `OFF`, `Standby` or `Unknown`.
    pub state: String,
}

impl House {
    /// Runs `story` in a home with a gateway configured by `gateway`; when it fails, every program's last lines are
    /// printed.
    ///
    /// # Errors
    /// What `story` gives, or when the home can't be put up.
    pub fn run(gateway: &str, story: impl FnOnce(&mut House) -> Result<()>) -> Result<()> {
        let mut house = House::new(gateway)?;
        let told = story(&mut house);
        if told.is_err() {
            eprintln!("{}", house.lab.logs());
        }
        told
    }

    /// A home with a running gateway and no appliance.
    ///
    /// # Errors
    /// When the lab can't be put up, or the gateway can't be started.
    pub fn new(gateway: &str) -> Result<House> {
        let mut lab = Lab::new()?;
        let lan = lab.lan()?;
        let host = lab.host("gateway")?;
        let link = lab.attach(&host, "eth0", &lan, GATEWAY_NUMBER)?;
        let config = host.dir().join("heg-gateway.toml");
        fs::write(&config, gateway).context("writing the gateway's configuration")?;
        let mut gateway = Gateway {
            program: lab.program("heg-gateway"),
            hegctl: lab.program("hegctl"),
            links: vec![link],
            daemon: None,
            config,
            host,
        };
        gateway.start()?;
        Ok(House { appliances: BTreeMap::new(), gateway, lan, lab })
    }

    /// Adds an appliance and boots it.
    ///
    /// # Errors
    /// When its host or a program on it does not come up.
    pub fn add(&mut self, config: ApplianceConfig) -> Result<()> {
        let host = self.lab.host(&config.name)?;
        let link = self.lab.attach(&host, "eth0", &self.lan, config.number)?;
        self.add_on(host, vec![link], config)
    }

    /// As [`House::add`], on a host with interfaces of the caller's making.
    ///
    /// # Errors
    /// As [`House::add`].
    pub fn add_on(&mut self, host: Host, links: Vec<Link>, config: ApplianceConfig) -> Result<()> {
        let file = host.dir().join("psm-agent.toml");
        fs::write(&file, &config.agent).context("writing the agent's configuration")?;
        let agent = Program {
            name: AGENT.to_owned(),
            file: self.lab.program("psm-agent"),
            arguments: vec!["--config".to_owned(), file.display().to_string()],
            environment: Vec::new(),
            directories: vec![AGENT.to_owned()],
        };
        let machine = MachineConfig { units: config.units, programs: vec![agent], wake_password: config.wake_password };
        let machine = Machine::boot(&self.lab, host, links, machine)?;
        self.appliances.insert(config.name, machine);
        Ok(())
    }

    /// The ground.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// The ground, to put more on it.
    pub fn lab_mut(&mut self) -> &mut Lab {
        &mut self.lab
    }

    /// The first LAN.
    pub fn lan(&self) -> &Lan {
        &self.lan
    }

    /// The gateway.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// The gateway, to be stopped and started.
    pub fn gateway_mut(&mut self) -> &mut Gateway {
        &mut self.gateway
    }

    /// An appliance by its name.
    ///
    /// # Errors
    /// When there is none.
    pub fn appliance(&self, name: &str) -> Result<&Machine> {
        self.appliances.get(name).with_context(|| format!("no appliance is called {name}"))
    }

    /// Waits until the gateway's registry has `name` in `state`.
    ///
    /// # Errors
    /// After `deadline`, with what the registry says.
    pub fn wait_state(&self, name: &str, state: &str, deadline: Duration) -> Result<Seen> {
        let mut last = String::from("nothing");
        let found = wait_until("", deadline, || {
            let seen = self.gateway.appliances();
            last = seen.as_ref().map_or_else(|error| format!("{error:#}"), |all| format!("{all:?}"));
            seen.ok()?.into_iter().find(|a| a.name == name && a.state == state)
        });
        found.map_err(|_| anyhow::anyhow!("{name} {state} in the registry: not within {deadline:?}; it says {last}"))
    }

    /// Waits for a frame from host `sender` after `mark` with `text` in it.
    ///
    /// # Errors
    /// After `deadline`.
    pub fn wait_said(&self, sender: &str, text: &str, mark: Mark, deadline: Duration) -> Result<testkit::lab::Frame> {
        let wanted = |f: &testkit::lab::Frame| &*f.sender == sender && f.says(text);
        self.lab.watcher().wait_for(&format!("{text:?} from {sender}"), mark, deadline, wanted)
    }

    /// Runs `psm-agent ARGUMENTS...` on an appliance, as a person logged in there would.
    ///
    /// # Errors
    /// When it can't be run or fails.
    pub fn agent(&self, name: &str, arguments: &[&str]) -> Result<String> {
        let program = self.lab.program("psm-agent");
        succeeded(self.appliance(name)?.host().run(&program, arguments)?)
    }
}

impl Gateway {
    /// Its host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Its interfaces.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// One more interface of its host.
    pub fn add_link(&mut self, link: Link) {
        self.links.push(link);
    }

    /// Starts the daemon.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(&mut self) -> Result<()> {
        self.host.make_service_directories("heg")?;
        let mut command = self.host.command(&self.program);
        command.arg("--config").arg(&self.config);
        self.daemon = Some(self.host.start("heg-gateway", &mut command)?);
        Ok(())
    }

    /// Ends the daemon with SIGKILL, as a crash or a power cut would.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.daemon.take().context("the gateway does not run")?.kill()
    }

    /// Asks the daemon to end, as `systemctl stop` does.
    ///
    /// # Errors
    /// When it does not run, or is not gone after `deadline`.
    pub fn stop(&mut self, deadline: Duration) -> Result<std::process::ExitStatus> {
        let mut daemon = self.daemon.take().context("the gateway does not run")?;
        daemon.signal(Signal::SIGTERM)?;
        daemon.wait(deadline)
    }

    /// Process number of the daemon.
    pub fn pid(&self) -> Option<u32> {
        self.daemon.as_ref().map(Process::pid)
    }

    /// Runs `hegctl ARGUMENTS...` on the gateway.
    ///
    /// # Errors
    /// When it can't be run; its exit code is for the caller to judge.
    pub fn hegctl(&self, arguments: &[&str]) -> Result<Output> {
        self.host.run(&self.hegctl, arguments)
    }

    /// Runs `hegctl ARGUMENTS...`, which must succeed; what it prints.
    ///
    /// # Errors
    /// When it fails, with its error output.
    pub fn hegctl_ok(&self, arguments: &[&str]) -> Result<String> {
        succeeded(self.hegctl(arguments)?)
    }

    /// Runs `hegctl --json ARGUMENTS...`, which must succeed.
    ///
    /// # Errors
    /// When it fails, or prints something else than JSON.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.hegctl_ok(&[&["--json"], arguments].concat())?;
        serde_json::from_str(&text).with_context(|| format!("reading {text:?}"))
    }

    /// The registry.
    ///
    /// # Errors
    /// When the gateway does not answer.
    pub fn appliances(&self) -> Result<Vec<Seen>> {
        let answer = self.json(&["appliances"])?;
        let list = answer.as_array().or_else(|| answer.get("appliances")?.as_array());
        let list = list.with_context(|| format!("no list of appliances in {answer}"))?;
        list.iter().map(Seen::read).collect()
    }
}

impl Seen {
    fn read(value: &Value) -> Result<Seen> {
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        Ok(Seen {
            udn: text("udn").with_context(|| format!("no udn in {value}"))?,
            name: text("name").with_context(|| format!("no name in {value}"))?,
            state: text("state").unwrap_or_else(|| "Unknown".to_owned()),
        })
    }
}

/// What a program printed, if it ended well.
///
/// # Errors
/// Its exit status and what it complained.
pub fn succeeded(output: Output) -> Result<String> {
    if !output.status.success() {
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        bail!("{}: {} {}", output.status, out.trim(), err.trim());
    }
    String::from_utf8(output.stdout).context("printed something else than text")
}

/// What a program complained of, which had to fail.
///
/// # Errors
/// When it ended well.
pub fn refused(output: Output) -> Result<String> {
    ensure!(!output.status.success(), "it went through: {}", String::from_utf8_lossy(&output.stdout));
    Ok(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

/// `HH:MM:SS` of the local clock so many seconds from now, as a person would write it.
///
/// # Errors
/// When the time zone can't be read (`date` asks it).
pub fn clock_in(seconds: u64) -> Result<String> {
    let output =
        std::process::Command::new("date").arg(format!("--date={seconds} seconds")).arg("+%H:%M:%S").output()?;
    Ok(succeeded(output)?.trim().to_owned())
}
