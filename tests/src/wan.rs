//! What is at the other end of a home's line: the utility's server and the key management centre, each on a host of its own, and a
//! network between them and the gateway. The programs are the ones that are installed.

use std::fs;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use testkit::lab::{Host, Lan, Link, Process, wait_until};

use crate::attacker::Attacker;
use crate::house::{GATEWAY_NUMBER, House, succeeded};

/// Where the KMC is on the WAN.
const KMC_NUMBER: u8 = 8;
/// Where the utility is.
const UTILITY_NUMBER: u8 = 9;
/// Where somebody else is.
const ATTACKER_NUMBER: u8 = 66;
/// Port of the KMC.
pub const KMC_PORT: u16 = 8440;
/// Port of the utility's sealed endpoints.
pub const UTILITY_PORT: u16 = 8460;
/// From the start of a server to its first answer.
const UP_WITHIN: Duration = Duration::from_secs(20);

/// A wall clock that can be set while the program under it runs.
#[derive(Debug, Clone)]
pub struct FalseClock {
    library: PathBuf,
    file: PathBuf,
}

/// Servers on the WAN. Dropping it ends them.
#[derive(Debug)]
pub struct Wan {
    lan: Lan,
    gateway: Link,
    /// The key management centre.
    pub kmc: Server,
    /// The utility.
    pub utility: Server,
    utilityctl: PathBuf,
}

/// One of the servers.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    program: PathBuf,
    config: PathBuf,
    state: &'static str,
    host: Host,
    link: Link,
    clock: FalseClock,
    daemon: Option<Process>,
}

impl FalseClock {
    /// Makes one in that directory.
    fn new(dir: &Path) -> Result<Self> {
        let clock = Self { library: dir.join("false-clock.so"), file: dir.join("false-clock") };
        let source = dir.join("false-clock.c");
        fs::write(&source, include_str!("false-clock.c")).context("writing the clock")?;
        let mut compiler = Command::new("cc");
        let out = compiler.args(["-shared", "-fPIC", "-O", "-o"]).arg(&clock.library).arg(&source).output();
        succeeded(out.context("running the C compiler")?)?;
        clock.set_off_by(0)?;
        Ok(clock)
    }

    /// From now on the wall clock is off by so many seconds; the time since boot and all timers go on as they do.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn set_off_by(&self, seconds: i64) -> Result<()> {
        let mut file =
            fs::File::options().create(true).truncate(false).write(true).open(&self.file).context("a clock")?;
        // Of one length, in one write: nobody reads half of it.
        file.write_all(format!("{seconds:+012}\n").as_bytes()).context("setting a clock")
    }

    /// What a program's environment needs to have this clock.
    pub fn environment(&self) -> [(&'static str, &Path); 2] {
        [("LD_PRELOAD", &self.library), ("FALSE_CLOCK", &self.file)]
    }
}

impl Wan {
    /// A centre and a utility that is enrolled there, and a second interface `eth1` of the house's gateway toward them. `utility` is more for
    /// `heg-utility.toml`.
    ///
    /// # Errors
    /// When a server does not come up.
    pub fn new(house: &mut House, utility: &str) -> Result<Wan> {
        let lan = house.lab_mut().lan()?;
        let lab = house.lab_mut();
        let (utilityctl, programs) =
            (lab.program("utilityctl"), ["heg-kmc", "heg-utility"].map(|name| lab.program(name)));
        let mut servers = Vec::new();
        for ((name, state, number), program) in
            [("kmc", "heg-kmc", KMC_NUMBER), ("utility", "heg-utility", UTILITY_NUMBER)].into_iter().zip(programs)
        {
            let host = lab.host(name)?;
            let link = lab.attach(&host, "eth0", &lan, number)?;
            let clock = FalseClock::new(host.dir())?;
            let config = host.dir().join(format!("{state}.toml"));
            servers.push(Server { name, program, config, state, host, link, clock, daemon: None });
        }
        let gateway = house.lab().attach(house.gateway().host(), "eth1", &lan, GATEWAY_NUMBER)?;
        house.gateway_mut().add_link(gateway.clone());
        let (Some(utility_server), Some(kmc)) = (servers.pop(), servers.pop()) else { unreachable!("two were made") };
        let mut wan = Wan { lan, gateway, kmc, utility: utility_server, utilityctl };
        let (kmc_at, utility_at) = (wan.kmc.link.ipv4(), wan.utility.link.ipv4());
        let text = format!("[http]\nlisten = \"{kmc_at}:{KMC_PORT}\"\nhost = \"{kmc_at}:{KMC_PORT}\"\n");
        fs::write(&wan.kmc.config, text).context("writing the centre's configuration")?;
        let text = format!(
            "[console]\nrequests-per-s = 1000.0\nburst = 1000\n[homes]\nlisten = [\"{utility_at}:{UTILITY_PORT}\"]\nreachable = \"{utility_at}:{UTILITY_PORT}\"\n{utility}"
        );
        fs::write(&wan.utility.config, text).context("writing the utility's configuration")?;
        wan.kmc.host.make_service_directories("heg-kmc")?;
        succeeded(wan.kmc.run(&["init"])?)?;
        wan.kmc.start()?;
        wan.kmc.wait_up(&["status"])?;
        wan.utility.start()?;
        wan.wait_utility()?;
        let token = wan.new_token("utility", &[])?;
        wan.utilityctl_ok(&["enrol", &token])?;
        Ok(wan)
    }

    /// The network.
    pub fn lan(&self) -> &Lan {
        &self.lan
    }

    /// The gateway's line.
    pub fn line(&self) -> &Link {
        &self.gateway
    }

    /// Somebody with a host of its own on the WAN.
    ///
    /// # Errors
    /// When the host does not come up.
    pub fn attacker(&self, house: &mut House) -> Result<Attacker> {
        let host = house.lab_mut().host("attacker")?;
        house.lab().attach(&host, "eth0", &self.lan, ATTACKER_NUMBER)?;
        Ok(Attacker::new(host, SocketAddr::new(self.utility.ipv4(), UTILITY_PORT)))
    }

    /// Day-ahead prices of today and tomorrow (UTC), hour by hour, the first of them negative; the file's path, on the utility's host.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn price_file(&self) -> Result<String> {
        let midnight = jiff::Timestamp::now().as_second() / 86_400 * 86_400;
        let mut text = String::from("start,price\n");
        for hour in 0..48 {
            let start = jiff::Timestamp::from_second(midnight + hour * 3600).context("a time")?;
            text += &format!("{start},{}\n", if hour == 0 { "-1.50".to_owned() } else { format!("{}.25", 20 + hour) });
        }
        let file = self.utility.host.dir().join("prices.csv");
        fs::write(&file, text).context("writing prices")?;
        Ok(file.display().to_string())
    }

    /// Waits until the utility answers its operator.
    ///
    /// # Errors
    /// When it has not in time.
    pub fn wait_utility(&self) -> Result<()> {
        wait_until("the utility to answer", UP_WITHIN, || self.utilityctl_ok(&["status"]).ok().map(drop))
    }

    /// A token of the centre's own making.
    ///
    /// # Errors
    /// When the centre does not answer.
    pub fn new_token(&self, role: &str, more: &[&str]) -> Result<String> {
        let arguments = [&["--json", "token", "new", "--role", role], more].concat();
        let view: Value = serde_json::from_str(&succeeded(self.kmc.run(&arguments)?)?).context("reading a token")?;
        Ok(view["text"].as_str().context("no text of a token")?.to_owned())
    }

    /// Makes the utility know the house's gateway; gives the enrolment token that it prints.
    ///
    /// # Errors
    /// When the utility refuses.
    pub fn add_site(&self, uuid: &str, more: &[&str]) -> Result<String> {
        let text = self.utilityctl_ok(&[&["--json", "site", "add", uuid], more].concat())?;
        let answer: Value = serde_json::from_str(&text).context("reading a token")?;
        Ok(answer["token"].as_str().with_context(|| format!("no token in {answer}"))?.to_owned())
    }

    /// Runs `utilityctl ARGUMENTS...`; its exit code is for the caller to judge.
    ///
    /// # Errors
    /// When it can't be run.
    pub fn utilityctl(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = self.utility.host.command(&self.utilityctl);
        command.args(arguments).output().context("running utilityctl")
    }

    /// Runs `utilityctl ARGUMENTS...`, which must succeed.
    ///
    /// # Errors
    /// When it fails, with what it says.
    pub fn utilityctl_ok(&self, arguments: &[&str]) -> Result<String> {
        succeeded(self.utilityctl(arguments)?)
    }

    /// Runs `utilityctl --json ARGUMENTS...`, which must succeed.
    ///
    /// # Errors
    /// When it fails, or prints something else than JSON.
    pub fn utilityctl_json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.utilityctl_ok(&[&["--json"], arguments].concat())?;
        serde_json::from_str(&text).with_context(|| format!("reading {text:?}"))
    }
}

impl Server {
    /// Its host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Its line.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Its address on the WAN.
    pub fn ipv4(&self) -> IpAddr {
        self.link.ipv4()
    }

    /// Its wall clock.
    pub fn clock(&self) -> &FalseClock {
        &self.clock
    }

    /// Starts the daemon.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(&mut self) -> Result<()> {
        self.host.make_service_directories(self.state)?;
        let mut command = self.host.command(&self.program);
        command.envs(self.clock.environment()).arg("--config").arg(&self.config);
        self.daemon = Some(self.host.start(self.state, &mut command)?);
        Ok(())
    }

    /// Ends the daemon with SIGKILL, as a power cut would.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.daemon.take().with_context(|| format!("{} does not run", self.name))?.kill()
    }

    /// Asks the daemon to end, as `systemctl stop` does.
    ///
    /// # Errors
    /// When it does not run, or is not gone after `deadline`, or does not end well.
    pub fn stop(&mut self, deadline: Duration) -> Result<()> {
        let mut daemon = self.daemon.take().with_context(|| format!("{} does not run", self.name))?;
        daemon.signal(Signal::SIGTERM)?;
        let status = daemon.wait(deadline)?;
        ensure!(status.success(), "{} ended with {status}", self.name);
        Ok(())
    }

    /// Process number of the daemon.
    pub fn pid(&self) -> Option<u32> {
        self.daemon.as_ref().map(Process::pid)
    }

    /// Runs the program with a command, as its operator would, under the same clock.
    ///
    /// # Errors
    /// When it can't be run.
    pub fn run(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = self.host.command(&self.program);
        command.envs(self.clock.environment()).arg("--config").arg(&self.config).args(arguments);
        command.output().context("running a program on a host")
    }

    /// Waits until a command of it succeeds.
    ///
    /// # Errors
    /// When none has in time.
    pub fn wait_up(&self, arguments: &[&str]) -> Result<()> {
        wait_until(&format!("{} to answer", self.name), UP_WITHIN, || {
            self.run(arguments).ok().filter(|out| out.status.success()).map(drop)
        })
    }
}
