//! The probe in the kernel: from the tracepoint through the agent to the gateway, and how the agent does without.
//!
//! The kernel's part is played by BPF_PROG_TEST_RUN on the very program the agent has loaded ([`house_tests::kernel`]); a real
//! suspend is in the tests of `make vm`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use caps::{CapSet, Capability};
use house_tests::house::{AGENT, ApplianceConfig, House};
use house_tests::kernel::{Kernel, Phase, TO_MEMORY};
use nix::sys::signal::Signal;
use serde_json::Value;
use testkit::lab::{Frame, Host, Lab, Process, sandbox, wait_until};

use crate::homes::{GATEWAY, SOON, nas, wait_subscribed, with_one};

/// Why the probe can't be loaded by a test on this machine; none if it can.
fn obstacle() -> Option<String> {
    if !built("psm-probe.o").exists() {
        return Some("the probe is not built (make ebpf)".to_owned());
    }
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    if map.split_whitespace().next_back() != Some("4294967295") {
        return Some("loading the probe takes root outside of a user namespace".to_owned());
    }
    let missing = [Capability::CAP_BPF, Capability::CAP_PERFMON, Capability::CAP_SYS_ADMIN]
        .into_iter()
        .find(|cap| !caps::has_cap(None, CapSet::Effective, *cap).unwrap_or(false));
    missing.map(|cap| format!("loading the probe takes {cap}"))
}

/// A file that `make ebpf` makes.
fn built(name: &str) -> PathBuf {
    let programs = sandbox::programs_dir().unwrap_or_default();
    programs.parent().unwrap_or(Path::new("/")).join("bpf").join(name)
}

/// Runs `story` where the probe can be loaded, else skips the test.
fn where_it_loads(story: impl FnOnce() -> Result<()>) {
    match obstacle() {
        Some(why) => sandbox::skip(&why),
        None => sandbox::test(story),
    }
}

/// An appliance that loads the probe or does not start. The object lies where every host of the lab sees it.
fn probed(mut config: ApplianceConfig) -> ApplianceConfig {
    config.agent =
        format!("{}[probe]\nmode = 'required'\nobject = '{}'\n", config.agent, built("psm-probe.o").display());
    config
}

fn kernel_of(house: &House, name: &str) -> Result<Kernel> {
    let pid = house.appliance(name)?.program_pid(AGENT).context("the agent runs")?;
    Kernel::of_agent(pid, &built("psm-probe-strings.o"))
}

fn status(house: &House, name: &str) -> Result<Value> {
    Ok(serde_json::from_str(&house.agent(name, &["--json", "status"])?)?)
}

/// The events of the power state since the agent's start, as `from -> to (cause)`.
fn changes(status: &Value) -> Vec<String> {
    let text = |event: &Value, key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let events = status.get("events").and_then(Value::as_array).cloned().unwrap_or_default();
    events.iter().map(|e| format!("{} -> {} ({})", text(e, "from"), text(e, "to"), text(e, "cause"))).collect()
}

fn probe_source(status: &Value) -> Result<(bool, String)> {
    source(status, "probe")
}

/// Whether a source is live, and what is said of it.
fn source(status: &Value, name: &str) -> Result<(bool, String)> {
    let sources = status.get("sources").and_then(Value::as_array).context("no sources")?;
    let named = |s: &&Value| s.get("name").and_then(Value::as_str) == Some(name);
    let probe = sources.iter().find(named).with_context(|| format!("no source {name}"))?;
    let live = probe.get("live").and_then(Value::as_bool).unwrap_or_default();
    Ok((live, probe.get("detail").and_then(Value::as_str).unwrap_or_default().to_owned()))
}

#[test]
fn the_built_object_holds_the_programs_maps_and_settings_that_the_agent_uses() {
    let path = built("psm-probe.o");
    let Ok(bytes) = std::fs::read(&path) else { return sandbox::skip("the probe is not built (make ebpf)") };
    let object = aya_obj::Object::parse(&bytes).expect("an object");
    let programs: BTreeMap<_, _> =
        object.programs.iter().map(|(name, p)| (name.as_str(), format!("{:?}", p.section))).collect();
    for (name, section) in [
        ("suspend_resume", "RawTracePoint"),
        ("reboot_enter", "TracePoint"),
        ("reboot_exit", "TracePoint"),
        ("kernel_power_off", "KProbe"),
        ("kernel_restart", "KProbe"),
        ("kernel_halt", "KProbe"),
        ("kernel_kexec", "KProbe"),
        ("hibernate", "KProbe"),
        ("hibernate_return", "KRetProbe"),
        ("pm_suspend_return", "KRetProbe"),
    ] {
        assert_eq!(programs.get(name).map(String::as_str), Some(section), "{name}");
    }
    assert_eq!(programs.len(), 10, "a program that nobody attaches: {programs:?}");
    for map in ["EVENTS", "LOST"] {
        assert!(object.maps.contains_key(map), "{map}");
    }
    for setting in ["CMD_OFFSET", "RET_OFFSET", "PID_NS_DEV", "PID_NS_INO"] {
        let known = bytes.windows(setting.len()).any(|name| name == setting.as_bytes());
        assert!(known, "{setting} is not in the object's symbols");
    }
    // What is not stripped is refused by kernels (type information with Rust's names), or only makes it large.
    assert!(bytes.len() < 32 * 1024, "{} bytes", bytes.len());
}

#[test]
fn a_suspend_the_kernel_alone_knows_of_reaches_the_gateway_and_so_does_the_waking() {
    where_it_loads(|| {
        with_one(probed(nas()), "ON", |house| {
            let kernel = kernel_of(house, "nas")?;
            let (live, detail) = probe_source(&status(house, "nas")?)?;
            ensure!(live && detail.contains("suspend_resume"), "{detail}");
            let mut last = None;
            for _ in 0..3 {
                let mark = house.lab().watcher().mark();
                kernel.falls_asleep()?;
                house.wait_said("nas", "<PowerState>Standby</PowerState>", mark, SOON)?;
                // The multicast event is the second chance.
                house.wait_said("nas", "LVL: upnp:/info", mark, SOON)?;
                house.wait_state("nas", "Standby", SOON)?;
                let mark = house.lab().watcher().mark();
                kernel.wakes()?;
                house.wait_state("nas", "ON", SOON)?;
                // Until the agent has heard of the waking, the announcement before may still be repeated.
                let new = |f: &Frame| &*f.sender == "nas" && f.says("ssdp:alive") && boot_id(f) > last;
                let alive = house.lab().watcher().wait_for("an announcement under a new BOOTID", mark, SOON, new)?;
                last = boot_id(&alive);
            }
            let status = status(house, "nas")?;
            let by = |from, to, what| format!("{from} -> {to} (direct, {what} by {} (pid), seen by kernel)", comm());
            let once = [by("ON", "Standby", "suspend to memory"), by("Standby", "ON", "waking")];
            // As many changes as there were, and no more.
            let told: Vec<_> = changes(&status).iter().map(|change| without_pid(change)).collect();
            assert_eq!(told, [once.clone(), once.clone(), once].concat());
            Ok(())
        })
    });
}

#[test]
fn a_suspend_that_is_called_off_while_processes_freeze_is_told_and_taken_back() {
    where_it_loads(|| {
        with_one(probed(nas()), "ON", |house| {
            let kernel = kernel_of(house, "nas")?;
            let mark = house.lab().watcher().mark();
            kernel.fires(Phase::SuspendEnter, TO_MEMORY, true)?;
            kernel.fires(Phase::FreezeProcesses, 0, true)?;
            kernel.fires(Phase::ThawProcesses, 0, true)?;
            kernel.fires(Phase::ThawProcesses, 0, false)?;
            kernel.fires(Phase::FreezeProcesses, 0, false)?;
            house.wait_said("nas", "<PowerState>ON</PowerState>", mark, SOON)?;
            house.wait_state("nas", "ON", SOON)?;
            let told = changes(&status(house, "nas")?);
            ensure!(told.len() == 2 && told[0].contains("-> Standby") && told[1].contains("-> ON"), "{told:?}");
            Ok(())
        })
    });
}

#[test]
fn calls_of_reboot_that_cannot_end_the_machine_leave_it_on_for_the_gateway() {
    where_it_loads(|| {
        with_one(probed(nas()), "ON", |house| {
            ensure!(source(&status(house, "nas")?, "probe-reboot")?.0, "reboot(2) is not watched");
            let host = house.appliance("nas")?.host();
            let program = house.lab().program("call-reboot").display().to_string();
            // A user's is refused by the kernel, and never told.
            let by_user = host.run("setpriv", &["--reuid=65534", "--clear-groups", &program])?;
            ensure!(by_user.status.success(), "{by_user:?}");
            // A container's ends the container.
            let in_container = host.run("unshare", &["--pid", "--fork", &program])?;
            ensure!(!in_container.status.success(), "the call was refused: {in_container:?}");
            // That of root without the capability is told, refused, and taken back.
            let mark = house.lab().watcher().mark();
            let by_root = host.run("setpriv", &["--bounding-set=-sys_boot", &program])?;
            ensure!(by_root.status.success(), "{by_root:?}");
            house.wait_said("nas", "<PowerState>ON</PowerState>", mark, SOON)?;
            house.wait_state("nas", "ON", SOON)?;
            let told = changes(&status(house, "nas")?);
            ensure!(
                told.len() == 2
                    && told[0].contains("OFF (direct, power off by call-reboot")
                    && told[1].contains("-> ON"),
                "{told:?}"
            );
            Ok(())
        })
    });
}

#[test]
fn what_the_probe_leaves_out_changes_nothing() {
    where_it_loads(|| {
        with_one(probed(nas()), "ON", |house| {
            let kernel = kernel_of(house, "nas")?;
            kernel.fires(Phase::DevicesSuspend, 2, true)?;
            kernel.fires(Phase::MachineSuspend, TO_MEMORY, false)?;
            kernel.fires(Phase::SuspendEnter, TO_MEMORY, false)?;
            // A real one afterwards is the first change.
            kernel.falls_asleep()?;
            house.wait_state("nas", "Standby", SOON)?;
            assert_eq!(changes(&status(house, "nas")?).len(), 1);
            Ok(())
        })
    });
}

#[test]
fn after_loading_the_agent_has_given_up_the_right_to_load() {
    where_it_loads(|| {
        with_one(probed(nas()), "ON", |house| {
            let pid = house.appliance("nas")?.program_pid(AGENT).context("the agent runs")?;
            let mut threads = 0;
            for entry in std::fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
                let thread = entry.file_name().to_string_lossy().parse()?;
                for set in [CapSet::Permitted, CapSet::Effective, CapSet::Inheritable] {
                    let kept = caps::read(Some(thread), set)?;
                    let mut given_up = [Capability::CAP_BPF, Capability::CAP_PERFMON, Capability::CAP_SYS_ADMIN];
                    ensure!(!given_up.iter_mut().any(|cap| kept.contains(cap)), "thread {thread} keeps {kept:?}");
                }
                threads += 1;
            }
            ensure!(threads == 2, "the loading thread is still there");
            Ok(())
        })
    });
}

#[test]
fn the_main_loop_is_at_real_time_priority_for_the_event_and_not_otherwise() {
    where_it_loads(|| {
        with_one(probed(nas()), "ON", |house| {
            let pid = house.appliance("nas")?.program_pid(AGENT).context("the agent runs")?;
            let kernel = kernel_of(house, "nas")?;
            // In a container without CAP_SYS_NICE it is not allowed, and told.
            let (_, detail) = probe_source(&status(house, "nas")?)?;
            let allowed = detail.contains("at real-time priority");
            ensure!(allowed || detail.contains("at usual priority: "), "{detail}");
            for round in 0..5 {
                kernel.falls_asleep()?;
                house.wait_state("nas", "Standby", SOON)?;
                kernel.wakes()?;
                house.wait_state("nas", "ON", SOON)?;
                wait_until("the usual priority", SOON, || (policy(pid, pid).ok()? == SCHED_OTHER).then_some(()))
                    .with_context(|| format!("after suspend {round}"))?;
            }
            let mut others = Vec::new();
            for entry in std::fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
                let thread = entry.file_name().to_string_lossy().parse()?;
                if thread != pid {
                    others.push(policy(pid, thread)?);
                }
            }
            assert_eq!(others, [if allowed { SCHED_FIFO } else { SCHED_OTHER }]);
            Ok(())
        })
    });
}

#[test]
fn a_burst_that_the_agent_cannot_take_is_counted_and_the_state_ends_right() {
    where_it_loads(|| {
        with_one(probed(nas()), "ON", |house| {
            let machine = house.appliance("nas")?;
            let pid = machine.program_pid(AGENT).context("the agent runs")?;
            let kernel = kernel_of(house, "nas")?;
            let pid = nix::unistd::Pid::from_raw(pid.try_into()?);
            nix::sys::signal::kill(pid, Signal::SIGSTOP)?;
            // More than a page of records: the ring overflows while the agent stands still.
            for _ in 0..40 {
                kernel.falls_asleep()?;
                kernel.wakes()?;
            }
            nix::sys::signal::kill(pid, Signal::SIGCONT)?;
            wait_until("the losses told", SOON, || {
                let (_, detail) = probe_source(&status(house, "nas").ok()?).ok()?;
                detail.contains("events lost").then_some(())
            })?;
            kernel.falls_asleep()?;
            house.wait_state("nas", "Standby", SOON)?;
            kernel.wakes()?;
            house.wait_state("nas", "ON", SOON).map(drop)
        })
    });
}

#[test]
fn without_an_object_the_agent_works_by_its_other_sources_and_says_why() {
    sandbox::test(|| {
        let mut config = nas();
        config.agent.push_str("[probe]\nobject = '/nonexistent/psm-probe.o'\n");
        House::run(GATEWAY, |house| {
            house.add(config)?;
            house.wait_state("nas", "ON", SOON)?;
            wait_subscribed(house, "nas")?;
            let told = wait_until("why there is no probe", SOON, || {
                Some(probe_source(&status(house, "nas").ok()?).ok()?).filter(|(_, why)| why != "being loaded")
            })?;
            assert_eq!(
                told,
                (false, "no object /nonexistent/psm-probe.o: No such file or directory (os error 2)".into())
            );
            house.gateway().hegctl_ok(&["standby", "nas"])?;
            house.wait_state("nas", "Standby", SOON).map(drop)
        })
    });
}

#[test]
fn switched_off_it_is_not_loaded() {
    sandbox::test(|| {
        let alone = Alone::start(&[], "mode = 'off'")?;
        assert_eq!(alone.probe()?, (false, "switched off".to_owned()));
        Ok(())
    });
}

#[test]
fn without_permission_the_agent_says_what_it_takes() {
    if !built("psm-probe.o").exists() {
        return sandbox::skip("the probe is not built (make ebpf)");
    }
    sandbox::test(|| {
        // In a user namespace nobody has it; as root it is taken away.
        let alone = Alone::start(&["setpriv", "--bounding-set=-bpf,-perfmon,-sys_admin"], &object())?;
        assert_eq!(alone.probe()?, (false, "no permission: loading takes CAP_BPF and CAP_PERFMON".to_owned()));
        Ok(())
    });
}

#[test]
fn on_a_kernel_without_tracing_programs_the_agent_says_so() {
    where_it_loads(|| {
        let lab = Lab::new()?;
        let wrapper = lab.program("without-tracing");
        drop(lab);
        let wrapper = wrapper.display().to_string();
        let alone = Alone::start(&[&wrapper], &object())?;
        let why = "the kernel takes no tracing programs (built without CONFIG_BPF_EVENTS, as on Raspberry Pi OS)";
        assert_eq!(alone.probe()?, (false, why.to_owned()));
        Ok(())
    });
}

#[test]
fn where_it_is_required_the_agent_does_not_start_without_and_exits_with_69() {
    sandbox::test(|| {
        let config = "mode = 'required'\nobject = '/nonexistent/psm-probe.o'";
        let mut alone = Alone::begin(&[], config)?;
        let exit: ExitStatus = alone.agent.wait(SOON)?;
        assert_eq!(exit.code(), Some(69));
        let log = alone.lab.logs();
        ensure!(log.contains("probe.mode is \"required\"") && log.contains("no object /nonexistent"), "{log}");
        Ok(())
    });
}

/// An agent on a host without a bus, a network or a gateway.
struct Alone {
    agent: Process,
    host: Host,
    lab: Lab,
}

impl Alone {
    /// Starts it by `wrapper`, with `probe` as its section of the configuration.
    fn begin(wrapper: &[&str], probe: &str) -> Result<Self> {
        let mut lab = Lab::new()?;
        let host = lab.host("alone")?;
        let config = host.dir().join("psm-agent.toml");
        std::fs::write(&config, format!("[network]\ninterfaces = ['lo']\nloopback = true\n[probe]\n{probe}\n"))?;
        host.make_service_directories(AGENT)?;
        let program = lab.program(AGENT);
        let mut command: Command = match wrapper.split_first() {
            Some((first, rest)) => {
                let mut command = host.command(first);
                command.args(rest).arg(program);
                command
            }
            None => host.command(program),
        };
        let agent = host.start(AGENT, command.arg("--config").arg(config))?;
        Ok(Self { agent, host, lab })
    }

    fn start(wrapper: &[&str], probe: &str) -> Result<Self> {
        let alone = Self::begin(wrapper, probe)?;
        wait_until("the agent", SOON, || alone.status().ok()).with_context(|| alone.lab.logs())?;
        Ok(alone)
    }

    fn status(&self) -> Result<Value> {
        let answer = self.host.run(self.lab.program(AGENT), &["--json", "status"])?;
        if !answer.status.success() {
            bail!("{answer:?}");
        }
        Ok(serde_json::from_slice(&answer.stdout)?)
    }

    /// What became of the probe.
    fn probe(&self) -> Result<(bool, String)> {
        wait_until("what became of the probe", Duration::from_secs(30), || {
            let told = probe_source(&self.status().ok()?).ok()?;
            (told.1 != "being loaded").then_some(told)
        })
    }
}

fn object() -> String {
    format!("object = '{}'", built("psm-probe.o").display())
}

const SCHED_OTHER: u32 = 0;
const SCHED_FIFO: u32 = 1;

/// The scheduling policy of a thread: the 41st field of its stat, the 39th after the name (proc_pid_stat(5)).
fn policy(pid: u32, thread: u32) -> Result<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/stat"))?;
    let after_name = stat.rsplit_once(") ").context("no name in stat")?.1;
    after_name.split_whitespace().nth(38).and_then(|p| p.parse().ok()).context("no policy in stat")
}

/// The kernel counts processes as the machine does, not as the lab.
fn without_pid(change: &str) -> String {
    change.chars().filter(|c| !c.is_ascii_digit()).collect::<String>().replace("(pid )", "(pid)")
}

/// BOOTID.UPNP.ORG of an announcement.
fn boot_id(frame: &Frame) -> Option<u64> {
    let text = String::from_utf8_lossy(&frame.bytes).into_owned();
    text.lines().find_map(|line| line.strip_prefix("BOOTID.UPNP.ORG:")?.trim().parse().ok())
}

/// This thread's name, as the kernel has it.
fn comm() -> String {
    std::fs::read_to_string("/proc/thread-self/comm").unwrap_or_default().trim().to_owned()
}
