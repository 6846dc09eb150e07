//! The lab's machine alone: its logind behaves as the real one, its sleep is one, and a magic packet ends it.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use house_tests::hardware::{Note, Session, Wish};
use house_tests::machine::{Event, Machine, MachineConfig, Power, Program};
use testkit::lab::{Host, Lab, Lan, sandbox};
use zbus::{OwnedFd, OwnedObjectPath, proxy};

const SOON: Duration = Duration::from_secs(10);

#[proxy(
    interface = "org.freedesktop.login1.Manager",
    default_service = "org.freedesktop.login1",
    default_path = "/org/freedesktop/login1"
)]
trait Login {
    fn inhibit(&self, what: &str, who: &str, why: &str, mode: &str) -> zbus::Result<OwnedFd>;
    fn list_inhibitors(&self) -> zbus::Result<Vec<(String, String, String, String, u32, u32)>>;
    fn list_sessions(&self) -> zbus::Result<Vec<(String, u32, String, String, OwnedObjectPath)>>;
    fn suspend(&self, interactive: bool) -> zbus::Result<()>;
    fn suspend_with_flags(&self, flags: u64) -> zbus::Result<()>;
    fn power_off(&self, interactive: bool) -> zbus::Result<()>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn block_inhibited(&self) -> zbus::Result<String>;
}

#[proxy(interface = "org.freedesktop.login1.Session", default_service = "org.freedesktop.login1")]
trait LoginSession {
    #[zbus(property(emits_changed_signal = "false"))]
    fn active(&self) -> zbus::Result<bool>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn idle_hint(&self) -> zbus::Result<bool>;
}

#[proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
pub(crate) trait Systemd {
    fn get_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;
    fn load_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;
    fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
}

#[proxy(interface = "org.freedesktop.systemd1.Unit", default_service = "org.freedesktop.systemd1")]
trait Unit {
    #[zbus(property(emits_changed_signal = "false"))]
    fn active_state(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn load_state(&self) -> zbus::Result<String>;
}

#[test]
fn sleep_waits_for_a_delay_lock_and_comes_right_after_its_release() {
    sandbox::test(|| {
        let home = Home::new(MachineConfig::default())?;
        on_bus(&home.tv, async |bus| {
            let login = LoginProxy::new(&bus).await?;
            let lock = login.inhibit("sleep", "test", "an event to send", "delay").await?;
            login.suspend(false).await?;
            home.tv.wait_event("PrepareForSleep", 0, SOON, |e| is_prepare(e, true))?;
            ensure!(home.tv.power() == Power::Running, "asleep in spite of the lock");
            drop(lock);
            Ok(())
        })?;
        home.tv.wait_power(Power::Asleep, SOON)?;
        let names: Vec<&str> = home.tv.events().iter().map(|e| name_of(&e.what)).collect();
        assert_eq!(names, ["booted", "taken", "prepare", "released", "frozen"]);
        Ok(())
    });
}

#[test]
fn a_delay_lock_that_is_kept_holds_sleep_up_no_longer_than_the_limit() {
    sandbox::test(|| {
        let home = Home::new(MachineConfig::default())?;
        home.tv.wish(Wish::DelayMax { ms: 300 })?;
        home.tv.wish(hold("stubborn", "sleep", "delay"))?;
        home.tv.wish(Wish::Suspend)?;
        home.tv.wait_power(Power::Asleep, SOON)?;
        let events = home.tv.events();
        let at = |name: &str| events.iter().find(|e| name_of(&e.what) == name).map(|e| e.at).context(name.to_owned());
        assert!(at("expired")? - at("prepare")? >= Duration::from_millis(300));
        assert!(at("frozen")? >= at("expired")?);
        Ok(())
    });
}

#[test]
fn a_sleeping_machine_is_stopped_and_off_the_wire_until_a_magic_packet_for_it() {
    sandbox::test(|| {
        let ticker = Program {
            name: "ticker".into(),
            file: "/bin/sh".into(),
            arguments: vec!["-c".into(), "while :; do echo tick >> /run/ticks; sleep 0.02; done".into()],
            environment: Vec::new(),
            directories: Vec::new(),
        };
        let home = Home::new(MachineConfig { programs: vec![ticker], ..MachineConfig::default() })?;
        let ticks = || std::fs::read(home.tv.host().dir().join("run/ticks")).unwrap_or_default().len();
        testkit::lab::wait_until("ticks", SOON, || (ticks() > 0).then_some(()))?;

        home.tv.wish(Wish::Suspend)?;
        home.tv.wait_power(Power::Asleep, SOON)?;
        let stopped_at = ticks();
        // Another machine's packet, and then a broken one, leave it asleep; the right one wakes it.
        home.wake([0x52, 0x54, 0, 0x88, 0, 0x63], None)?;
        assert_eq!((home.tv.power(), ticks()), (Power::Asleep, stopped_at));
        home.wake(home.tv.links()[0].mac(), None)?;

        home.tv.wait_power(Power::Running, SOON)?;
        home.tv.wait_event("PrepareForSleep(false)", 0, SOON, |e| is_prepare(e, false))?;
        testkit::lab::wait_until("more ticks", SOON, || (ticks() > stopped_at).then_some(()))
    });
}

#[test]
fn a_network_card_with_a_password_ignores_a_packet_without_it() {
    sandbox::test(|| {
        let password = vec![1, 2, 3, 4, 5, 6];
        let home = Home::new(MachineConfig { wake_password: Some(password.clone()), ..MachineConfig::default() })?;
        home.tv.wish(Wish::Suspend)?;
        home.tv.wait_power(Power::Asleep, SOON)?;
        let mac = home.tv.links()[0].mac();
        home.wake(mac, None)?;
        home.tv.wait_event("the refused packet", 0, SOON, |e| *e == Event::MagicPacket { taken: false })?;
        assert_eq!(home.tv.power(), Power::Asleep);
        home.wake(mac, Some(&password))?;
        home.tv.wait_power(Power::Running, SOON)
    });
}

#[test]
fn the_clock_chips_alarm_wakes_a_sleeping_machine() {
    sandbox::test(|| {
        let home = Home::new(MachineConfig::default())?;
        let seen = home.tv.host().run("sh", &["-c", "echo +1 > /sys/class/rtc/rtc0/wakealarm; ls /sys/class/net"])?;
        assert_eq!(String::from_utf8(seen.stdout)?.split_whitespace().collect::<Vec<_>>(), ["eth0", "lo"]);
        home.tv.wish(Wish::Suspend)?;
        home.tv.wait_event("the alarm", 0, SOON, |e| *e == Event::ClockAlarm)?;
        home.tv.wait_power(Power::Running, SOON)
    });
}

#[test]
fn power_off_ends_every_process_and_a_magic_packet_boots_again() {
    sandbox::test(|| {
        let sleeper = Program {
            name: "sleeper".into(),
            file: "/bin/sleep".into(),
            arguments: vec!["infinity".into()],
            environment: Vec::new(),
            directories: Vec::new(),
        };
        let home = Home::new(MachineConfig { programs: vec![sleeper], ..MachineConfig::default() })?;
        home.tv.wish(Wish::PowerOff)?;
        home.tv.wait_power(Power::Off, SOON)?;
        assert_eq!(home.tv.host().processes(), []);
        home.wake(home.tv.links()[0].mac(), None)?;
        home.tv.wait_power(Power::Running, SOON)?;
        assert!(home.tv.program_runs("sleeper"));
        // Its bus and logind are new ones.
        home.tv.wish(Wish::Reboot)?;
        let boots = || home.tv.events().iter().filter(|e| e.what == Event::Booted).count();
        testkit::lab::wait_until("the third boot", SOON, || (boots() == 3).then_some(()))
    });
}

#[test]
fn locks_and_sessions_are_shown_as_logind_shows_them() {
    sandbox::test(|| {
        let home = Home::new(MachineConfig::default())?;
        home.tv.wish(hold("backup", "sleep:shutdown", "block"))?;
        home.tv.wish(Wish::Session(Session::active("2", "ada")))?;
        on_bus(&home.tv, async |bus| {
            let login = LoginProxy::new(&bus).await?;
            let locks = login.list_inhibitors().await?;
            ensure!(locks.len() == 1 && locks[0].0 == "shutdown:sleep" && locks[0].3 == "block", "{locks:?}");
            ensure!(login.block_inhibited().await? == "shutdown:sleep");
            let sessions = login.list_sessions().await?;
            ensure!(sessions[0].4.as_str() == "/org/freedesktop/login1/session/_32", "{sessions:?}");
            let session = LoginSessionProxy::builder(&bus).path(sessions[0].4.clone()).build().await?;
            ensure!(session.active().await? && !session.idle_hint().await?);
            home.tv.wish(Wish::Session(Session::active("2", "ada").idle()))?;
            ensure!(session.idle_hint().await?);
            // Only who asks to be checked is held up by a block lock; root is not.
            let refused = login.suspend_with_flags(1).await.expect_err("checked");
            ensure!(refused.to_string().contains("block inhibitor"), "{refused}");
            home.tv.wish(Wish::LetGo { key: "backup".into() })?;
            home.tv.wish(Wish::EndSession { id: "2".into() })?;
            ensure!(login.list_inhibitors().await?.is_empty() && login.list_sessions().await?.is_empty());
            Ok(())
        })
    });
}

#[test]
fn a_second_operation_meanwhile_is_refused() {
    sandbox::test(|| {
        let home = Home::new(MachineConfig::default())?;
        home.tv.wish(hold("slow", "sleep", "delay"))?;
        on_bus(&home.tv, async |bus| {
            let login = LoginProxy::new(&bus).await?;
            login.suspend(false).await?;
            let refused = login.power_off(false).await.expect_err("two at once");
            ensure!(refused.to_string().contains("OperationInProgress"), "{refused}");
            Ok(())
        })
    });
}

#[test]
fn a_unit_is_a_real_process_that_starts_and_stops() {
    sandbox::test(|| {
        let units = vec!["washing.service".into(), "broken.service=/nonexistent".into()];
        let home = Home::new(MachineConfig { units, ..MachineConfig::default() })?;
        on_bus(&home.tv, async |bus| {
            let systemd = SystemdProxy::new(&bus).await?;
            let not_loaded = systemd.get_unit("washing.service").await.expect_err("inactive units are not in memory");
            ensure!(not_loaded.to_string().contains("NoSuchUnit"), "{not_loaded}");
            let path = systemd.load_unit("washing.service").await?;
            let unit = UnitProxy::builder(&bus).path(path).build().await?;
            ensure!(unit.active_state().await? == "inactive");
            systemd.start_unit("washing.service", "replace").await?;
            let started = unit_event(&home.tv, 0, "active")?;
            let Event::Logind(Note::Unit { pid: Some(pid), .. }) = started else { anyhow::bail!("{started:?}") };
            ensure!(home.tv.host().processes().iter().any(|p| p.pid == pid), "the unit's process is on the host");
            ensure!(unit.active_state().await? == "active");
            systemd.stop_unit("washing.service", "replace").await?;
            unit_event(&home.tv, 0, "inactive")?;
            ensure!(!home.tv.host().processes().iter().any(|p| p.pid == pid));

            systemd.start_unit("broken.service", "replace").await?;
            unit_event(&home.tv, 0, "failed")?;
            let unknown = systemd.start_unit("other.service", "replace").await.expect_err("no unit file");
            ensure!(unknown.to_string().contains("NoSuchUnit"), "{unknown}");
            let missing = UnitProxy::builder(&bus).path(systemd.load_unit("other.service").await?).build().await?;
            ensure!(missing.load_state().await? == "not-found");
            Ok(())
        })
    });
}

/// A machine called tv, and a host called gateway that can send.
struct Home {
    tv: Machine,
    gateway: Host,
    lan: Lan,
    lab: Lab,
}

impl Home {
    fn new(config: MachineConfig) -> Result<Home> {
        let mut lab = Lab::new()?;
        let lan = lab.lan()?;
        let gateway = lab.host("gateway")?;
        lab.attach(&gateway, "eth0", &lan, 1)?;
        let tv = lab.host("tv")?;
        let link = lab.attach(&tv, "eth0", &lan, 2)?;
        let tv = Machine::boot(&lab, tv, vec![link], config)?;
        Ok(Home { tv, gateway, lan, lab })
    }

    /// Sends a magic packet and waits until the switch has seen it.
    fn wake(&self, mac: [u8; 6], password: Option<&[u8]>) -> Result<()> {
        let mut packet = vec![0xff; 6];
        (0..16).for_each(|_| packet.extend_from_slice(&mac));
        packet.extend_from_slice(password.unwrap_or_default());
        let mark = self.lab.watcher().mark();
        let all = self.lan.ipv4(255);
        self.gateway.in_network(|| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.set_broadcast(true)?;
            Ok(socket.send_to(&packet, (all, 9))?)
        })?;
        self.lab.watcher().wait_for("the magic packet", mark, SOON, |f| f.magic_packet().is_some()).map(drop)
    }
}

fn hold(key: &str, what: &str, mode: &str) -> Wish {
    Wish::Hold { key: key.into(), what: what.into(), who: key.into(), why: "test".into(), mode: mode.into() }
}

pub(crate) fn on_bus<T>(machine: &Machine, work: impl AsyncFnOnce(zbus::Connection) -> Result<T>) -> Result<T> {
    let socket = machine.host().dir().join("run/dbus/system_bus_socket");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let address = format!("unix:path={}", socket.display());
        let bus = zbus::connection::Builder::address(address.as_str()).build().await?;
        tokio::time::timeout(SOON, work(bus)).await.context("waiting for the bus")?
    })
}

fn unit_event(machine: &Machine, skip: usize, state: &str) -> Result<Event> {
    let wanted = |e: &Event| matches!(e, Event::Logind(Note::Unit { active_state, .. }) if active_state == state);
    machine.wait_event(&format!("a unit {state}"), skip, SOON, wanted).map(|timed| timed.what)
}

fn is_prepare(event: &Event, wanted: bool) -> bool {
    matches!(event, Event::Logind(Note::PrepareForSleep { start }) if *start == wanted)
}

fn name_of(event: &Event) -> &'static str {
    match event {
        Event::Logind(Note::LockTaken { .. }) => "taken",
        Event::Logind(Note::LockReleased { .. }) => "released",
        Event::Logind(Note::PrepareForSleep { .. }) => "prepare",
        Event::Logind(Note::DelayExpired) => "expired",
        Event::Frozen => "frozen",
        Event::Booted => "booted",
        _ => "other",
    }
}
