//! From the kernel's event to the wire and to the gateway's registry: the probe of a running agent is fired by BPF_PROG_TEST_RUN.
//!
//! Time zero is read right before the call that fires it. The watcher's times are the kernel's, where a frame enters the switch.
//! The gateway answers an event when it is in the registry.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use house_tests::house::{AGENT, ApplianceConfig, House};
use house_tests::kernel::{Kernel, Phase, TO_MEMORY};
use house_tests::machine::now;
use testkit::lab::sandbox;

use crate::memory;

/// Suspends per circumstance; the 99th percentile is the second largest of so many.
const SUSPENDS: usize = 150;
/// Runs whose cost is averaged.
const RUNS: usize = 20_000;
const SOON: Duration = Duration::from_secs(20);
/// The network is quiet when nothing was sent for so long, as it is in a home at night.
const QUIET: Duration = Duration::from_millis(150);
/// Memory is read so long after the start, as for the other figures.
const SETTLE: Duration = Duration::from_secs(45);

/// Prints the section.
pub(crate) fn print() -> Result<()> {
    let built = |name: &str| -> Result<PathBuf> {
        let path = sandbox::programs_dir()?.parent().context("target/PROFILE")?.join("bpf").join(name);
        ensure!(path.exists(), "{} is missing (make ebpf)", path.display());
        Ok(path)
    };
    let probe = format!("[probe]\nmode = 'required'\nobject = '{}'\n", built("psm-probe.o")?.display());
    let strings = built("psm-probe-strings.o")?;
    House::run("", |house| {
        house.add(ApplianceConfig {
            name: "nas".into(),
            number: 4,
            agent: format!("[wake]\nmethod = 'WOL'\n[operation]\ndriver = 'machine'\n{probe}"),
            ..ApplianceConfig::default()
        })?;
        house.wait_state("nas", "ON", SOON)?;
        let pid = house.appliance("nas")?.program_pid(AGENT).context("the agent runs")?;
        let kernel = Kernel::of_agent(pid, &strings)?;
        std::thread::sleep(SETTLE);
        let memory = memory::of(pid)?;
        quiet(house)?;
        println!(
            "## Kernel's event to the gateway's registry, microseconds\n\nGoal: the last event is on its way within a millisecond. \
             {SUSPENDS} suspends, each told to the kernel's tracepoint as it would be; one subscriber. Busy: two spinning processes per core.\n"
        );
        println!("| to | idle: median | 99 % | busy: median | 99 % |\n|---|---|---|---|---|");
        let idle = times(house, &kernel)?;
        let busy = {
            let _load = Load::start()?;
            times(house, &kernel)?
        };
        for (name, pick) in [
            ("the event to the subscriber on the wire", (|t: &Times| t.unicast) as fn(&Times) -> Duration),
            ("the multicast event on the wire", |t| t.multicast),
            ("the gateway's answer: it is in the registry", |t| t.registry),
        ] {
            let cells: Vec<_> = [&idle, &busy].into_iter().flat_map(|all| quantiles(all, pick)).collect();
            println!("| {name} | {} |", cells.join(" | "));
        }
        let (ns, out) = cost(&kernel)?;
        println!(
            "\nThe probe itself: {ns} ns for a phase it tells, {out} ns for one it leaves out (kernel's count over {RUNS} runs each).\n\
             Agent with probe and D-Bus, {} s after its start: {} kB RSS (goal: under 4.5 MB), {} kB PSS, {} kB private dirty.\n",
            SETTLE.as_secs(),
            memory.rss,
            memory.pss,
            memory.private_dirty
        );
        Ok(())
    })
}

#[derive(Debug)]
struct Times {
    unicast: Duration,
    multicast: Duration,
    registry: Duration,
}

fn times(house: &House, kernel: &Kernel) -> Result<Vec<Times>> {
    let mut all = Vec::with_capacity(SUSPENDS);
    let watcher = house.lab().watcher();
    for _ in 0..SUSPENDS {
        let mark = watcher.mark();
        let zero = now();
        kernel.fires(Phase::SuspendEnter, TO_MEMORY, true)?;
        let unicast = watcher.wait_for("the event", mark, SOON, |f| {
            &*f.sender == "nas" && f.says("<PowerState>Standby</PowerState>") && !f.says("LVL:")
        })?;
        let multicast = watcher.wait_for("the multicast event", mark, SOON, |f| {
            &*f.sender == "nas" && f.says("<PowerState>Standby</PowerState>") && f.says("LVL:")
        })?;
        let answer = watcher.wait_for("the answer", mark, SOON, |f| {
            &*f.sender == "gateway" && f.at >= unicast.at && f.says("HTTP/1.1 200 OK")
        })?;
        let since = |at: Duration| at.saturating_sub(zero);
        all.push(Times { unicast: since(unicast.at), multicast: since(multicast.at), registry: since(answer.at) });
        let mark = watcher.mark();
        kernel.fires(Phase::ThawProcesses, 0, true)?;
        watcher.wait_for("the waking", mark, SOON, |f| f.says("<PowerState>ON</PowerState>"))?;
        quiet(house)?;
    }
    Ok(all)
}

/// Waits until nobody says anything any more.
fn quiet(house: &House) -> Result<()> {
    let watcher = house.lab().watcher();
    let until = std::time::Instant::now() + SOON;
    while watcher.poll_for(watcher.mark(), QUIET, |_| true).1.is_some() {
        ensure!(std::time::Instant::now() < until, "the network does not become quiet");
    }
    Ok(())
}

/// Median and 99th percentile, microseconds.
fn quantiles(all: &[Times], pick: fn(&Times) -> Duration) -> [String; 2] {
    let mut sorted: Vec<_> = all.iter().map(pick).collect();
    sorted.sort();
    [sorted.len() / 2, sorted.len() * 99 / 100].map(|i| sorted[i.min(sorted.len() - 1)].as_micros().to_string())
}

/// Nanoseconds of one run that tells, and of one that does not.
fn cost(kernel: &Kernel) -> Result<(u64, u64)> {
    let _counted = aya::sys::enable_stats(aya::sys::Stats::RunTime).context("counting run times")?;
    let mut means = [0; 2];
    for (mean, (phase, begins)) in means.iter_mut().zip([(Phase::MachineSuspend, false), (Phase::DevicesSuspend, true)])
    {
        let (ns, runs) = kernel.cost()?;
        for _ in 0..RUNS {
            kernel.fires(phase, TO_MEMORY, begins)?;
        }
        let (ns_after, runs_after) = kernel.cost()?;
        *mean = (ns_after - ns) / (runs_after - runs).max(1);
    }
    Ok((means[0], means[1]))
}

/// Processes that want all there is of every core.
struct Load(Vec<std::process::Child>);

impl Load {
    fn start() -> Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let spin = || Command::new("sh").args(["-c", "while :; do :; done"]).stdin(Stdio::null()).spawn();
        let children: std::io::Result<Vec<_>> = (0..cores * 2).map(|_| spin()).collect();
        Ok(Self(children.context("starting the load")?))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ended = child.kill().and_then(|()| child.wait());
        }
    }
}
