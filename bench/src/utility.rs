//! The utility's side: messages per second, memory, bytes on the line, and how long the gateway takes over a command.
//!
//! The lab's servers and gateway are the installed programs. Reports come from members made here, each with keys of its own.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use getrandom::SysRng;
use house_tests::house::{ApplianceConfig, House};
use house_tests::wan::{UTILITY_PORT, Wan};
use rand_core::UnwrapErr;
use secure_http::code_points::CONTENT_TYPE_SIGN1;
use secure_http::{Clock, Kind, Role, Statement, UnixTime, answer_challenge};
use secure_link::{HttpClient, Membership};
use testkit::lab::frame::Payload;
use testkit::lab::{Frame, wait_until};
use utility_wire::{List, Message as _, Report, endpoints};

use crate::memory;

const SOON: Duration = Duration::from_secs(60);
/// Homes that report at once.
const HOMES: usize = 16;
/// For so long.
const LOAD: Duration = Duration::from_secs(6);
/// Memory is read so long after the last thing that happened.
const SETTLE: Duration = Duration::from_secs(45);
const APPLIANCES: [u16; 2] = [1, 160];
/// Commands per row.
const COMMANDS: usize = 20;
/// What the paper measured between gateway and utility, kbit/s.
const PAPER_KBPS: f64 = 0.41;
/// As configured by default: a report every 300 s, and a poll held for 55 s.
const REPORT_S: f64 = 300.0;
const POLL_S: f64 = 55.0;

const GATEWAY: &str = "[network]\ninterfaces = ['eth0']\n[utility]\nspread-s = 0\nconsent = 'all'\n";
/// Its work begins and ends at once.
const LAMP: &str = "[wake]\nmethod = 'WOL'\n[operation]\ndriver = 'command'\non-command = ['/usr/bin/touch', '/run/lit']\n\
                    off-command = ['/bin/rm', '-f', '/run/lit']\nstatus-command = ['/usr/bin/test', '-e', '/run/lit']\n";

/// Prints the section.
pub(crate) fn print() -> Result<()> {
    let mut rows = Vec::new();
    House::run(GATEWAY, |house| {
        let mut wan = Wan::new(house, "report-every-s = 10\nrequests-per-minute = 1000000\n")?;
        let home = house.gateway().json(&["utility"])?["home"].as_str().context("no name")?.to_owned();
        let token = wan.add_site(&home, &["--zone", "SE3", "--group", "north"])?;
        house.gateway().hegctl_ok(&["enrol", &token])?;
        memory_and_load(&mut wan)?;
        bytes(house, &wan, &home)?;
        for count in APPLIANCES {
            rows.push((count, commands(house, &wan, &home, count)?));
        }
        Ok(())
    })?;
    println!(
        "### Gateway: from a command on the line to the order to the appliance, ms\n\nFrom the last frame of the utility's answer to the frame that \
         holds the SOAP action, {COMMANDS} commands a row: opened, judged, journalled and on the disk in between. Paper: under 20 ms on a Raspberry Pi.\n\n\
         | appliances | median | longest |\n|---|---|---|"
    );
    for (count, mut times) in rows {
        times.sort_unstable();
        let ms = |at: Option<&Duration>| at.map_or(f64::NAN, |t| t.as_secs_f64() * 1000.0);
        println!("| {count} | {:.2} | {:.2} |", ms(times.get(times.len() / 2)), ms(times.last()));
    }
    println!();
    Ok(())
}

/// User and system time of a process.
fn cpu(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("reading a process' times")?;
    let after = stat.rsplit_once(") ").context("no end of the name")?.1;
    let ticks: u64 = after.split(' ').skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
    // USER_HZ is 100 on every architecture that Linux still runs on.
    Ok(Duration::from_millis(ticks * 10))
}

fn memory_and_load(wan: &mut Wan) -> Result<()> {
    let (utility, kmc) = (wan.utility.pid().context("no utility")?, wan.kmc.pid().context("no KMC")?);
    std::thread::sleep(SETTLE);
    let at_rest = [memory::of(utility)?, memory::of(kmc)?];
    let pages = memory::pages_of(utility)?;
    let mut homes = Vec::new();
    for number in 0..HOMES {
        let uuid = format!("2fac1234-31f8-41b4-a222-0800{number:08x}");
        let token = wan.add_site(&uuid, &["--zone", "SE3", "--group", "north"])?;
        homes.push((uuid, token));
    }
    let host = format!("{}:{UTILITY_PORT}", wan.utility.ipv4());
    let (sent, spent, taken) = wan.utility.host().in_network(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(report(&homes, &host, utility))
    })?;
    let loaded = memory::of(utility)?;
    println!(
        "## Utility and key management\n\n### Reports per second\n\n{HOMES} homes with keys of their own on this machine, each with a connection a report, as gateways do; \
         every report verified, opened, stored with window and evidence in one transaction on the disk, and answered sealed. Only the server's processor time counts.\n\n\
         | reports | per second and core | processor time per report | per second here, clients on the same cores |\n|---|---|---|---|\n\
         | {sent} | {:.0} | {:.2} ms | {:.0} |\n",
        f64::from(sent) / spent.as_secs_f64(),
        spent.as_secs_f64() * 1000.0 / f64::from(sent),
        f64::from(sent) / taken.as_secs_f64(),
    );
    println!("### Memory, kB\n\n| process | RSS | PSS | private dirty |\n|---|---|---|---|");
    for (name, m) in [
        ("heg-utility at rest (SQLite; goal: RSS under 8 MB; paper: 2.98 MB)", at_rest[0]),
        ("heg-utility after that load", loaded),
        ("heg-kmc at rest", at_rest[1]),
    ] {
        println!("| {name} | {} | {} | {} |", m.rss, m.pss, m.private_dirty);
    }
    println!(
        "\nheg-utility's pages at rest (smaps): {} kB code and constants of its program, {} kB of libraries that all programs share, {} kB written.\n",
        pages.program, pages.libraries, pages.written
    );
    Ok(())
}

/// Enrols all homes and lets them report as fast as answers come; reports, processor time of the server, time.
async fn report(homes: &[(String, String)], host: &str, utility: u32) -> Result<(u32, Duration, Duration)> {
    let mut members = Vec::new();
    for (uuid, token) in homes {
        members.push(member(uuid, token).await.with_context(|| format!("enrolling {uuid}"))?);
    }
    let (begun, before) = (Instant::now(), cpu(utility)?);
    let local = tokio::task::LocalSet::new();
    let mut tasks = Vec::new();
    for member in members {
        let host = host.to_owned();
        tasks.push(local.spawn_local(async move { reports(member, &host, begun + LOAD).await }));
    }
    let mut sent = 0;
    local
        .run_until(async {
            for task in tasks {
                sent += task.await??;
            }
            anyhow::Ok(())
        })
        .await?;
    Ok((sent, cpu(utility)? - before, begun.elapsed()))
}

async fn member(uuid: &str, token: &str) -> Result<Membership> {
    let boot = daemon_kit::clock::boottime;
    let mut rng = UnwrapErr(SysRng);
    let now = UnixTime(daemon_kit::clock::wall().as_second().try_into()?);
    let clock = Clock::from_wall(now, boot());
    let mut member = Membership::candidate(&token.parse()?, uuid.parse()?, Role::Gateway, clock, &mut rng);
    for _ in 0..20 {
        if let Some(job) = member.begin(boot(), &mut rng) {
            let done = job.run(boot, UnwrapErr(SysRng)).await;
            member.finish(done, boot(), &mut rng)?;
        }
        if member.peer().is_some() {
            return Ok(member);
        }
    }
    anyhow::bail!("no end of the enrolment")
}

async fn reports(mut member: Membership, host: &str, until: Instant) -> Result<u32> {
    let boot = daemon_kit::clock::boottime;
    let http = HttpClient::new(host);
    let peer: Statement = member.peer().context("no utility")?.statement.clone();
    let mut sent = 0;
    while Instant::now() < until {
        sent += 1;
        let made = member.now(boot()).context("no time")?.0;
        let report = Report {
            batch: u64::from(sent),
            made: utility_wire::UnixTime::new(made),
            complete: true,
            appliances: List::empty(),
            consumption: List::empty(),
            gaps: List::empty(),
            decisions: List::empty(),
        };
        let sealed = member.seal(&peer, (Kind::Report, None), &report.encode(), boot(), &mut UnwrapErr(SysRng))?;
        let mut answer = http.post(endpoints::REPORT, CONTENT_TYPE_SIGN1, sealed.bytes.clone(), None).await?;
        // Under load a cookie is wanted, as of any gateway.
        let cookie = answer.challenge.as_deref().and_then(|challenge| answer_challenge(challenge, &sealed.bytes));
        if let Some(cookie) = cookie {
            answer = http.post(endpoints::REPORT, CONTENT_TYPE_SIGN1, sealed.bytes, Some(&cookie)).await?;
        }
        ensure!(answer.status == 200 && !answer.body.is_empty(), "answered with {}", answer.status);
    }
    Ok(sent)
}

/// What an exchange costs on the line, frames and headers included.
fn bytes(house: &mut House, wan: &Wan, home: &str) -> Result<()> {
    house.add(lamp())?;
    house.wait_state("lamp", "OFF", SOON)?;
    reported(wan, home, "lamp")?;
    let watcher = house.lab().watcher();
    let exchange = |path: &str, begin: &dyn Fn() -> Result<()>| -> Result<u64> {
        let asks = |f: &Frame| &*f.sender == "gateway" && f.says(&format!("POST {path} "));
        let mark = watcher.mark();
        begin()?;
        let asked = watcher.wait_for(path, mark, SOON, asks)?;
        let Payload::Tcp { from, .. } = asked.payload() else { anyhow::bail!("no TCP") };
        // An exchange is a connection: all frames with the gateway's port, until the line has been quiet.
        let mut last = 0;
        wait_until("the end of the exchange", Duration::from_secs(90), || {
            let all = on_port(&watcher.since(mark), from.port());
            let over = all == last && all > 0 && closed(&watcher.since(mark), from.port());
            last = all;
            over.then_some(())
        })?;
        Ok(last)
    };
    let poll = exchange(endpoints::POLL, &|| Ok(()))?;
    // A quiet home has nothing to report: so something changes.
    let gateway = house.gateway();
    let report = exchange(endpoints::REPORT, &|| gateway.hegctl_ok(&["on", "lamp"]).map(drop))?;
    gateway.hegctl_ok(&["off", "lamp"])?;
    let kbps = |bytes: u64, every_s: f64| bytes as f64 * 8.0 / every_s / 1000.0;
    let all = kbps(poll, POLL_S) + kbps(report, REPORT_S);
    println!(
        "### Bytes on the line between gateway and utility\n\nBoth directions, connection, HTTP, TCP, IP and Ethernet included, as configured by default.\n\n\
         | exchange | bytes | every | kbit/s |\n|---|---|---|---|\n\
         | poll, held, and its answer | {poll} | {POLL_S} s | {:.2} |\n| report of an appliance's new state, and its answer | {report} | {REPORT_S} s | {:.2} |\n\
         | both | | | {all:.2} (paper: {PAPER_KBPS}) |\n",
        kbps(poll, POLL_S),
        kbps(report, REPORT_S),
    );
    Ok(())
}

fn of_port(frame: &Frame, port: u16) -> bool {
    matches!(frame.payload(), Payload::Tcp { from, to, .. } if from.port() == port || to.port() == port)
}

fn on_port(frames: &[Frame], port: u16) -> u64 {
    frames.iter().filter(|f| of_port(f, port)).map(|f| f.bytes.len() as u64).sum()
}

/// Whether both ends have said that they send no more.
fn closed(frames: &[Frame], port: u16) -> bool {
    const FIN: u8 = 1;
    let fins =
        frames.iter().filter(|f| of_port(f, port) && f.bytes.get(14 + 20 + 13).is_some_and(|flags| flags & FIN != 0));
    fins.count() >= 2
}

fn lamp() -> ApplianceConfig {
    ApplianceConfig { name: "lamp".into(), number: 2, agent: LAMP.into(), ..ApplianceConfig::default() }
}

fn reported(wan: &Wan, home: &str, name: &str) -> Result<String> {
    wait_until(&format!("the report of {name}"), SOON, || {
        let site = wan.utilityctl_json(&["site", "show", home]).ok()?;
        let found = site["appliances"].as_array()?.iter().find(|a| a["name"] == name)?;
        Some(found["id"].as_str()?.to_owned())
    })
}

/// How long the gateway took over each of some commands to one appliance among `count`.
fn commands(house: &mut House, wan: &Wan, home: &str, count: u16) -> Result<Vec<Duration>> {
    if house.appliance("lamp").is_err() {
        house.add(lamp())?;
    }
    let _others = if count > 1 {
        let lan = house.lan().clone();
        let host = house.lab_mut().host("others")?;
        house.lab().attach(&host, "eth0", &lan, 3)?;
        let program = house.lab().program("house-bench");
        let others = format!("--count={}", count - 1);
        let process = host.start("others", host.command(program).args(["appliances", &others]))?;
        wait_until("all appliances", 2 * SOON, || {
            (house.gateway().appliances().ok()?.iter().filter(|a| a.state == "ON").count() + 1 >= usize::from(count))
                .then_some(())
        })?;
        Some((host, process))
    } else {
        None
    };
    house.wait_state("lamp", "OFF", SOON)?;
    let lamp = reported(wan, home, "lamp")?;
    let mut times = Vec::new();
    for number in 0..COMMANDS {
        let (what, action) = if number % 2 == 0 { ("on", "OperationOn") } else { ("off", "OperationOff") };
        let mark = house.lab().watcher().mark();
        // It waits for what comes of it.
        wan.utilityctl_ok(&["control", what, home, &lamp])?;
        times.push(taken(&house.lab().watcher().since(mark), action)?);
    }
    Ok(times)
}

/// From the last frame with data that the utility had sent before the order went out, to the order.
fn taken(frames: &[Frame], action: &str) -> Result<Duration> {
    let sent = frames
        .iter()
        .position(|f| &*f.sender == "gateway" && f.says(&format!("#{action}")))
        .context("no order on the wire")?;
    let came = frames[..sent]
        .iter()
        .rev()
        .find(|f| &*f.sender == "utility" && !f.data().is_empty())
        .context("no command on the wire")?;
    Ok(frames[sent].at.saturating_sub(came.at))
}
