//! A home whose one appliance is a virtual machine, and the way into it.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use house_tests::house::{House, succeeded};
use serde_json::Value;
use testkit::lab::frame::Payload;
use testkit::lab::{Frame, Mark, Tap, sandbox, wait_until};

use crate::guest::{Guest, make_disk, make_up};
use crate::limits::{BOOT_S_MAX, LOAD_S_MAX, PREPARE_S_MAX, QUIET, SILENCE, SLEEP_S_MAX, SOON, STUCK_MAX, TEST_S_MAX};

/// The machine's name, on the wire too.
pub(crate) const NAS: &str = "nas";
/// Its place on the LAN; the address is in the image.
const NAS_NUMBER: u8 = 2;
/// Where its shell listens; in the image too.
const SHELL_PORT: u16 = 7777;

/// A gateway that looks after silent appliances as often as it may.
const GATEWAY: &str = "[discovery]\npoll-every-s = 10\n[store]\nwrite-every-s = 1\n";
pub(crate) const AGENT: &str = "[wake]\nmethod = 'WOL'\n[operation]\ndriver = 'machine'\n[probe]\nmode = 'required'\n";
const AGENT_CONFIG: &str = "/etc/psm/psm-agent.toml";

/// The image, made by `tests/vm/build`.
const IMAGE: &str = "VM_IMAGE";
/// Directory with what is installed on the machine, as it lies from `/` on; or packages in `debs`.
const FILES: &str = "VM_FILES";

/// Packages as apt would, or by hand what they do. Nothing is started, and of the services the agent alone at a boot.
const INSTALL: &str = r#"if [ -d /debs ]; then
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
    DEBIAN_FRONTEND=noninteractive dpkg --install /debs/*.deb 2>&1
    systemctl -q disable heg-firewall heg-gateway heg-utility heg-kmc
    rm -r /debs /usr/sbin/policy-rc.d
else
    systemd-sysusers
    systemd-tmpfiles --create psm-agent.conf
    apparmor_parser --replace --skip-read-cache /etc/apparmor.d/usr.bin.psm-agent
    systemctl daemon-reload
    systemctl -q enable psm-agent
fi"#;

/// The home.
#[derive(Debug)]
pub(crate) struct Home<'a> {
    pub(crate) house: &'a House,
    pub(crate) guest: Guest,
    /// The stream of frames before the agent was started.
    pub(crate) began: Mark,
}

/// A script that runs on the machine.
#[derive(Debug)]
pub(crate) struct Call {
    stream: TcpStream,
}

/// What a test is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting<'a> {
    /// All of it, the repetitions too, ends within this time.
    pub(crate) limit: Duration,
    /// How often the story is told, each time from the snapshot on and with a gateway that knows nothing.
    pub(crate) times: usize,
    /// `psm-agent.toml`.
    pub(crate) agent: &'a str,
    /// Power state the agent begins with.
    pub(crate) state: &'a str,
    /// A script for the machine, before the agent is started.
    pub(crate) preparation: &'a str,
}

impl Default for Setting<'_> {
    fn default() -> Self {
        Setting { limit: TEST_S_MAX, times: 1, agent: AGENT, state: "ON", preparation: "" }
    }
}

/// The emulated machine hung on its way to sleep, which says nothing about the agent.
#[derive(Debug, thiserror::Error)]
#[error("the machine neither sleeps nor answers")]
struct Stuck;

/// Runs `story`, all of a test, in a home where the machine has booted and the agent is followed by the gateway.
pub(crate) fn test(setting: Setting, story: impl Fn(&Home) -> Result<()>) {
    if !sandbox::is_inside() && std::env::var_os(IMAGE).is_none() {
        return sandbox::skip("needs its image; run `make vm`");
    }
    sandbox::test_within(PREPARE_S_MAX + setting.limit, || {
        House::run(GATEWAY, |house| {
            let tap = house.lab().tap(NAS, house.lan(), NAS_NUMBER)?;
            let (image, snapshot) = installed(house, &tap)?;
            let disk = house.lab().dir().join("disk.qcow2");
            let (mut time, mut stuck) = (0, 0);
            while time < setting.times {
                if time + stuck > 0 {
                    house.gateway_mut().stop(SOON)?;
                    fs::remove_dir_all(house.gateway().host().dir().join("lib/heg")).context("clearing the gateway")?;
                    house.gateway_mut().start()?;
                }
                fs::copy(&snapshot, &disk).context("copying the snapshot")?;
                let guest = Guest::start(house, &tap, &image, &disk, Some("installed"))?;
                let home = Home { house, guest, began: house.lab().watcher().mark() };
                let told = home.begin(&setting).and_then(|()| story(&home)).and_then(|()| home.ensure_not_refused());
                match told {
                    Ok(()) => time += 1,
                    Err(error) if stuck < STUCK_MAX && error.is::<Stuck>() => {
                        stuck += 1;
                        report(&format!("{error:#}; begun again, {stuck} of at most {STUCK_MAX}"))?;
                    }
                    Err(error) => {
                        eprintln!("{}", home.report());
                        return Err(error.context(format!("repetition {} of {}", time + 1, setting.times)));
                    }
                }
            }
            Ok(())
        })
    });
}

/// Adds a line to what is said at the end of `make vm`.
///
/// # Errors
/// When it can't be written.
pub(crate) fn report(line: &str) -> Result<()> {
    println!("{line}");
    let Some(path) = std::env::var_os("VM_REPORT") else { return Ok(()) };
    let file = fs::OpenOptions::new().append(true).create(true).open(path);
    writeln!(file.context("opening the report")?, "{line}").context("writing the report")
}

impl Home<'_> {
    /// Runs a script on the machine; what it prints.
    ///
    /// # Errors
    /// When it fails, with what it printed.
    pub(crate) fn run(&self, script: &str) -> Result<String> {
        self.launch(script)?.finish(SOON)
    }

    /// Starts a script on the machine.
    ///
    /// # Errors
    /// When the machine does not answer.
    pub(crate) fn launch(&self, script: &str) -> Result<Call> {
        let mut stream = self.connect(SOON).context("the machine's shell")?;
        // A group is read to its end before it runs, and its commands can't read the script away.
        let script = format!("{{\n:\n{script}\n}} </dev/null\necho \"lab-exit $?\"\n");
        stream.write_all(script.as_bytes()).context("sending a script")?;
        stream.shutdown(Shutdown::Write).context("ending a script")?;
        Ok(Call { stream })
    }

    /// Waits until the machine is suspended, after the first `events` of the emulator; when, wall clock since 1970.
    ///
    /// # Errors
    /// When it goes on running, or hangs.
    pub(crate) fn wait_suspended(&self, events: usize) -> Result<Duration> {
        match self.guest.qmp().wait_event("SUSPEND", events, SLEEP_S_MAX) {
            Ok(event) => Ok(event.at),
            Err(error) if self.answers() => Err(error),
            Err(_) => Err(Stuck.into()),
        }
    }

    /// True if the machine's kernel runs: it answers the first packet of a connection.
    pub(crate) fn answers(&self) -> bool {
        self.connect(SILENCE).is_ok()
    }

    fn connect(&self, within: Duration) -> Result<TcpStream> {
        connect(self.house, within)
    }

    fn wait_shell(&self, deadline: Duration) -> Result<()> {
        wait_until("the machine's shell", deadline, || self.connect(SILENCE).ok()).map(drop)
    }

    /// Prepares the machine and starts the agent, and waits until the gateway follows it.
    fn begin(&self, setting: &Setting) -> Result<()> {
        self.wait_shell(LOAD_S_MAX)?;
        // A snapshot's clock stands where it was taken.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.run(&format!(
            "set -e\ndate -s @{now} >/dev/null\nmkdir -p $(dirname {AGENT_CONFIG})\n\
             cat >{AGENT_CONFIG} <<'CONFIG'\n{}\nCONFIG\n{}\nsystemctl start psm-agent",
            setting.agent, setting.preparation
        ))?;
        self.house.wait_state(NAS, setting.state, SOON)?;
        self.wait_settled()
    }

    /// Waits until the gateway follows the agent, the agent hears its sources, and the machine has said all it had to say.
    ///
    /// # Errors
    /// When one of them does not come.
    pub(crate) fn wait_settled(&self) -> Result<()> {
        self.wait_followed()?;
        self.wait_sources()?;
        self.ensure_confined("psm-agent")?;
        let watcher = self.house.lab().watcher();
        let mut next = watcher.mark();
        wait_until("a quiet machine", SOON, || {
            let (after, said) = watcher.poll_for(next, QUIET, |frame| &*frame.sender == NAS);
            next = after;
            said.is_none().then_some(())
        })
    }

    /// Waits until logind and the probe are heard, and logind waits for the agent.
    ///
    /// # Errors
    /// When one of them is not, with what the agent says of it.
    fn wait_sources(&self) -> Result<()> {
        for (name, wanted) in [("logind", "delay lock held"), ("probe", "")] {
            let mut last = Value::Null;
            let live = wait_until("", SOON, || {
                let sources = self.status().ok()?;
                last = sources.get("sources")?.as_array()?.iter().find(|source| source["name"] == name)?.clone();
                (last["live"] == true && last["detail"].as_str()?.contains(wanted)).then_some(())
            });
            live.map_err(|_| anyhow::anyhow!("the agent does not hear {name}: {last}"))?;
        }
        Ok(())
    }

    /// AppArmor holds a service to its profile.
    ///
    /// # Errors
    /// When it is not confined.
    pub(crate) fn ensure_confined(&self, unit: &str) -> Result<()> {
        let label = self.run(&format!("cat /proc/$(systemctl show -P MainPID {unit})/attr/apparmor/current"))?;
        ensure!(label.trim() == format!("{unit} (enforce)"), "{unit} runs under {label}");
        Ok(())
    }

    /// What a machine that is still there was refused by AppArmor since it booted: nothing.
    fn ensure_not_refused(&self) -> Result<()> {
        if !self.answers() {
            return Ok(());
        }
        let refused = self.run("journalctl -k -b -o cat --no-pager | grep 'apparmor=\"DENIED\"' || true")?;
        ensure!(refused.is_empty(), "refused by AppArmor: {refused}");
        Ok(())
    }

    /// Waits until the agent's events come to the gateway.
    pub(crate) fn wait_followed(&self) -> Result<()> {
        wait_until("a subscription to the machine", SOON, || {
            let answer = self.house.gateway().json(&["show", NAS]).ok()?;
            answer.get("subscribed")?.as_bool()?.then_some(())
        })
    }

    /// Waits until the machine has told the gateway of `state` after `mark`.
    ///
    /// # Errors
    /// When it does not.
    pub(crate) fn wait_told(&self, state: &str, mark: Mark) -> Result<()> {
        wait_until(&format!("{state} told"), SOON, || self.told_at(state, mark)).map(drop)
    }

    /// The frames of the machine from `mark` on that have `text` in them.
    pub(crate) fn said(&self, text: &str, mark: Mark) -> Vec<Frame> {
        let frames = self.house.lab().watcher().since(mark).into_iter();
        frames.filter(|frame| &*frame.sender == NAS && frame.says(text)).collect()
    }

    /// When the machine first told the gateway of `state` from `mark` on: by the event to its subscriber, not by the one for all.
    pub(crate) fn told_at(&self, state: &str, mark: Mark) -> Option<Duration> {
        let event = format!("<PowerState>{state}</PowerState>");
        let mut frames = self.said(&event, mark).into_iter();
        frames.find(|frame| matches!(frame.payload(), Payload::Tcp { .. })).map(|frame| frame.at)
    }

    /// `psm-agent status` on the machine.
    ///
    /// # Errors
    /// When the agent does not answer.
    pub(crate) fn status(&self) -> Result<Value> {
        let text = self.run("psm-agent status --json")?;
        serde_json::from_str(&text).with_context(|| format!("reading {text:?}"))
    }

    /// The power states the agent has entered, oldest first.
    ///
    /// # Errors
    /// When the agent does not answer.
    pub(crate) fn changes(&self) -> Result<Vec<String>> {
        let status = self.status()?;
        let events = status.get("events").and_then(Value::as_array).context("no events")?;
        Ok(events.iter().filter_map(|event| event.get("to")?.as_str().map(str::to_owned)).collect())
    }

    /// The agent's process number.
    ///
    /// # Errors
    /// When the machine does not answer.
    pub(crate) fn agent_pid(&self) -> Result<u32> {
        self.run("systemctl show -P MainPID psm-agent")?.trim().parse().context("reading a process number")
    }

    /// Waits until a unit of the machine is in `state` (systemd's ActiveState).
    ///
    /// # Errors
    /// When it is in another all the time.
    pub(crate) fn wait_unit(&self, unit: &str, state: &str) -> Result<()> {
        let script = format!("systemctl show -P ActiveState {unit}");
        wait_until(&format!("{unit} {state}"), SOON, || (self.run(&script).ok()?.trim() == state).then_some(()))
    }

    /// For a person who looks for the reason of a failure.
    fn report(&self) -> String {
        let status = self.guest.qmp().status();
        // It may well sleep.
        let _awake = self.guest.wake();
        let journal = wait_until("an awake machine", SOON, || self.answers().then_some(()))
            .and_then(|()| self.run("journalctl -b -n 150 -o short-monotonic --no-pager"));
        let events: Vec<_> = self.guest.qmp().since(0).iter().map(|e| format!("{:?} {}", e.at, e.name)).collect();
        format!(
            "---- emulator: {:?} {events:#?}\n---- journal of the machine\n{}",
            status,
            journal.unwrap_or_else(|e| format!("{e:#}"))
        )
    }
}

impl Call {
    /// Waits for the script's end; what it printed.
    ///
    /// # Errors
    /// When it fails, or has not ended after `deadline`.
    pub(crate) fn finish(mut self, deadline: Duration) -> Result<String> {
        self.stream.set_read_timeout(Some(deadline)).context("setting a deadline")?;
        let mut said = Vec::new();
        self.stream.read_to_end(&mut said).with_context(|| format!("reading a script's output within {deadline:?}"))?;
        let said = String::from_utf8_lossy(&said);
        match said.trim_end().rsplit_once("lab-exit ") {
            Some((output, "0")) => Ok(output.to_owned()),
            Some((output, code)) => bail!("a script on the machine ended with {code}: {output}"),
            None => bail!("a script on the machine was cut off: {said}"),
        }
    }
}

fn connect(house: &House, within: Duration) -> Result<TcpStream> {
    let address = SocketAddr::from((house.lan().ipv4(NAS_NUMBER), SHELL_PORT));
    house.gateway().host().in_network(|| Ok(TcpStream::connect_timeout(&address, within)?))
}

/// The image, and the disk with the snapshot `installed` in it, where the machine has booted and everything is installed; both
/// made at the first need and kept beside the image.
fn installed(house: &House, tap: &Tap) -> Result<(PathBuf, PathBuf)> {
    let image = directory(IMAGE)?;
    let make_up = format!("{} {}", make_up()?, image.display());
    let boot = kept(&image, "boot", &make_up, |disk| {
        make_disk(disk, &image)?;
        snapshot(house, tap, &image, disk, None, "booted", |home| {
            home.wait_shell(BOOT_S_MAX)?;
            let state = home.launch("systemctl is-system-running --wait")?.finish(BOOT_S_MAX)?;
            ensure!(state.trim() == "running", "the machine is {state}");
            Ok(())
        })
    })?;
    let files = house.lab().dir().join("files.tar");
    pack(&directory(FILES)?, &files)?;
    let with = format!("{} {}", boot.display(), sum_of(&files)?);
    let installed = kept(&image, "installed", &with, |disk| {
        fs::copy(&boot, disk).context("copying the snapshot")?;
        snapshot(house, tap, &image, disk, Some("booted"), "installed", |home| {
            home.wait_shell(LOAD_S_MAX)?;
            home.install(&files)?;
            home.guest.qmp().monitor("delvm booted")
        })
    })?;
    Ok((image, installed))
}

fn directory(variable: &str) -> Result<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).with_context(|| format!("{variable} is not set; run `make vm`"))
}

/// `NAME-SUM.qcow2` beside the image, made by `make` unless it is there. One made of other parts is of no use any more.
fn kept(image: &Path, name: &str, parts: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let text = image.join(format!("{name}.parts"));
    let disk = image.join(format!("{name}.qcow2"));
    if disk.exists() && fs::read_to_string(&text).is_ok_and(|known| known == parts) {
        return Ok(disk);
    }
    let new = image.join(format!("{name}.new"));
    let _none = fs::remove_file(&text);
    make(&new)?;
    fs::rename(&new, &disk).context("keeping a snapshot")?;
    fs::write(&text, parts).context("noting what a snapshot is made of")?;
    Ok(disk)
}

/// Runs a machine on `disk` until `prepare` is content, and saves its state.
fn snapshot(
    house: &House,
    tap: &Tap,
    image: &Path,
    disk: &Path,
    load: Option<&str>,
    save: &str,
    prepare: impl FnOnce(&Home) -> Result<()>,
) -> Result<()> {
    let guest = Guest::start(house, tap, image, disk, load)?;
    let home = Home { house, guest, began: house.lab().watcher().mark() };
    prepare(&home)?;
    home.guest.qmp().monitor(&format!("savevm {save}"))?;
    home.guest.quit()
}

/// An archive with the same sum for the same files.
fn pack(files: &Path, archive: &Path) -> Result<()> {
    let mut command = Command::new("tar");
    command.args(["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "-cf"]).arg(archive);
    command.arg("-C").arg(files);
    for entry in fs::read_dir(files).with_context(|| format!("reading {}", files.display()))? {
        command.arg(entry.context("reading an entry")?.file_name());
    }
    succeeded(command.output().context("starting tar")?).map(drop)
}

fn sum_of(file: &Path) -> Result<String> {
    let output = Command::new("sha256sum").stdin(fs::File::open(file)?).stderr(Stdio::inherit()).output();
    succeeded(output.context("starting sha256sum")?)
}

impl Home<'_> {
    /// Unpacks an archive over the machine's files, and installs the packages in it; nothing is started yet.
    fn install(&self, archive: &Path) -> Result<()> {
        let host = self.house.gateway().host();
        let listener = host.in_network(|| Ok(TcpListener::bind((self.house.gateway().links()[0].ipv4(), 0))?))?;
        listener.set_nonblocking(true).context("preparing the listener")?;
        let from = listener.local_addr().context("the listener's address")?;
        let call = self
            .launch(&format!("set -e\nsocat -u TCP:{from} STDOUT | tar -x --no-overwrite-dir -C /\n{INSTALL}\nsync"))?;
        let (mut stream, _) = wait_until("the machine's call for its files", SOON, || listener.accept().ok())?;
        stream.set_nonblocking(false).context("preparing the connection")?;
        let mut file = fs::File::open(archive).context("opening the archive")?;
        std::io::copy(&mut file, &mut stream).context("sending the archive")?;
        drop(stream);
        call.finish(BOOT_S_MAX).map(drop)
    }
}
