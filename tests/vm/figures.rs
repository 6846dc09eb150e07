//! The figures of docs/benchmarks.md that take a real kernel: how often the last event is out before the machine sleeps or ends,
//! and how long it takes from the kernel's event to the wire and to the gateway's registry. Written to the file named by
//! `VM_FIGURES`; `bench/run vm` runs this and prints it.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::fs;
use std::net::UdpSocket;
use std::time::Duration;

use anyhow::{Context, Result};
use house_tests::machine::now;

use crate::home::{AGENT, Home, NAS, Setting, test};
use crate::limits::{FIGURES_S_MAX, SHUTDOWN_S_MAX, SOON};

/// Suspends of each way.
const SUSPENDS: usize = 40;
/// Power-offs of each way.
const POWER_OFFS: usize = 10;
/// Questions for the time; the quickest answer counts.
const ROUND_TRIPS: usize = 40;

/// Answers with CLOCK_BOOTTIME in nanoseconds.
const CLOCK: &str = r#"systemd-run -q --unit=clock python3 -c "
import socket, time
asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asked.bind(('', 7778))
while True:
    _, who = asked.recvfrom(64)
    asked.sendto(str(time.clock_gettime_ns(time.CLOCK_BOOTTIME)).encode(), who)
"
cd /sys/kernel/tracing
echo boot >trace_clock
echo 1 >events/power/suspend_resume/enable"#;

/// The kernel's own stamp of the beginning of the last suspend, seconds of CLOCK_BOOTTIME.
const KERNEL_STAMP: &str =
    r"sed -n 's/.* \([0-9.]*\): suspend_resume: suspend_enter\[[0-9]*\] begin$/\1/p' /sys/kernel/tracing/trace";

#[test]
#[ignore = "takes several minutes; bench/run vm runs it"]
fn how_often_and_how_soon_a_suspend_by_logind_is_told() {
    suspends("systemctl suspend");
}

#[test]
#[ignore = "takes several minutes; bench/run vm runs it"]
fn how_often_and_how_soon_a_suspend_by_writing_mem_is_told() {
    suspends("echo mem >/sys/power/state");
}

#[test]
#[ignore = "takes several minutes; bench/run vm runs it"]
fn how_often_a_power_off_by_the_system_call_is_told() {
    power_offs("poweroff -ff");
}

#[test]
#[ignore = "takes several minutes; bench/run vm runs it"]
fn how_often_a_power_off_by_sysrq_is_told() {
    power_offs("echo o >/proc/sysrq-trigger");
}

/// Suspends by `order`, from a machine that has settled and from one that has just woken.
fn suspends(order: &str) {
    let all = RefCell::new([Vec::new(), Vec::new()]);
    let setting = Setting { limit: FIGURES_S_MAX, preparation: CLOCK, ..Setting::default() };
    test(setting, |home| {
        for (at, settled) in [(0, true), (1, false)] {
            // A machine that hung is begun anew; what was measured stays.
            while all.borrow()[at].len() < SUSPENDS {
                let one = suspend(home, order, settled)?;
                all.borrow_mut()[at].push(one);
            }
        }
        let all = all.borrow();
        let mut page = format!(
            "`{order}`, {SUSPENDS} suspends each:\n\n\
             | machine | event on the wire before sleep | kernel's event to the wire | to the gateway's registry | the wire to sleep |\n\
             |---|---|---|---|---|\n"
        );
        for (name, all) in [("settled", &all[0]), ("right after a wake-up", &all[1])] {
            let in_time: Vec<_> = all.iter().filter(|one| one.to_sleep >= 0.0).collect();
            writeln!(
                page,
                "| {name} | {} of {} | {} | {} | {} |",
                in_time.len(),
                all.len(),
                spread(in_time.iter().map(|one| one.to_wire)),
                spread(in_time.iter().map(|one| one.to_registry)),
                spread(in_time.iter().map(|one| one.to_sleep)),
            )?;
        }
        let error = all.iter().flatten().map(|one| one.error).fold(Duration::ZERO, Duration::max);
        let memory = home.run("grep -E '^(VmRSS|RssAnon)' /proc/$(systemctl show -P MainPID psm-agent)/status")?;
        let memory: Vec<_> = memory.split_whitespace().collect();
        writeln!(
            page,
            "\nMilliseconds: median / 99th percentile (least to most). Less than nothing: before the kernel's event, as logind tells \
             the agent first. The wire is the event to the subscriber; the one for all by multicast may reach the registry before it. The clocks of guest and host are compared before each suspend by {ROUND_TRIPS} round trips; the error of \
             a single figure is at most {:.1} ms. Memory of the agent afterwards: {}.",
            ms(error),
            memory.join(" ")
        )?;
        write_figures(&page)
    });
}

/// Counts how often OFF was on the wire before the end.
fn power_offs(order: &str) {
    let told = RefCell::new(Vec::new());
    let setting = Setting { limit: FIGURES_S_MAX, times: POWER_OFFS, agent: AGENT, state: "ON", preparation: "" };
    test(setting, |home| {
        let (mark, events) = (home.house.lab().watcher().mark(), home.guest.qmp().mark());
        let _cut_off = home.launch(order)?;
        let ended = home.guest.qmp().wait_event("SHUTDOWN", events, SHUTDOWN_S_MAX)?;
        let first = home.told_at("OFF", mark).filter(|at| *at < ended.at);
        told.borrow_mut().push(first.map(|at| ms(ended.at - at)));
        let told = told.borrow();
        if told.len() < POWER_OFFS {
            return Ok(());
        }
        let in_time: Vec<_> = told.iter().flatten().copied().collect();
        let line = format!(
            "`{order}`: in {} of {} power-offs OFF was on the wire before the end; from the wire to the end {} ms.\n",
            in_time.len(),
            told.len(),
            spread(in_time.iter().copied())
        );
        write_figures(&line)
    });
}

/// One suspend, in milliseconds.
struct Suspend {
    to_wire: f64,
    to_registry: f64,
    to_sleep: f64,
    error: Duration,
}

fn suspend(home: &Home, order: &str, settled: bool) -> Result<Suspend> {
    home.run("echo >/sys/kernel/tracing/trace")?;
    if settled {
        home.wait_settled()?;
    }
    let (ahead, error) = clock_ahead(home)?;
    let (mark, events) = (home.house.lab().watcher().mark(), home.guest.qmp().mark());
    let logged = gateway_log(home)?.lines().count();
    let call = home.launch(order)?;
    let slept = home.wait_suspended(events)?;
    home.guest.wake()?;
    call.finish(SOON)?;
    home.house.wait_state(NAS, "ON", SOON)?;
    let stamp = home.run(KERNEL_STAMP)?;
    let stamp: f64 = stamp.lines().next().context("the kernel stamped no suspend")?.trim().parse()?;
    let kernel = Duration::from_secs_f64(stamp) + ahead;
    let wire = home.told_at("Standby", mark).context("Standby was not told at all")?;
    let registry = registered_at(&gateway_log(home)?, logged)?;
    Ok(Suspend {
        to_wire: between(kernel, wire),
        to_registry: between(kernel, registry),
        to_sleep: between(wire, slept),
        error,
    })
}

/// How far the host's wall clock is ahead of the machine's CLOCK_BOOTTIME, and how wrong that may be.
fn clock_ahead(home: &Home) -> Result<(Duration, Duration)> {
    let socket = home.house.gateway().host().in_network(|| Ok(UdpSocket::bind("0.0.0.0:0")?))?;
    socket.connect((home.house.lan().ipv4(2), 7778)).context("the machine's clock")?;
    socket.set_read_timeout(Some(SOON)).context("setting a deadline")?;
    let mut best: Option<(Duration, Duration)> = None;
    for _ in 0..ROUND_TRIPS {
        let (asked, mut answer) = (now(), [0; 64]);
        socket.send(b"?").context("asking for the time")?;
        let len = socket.recv(&mut answer).context("the machine's time")?;
        let half = (now() - asked) / 2;
        let time =
            String::from_utf8_lossy(answer.get(..len).unwrap_or_default()).parse().context("reading the time")?;
        if best.is_none_or(|(_, error)| half < error) {
            best = Some((asked + half - Duration::from_nanos(time), half));
        }
    }
    best.context("no question was asked")
}

fn gateway_log(home: &Home) -> Result<String> {
    let log = home.house.lab().dir().join("log/gateway-heg-gateway.log");
    fs::read_to_string(&log).context("reading the gateway's log")
}

/// The gateway's own stamp of the change to Standby, after the first `skip` lines of its log.
fn registered_at(log: &str, skip: usize) -> Result<Duration> {
    let line = log.lines().skip(skip).find(|line| line.contains("power state") && line.contains("to=\"Standby\""));
    let stamp = line.and_then(|line| line.split_whitespace().next()).context("the gateway did not log Standby")?;
    let stamp: jiff::Timestamp = stamp.parse().with_context(|| format!("reading {stamp}"))?;
    Ok(Duration::from_nanos(u64::try_from(stamp.as_nanosecond())?))
}

fn between(from: Duration, to: Duration) -> f64 {
    (to.as_secs_f64() - from.as_secs_f64()) * 1e3
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Median / 99th percentile (least to most).
fn spread(values: impl Iterator<Item = f64>) -> String {
    let mut sorted: Vec<_> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let at = |share: usize| sorted.get((sorted.len() * share).div_ceil(100).max(1) - 1).copied().unwrap_or(f64::NAN);
    format!("{:.1} / {:.1} ({:.1} to {:.1})", at(50), at(99), at(0), at(100))
}

/// Appends to the page.
fn write_figures(text: &str) -> Result<()> {
    use std::io::Write as _;
    println!("{text}");
    let Some(path) = std::env::var_os("VM_FIGURES").filter(|path| !path.is_empty()) else { return Ok(()) };
    let mut page = fs::OpenOptions::new().append(true).create(true).open(path).context("opening the page")?;
    writeln!(page, "{text}").context("writing the page")
}
