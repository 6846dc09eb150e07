//! `make demo`: a home of a gateway and three appliances, and its utility, on this machine, each a host of its own with the programs as they
//! are installed. The run is narrated; it ends with the journal, and with a non-zero exit code if any step did not
//! happen. `KEEP=1` keeps the home up for trying `hegctl`, until Ctrl-C; `demo enter HOST [COMMAND...]` goes in meanwhile.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use house_tests::attacker::recorded;
use house_tests::hardware::{Note, Wish};
use house_tests::house::{ApplianceConfig, House, clock_in, refused};
use house_tests::machine::{Event, Power};
use house_tests::wan::Wan;
use testkit::lab::lan::mac_text;
use testkit::lab::sandbox::{self, Sandbox};
use testkit::lab::{Frame, visit, wait_until};
use utility_wire::endpoints;

/// The whole run, deadlines of every step included.
const DEMO_S_MAX: Duration = Duration::from_secs(600);
/// How long KEEP=1 may keep the home.
const KEPT_S_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Between two steps, for a person who reads along at a terminal.
const READING_TIME: Duration = Duration::from_secs(2);
/// Deadline of one thing that takes no configured time.
const SOON: Duration = Duration::from_secs(20);
/// Three missed rounds of the shortest poll, with the waits for an answer.
const LOST_WITHIN: Duration = Duration::from_secs(90);

const GATEWAY: &str = "[network]\ninterfaces = ['eth0']\n[discovery]\npoll-every-s = 10\n[store]\nwrite-every-s = 1\n[utility]\nspread-s = 0\n";

const TV: &str = r#"
[wake]
method = "WOL"
[operation]
driver = "unit"
unit = "playing.service"
"#;

const WASHER: &str = r#"
[wake]
method = "WOL"
[operation]
driver = "command"
on-command = ["/bin/sh", "-c", "setsid sleep 86400 </dev/null >/dev/null 2>&1 & echo $! > /run/drum.pid"]
off-command = ["/bin/sh", "-c", "kill $(cat /run/drum.pid); rm /run/drum.pid"]
status-command = ["/bin/sh", "-c", "kill -0 $(cat /run/drum.pid) 2>/dev/null || exit 1"]
look-every-s = 1
"#;

/// A board without a clock chip, as many are: only the gateway can wake it on time.
const NAS: &str = r#"
[wake]
method = "WOL"
rtc = "none"
[operation]
driver = "machine"
"#;

fn main() -> ExitCode {
    let keep = std::env::var_os("KEEP").is_some_and(|v| !v.is_empty() && v != "0");
    let mut arguments = std::env::args_os().skip(1);
    let done = match arguments.next() {
        Some(word) if word == "enter" => enter(arguments),
        Some(word) => Err(anyhow!("expected nothing, or enter HOST [COMMAND...], not {}", word.display())),
        None if sandbox::is_inside() => inside(keep),
        None => outside(keep),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Enters the sandbox: this program again, as root over namespaces of its own.
fn outside(keep: bool) -> Result<ExitCode> {
    let sandbox = Sandbox::find().context("the demo needs namespaces; try it as root")?;
    let rights = if sandbox.is_as_root() { "root" } else { "an ordinary user, in a user namespace" };
    println!("A home on this machine, as {rights}: network namespaces as hosts, nothing outside them is touched.");
    let status =
        sandbox.this_program(if keep { KEPT_S_MAX } else { DEMO_S_MAX })?.status().context("entering the sandbox")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn inside(keep: bool) -> Result<ExitCode> {
    let mut story = Story { began: Instant::now(), steps: 0, step_began: Instant::now() };
    let mut house = House::new(GATEWAY)?;
    let told = run(&mut story, &mut house);
    println!("\nhegctl journal");
    match house.gateway().hegctl_ok(&["journal"]) {
        Ok(journal) => println!("{}", journal.trim_end()),
        Err(error) => println!("  not to be had: {error:#}"),
    }
    match &told {
        Ok(_) => println!("\nAll {} steps happened, in {}.", story.steps, story.elapsed()),
        Err(error) => {
            println!("\nStep {} did not happen: {error:#}\n", story.steps);
            eprintln!("{}", house.lab().logs());
        }
    }
    if keep {
        keep_up();
    }
    Ok(if told.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// All steps; the servers live as long as what it gives.
fn run(story: &mut Story, house: &mut House) -> Result<Wan> {
    story.step("Three appliances are plugged in; gateway and appliances find each other");
    for (name, number, agent) in [("tv", 2, TV), ("washer", 3, WASHER), ("nas", 4, NAS)] {
        house.add(ApplianceConfig {
            name: name.into(),
            number,
            agent: agent.into(),
            units: vec!["playing.service".into()],
            wake_password: None,
        })?;
        story.tell(format_args!("{name} is booted: {}", house.appliance(name)?.links()[0].ipv4()));
    }
    for (name, state) in [("tv", "OFF"), ("washer", "OFF"), ("nas", "ON")] {
        house.wait_state(name, state, SOON)?;
        wait_until(&format!("events of {name}"), SOON, || {
            house.gateway().json(&["show", name]).ok()?.get("subscribed")?.as_bool()?.then_some(())
        })?;
        story.tell(format_args!("gateway: {name} is {state}, and tells its changes"));
        wait_until(&format!("{name} to find the gateway"), SOON, || {
            let status: serde_json::Value =
                serde_json::from_str(&house.agent(name, &["status", "--json"]).ok()?).ok()?;
            status
                .get("gateways")?
                .as_array()?
                .iter()
                .any(|g| g.get("location").is_some_and(|l| !l.is_null()))
                .then_some(())
        })?;
        story.tell(format_args!("{name}: has found the gateway"));
    }
    print!("{}", indented(&house.gateway().hegctl_ok(&["appliances"])?));

    commands(story, house)?;
    standby(story, house)?;
    refusal(story, house)?;
    wake(story, house)?;
    wake_up_time(story, house)?;
    withdrawal(story, house)?;
    let wan = enrolment(story, house)?;
    signals(story, house, &wan)?;
    direct_control(story, house, &wan)?;
    attack(story, house, &wan)?;

    story.step("An appliance vanishes: the nas' cable is pulled");
    house.appliance("nas")?.links()[0].pull()?;
    story.tell(
        "cable pulled; the gateway asks a silent appliance every 10 s, and believes in silence after three rounds",
    );
    house.wait_state("nas", "Unknown", LOST_WITHIN)?;
    story.tell("gateway: nas is Unknown, which is not OFF");
    house.appliance("nas")?.links()[0].plug()?;
    house.wait_state("nas", "ON", SOON)?;
    story.tell("plugged in again: nas is ON");
    print!("{}", indented(&house.gateway().hegctl_ok(&["appliances"])?));
    Ok(wan)
}

fn commands(story: &mut Story, house: &House) -> Result<()> {
    story.step("OperationOn, through a systemd unit on the tv and a command on the washer");
    for (name, work) in [("tv", "sleep infinity"), ("washer", "sleep 86400")] {
        house.gateway().hegctl_ok(&["on", name])?;
        house.wait_state(name, "ON", SOON)?;
        let found = house.appliance(name)?.host().processes().into_iter().find(|p| p.command_line == work);
        let found = found.with_context(|| format!("the work of {name} does not run"))?;
        story.tell(format_args!("{name} says ON; its work is process {} on its host", found.pid));
    }
    Ok(())
}

fn standby(story: &mut Story, house: &House) -> Result<()> {
    story.step("GoToStandby: the event reaches the gateway before the tv freezes");
    let tv = house.appliance("tv")?;
    let (mark, skip) = (house.lab().watcher().mark(), tv.events().len());
    let asked = house_tests::machine::now();
    house.gateway().hegctl_ok(&["standby", "tv"])?;
    tv.wait_power(Power::Asleep, SOON)?;
    house.wait_state("tv", "Standby", SOON)?;

    let since = |at: Duration| format!("+{:.1} ms", at.saturating_sub(asked).as_secs_f64() * 1000.0);
    let at = |what: &str, wanted: fn(&Event) -> bool| tv.wait_event(what, skip, SOON, wanted).map(|timed| timed.at);
    let prepare = at("PrepareForSleep", |e| matches!(e, Event::Logind(Note::PrepareForSleep { start: true })))?;
    let event = house.wait_said("tv", "<PowerState>Standby</PowerState>", mark, SOON)?;
    let answer = |f: &Frame| &*f.sender == "gateway" && f.at >= event.at && f.says("HTTP/1.1 200 OK");
    let answer = house.lab().watcher().wait_for("the gateway's answer", mark, SOON, answer)?;
    let released = at("the lock's release", |e| matches!(e, Event::Logind(Note::LockReleased { .. })))?;
    let frozen = at("the freeze", |e| *e == Event::Frozen)?;
    let order = [
        ("logind: PrepareForSleep", prepare),
        ("on the wire: NOTIFY PowerState=Standby", event.at),
        ("on the wire: the gateway's 200 OK", answer.at),
        ("psm-agent releases its delay lock", released),
        ("every process of the tv is stopped", frozen),
    ];
    for (what, at) in order {
        story.tell(format_args!("{:>11}  {what}", since(at)));
    }
    ensure!(order.windows(2).all(|pair| pair[0].1 <= pair[1].1), "not in this order");
    Ok(())
}

fn refusal(story: &mut Story, house: &House) -> Result<()> {
    story.step("A refusal: the nas is busy with a backup, which holds a block inhibitor");
    let nas = house.appliance("nas")?;
    nas.wish(Wish::Hold {
        key: "backup".into(),
        what: "sleep:shutdown".into(),
        who: "backup".into(),
        why: "nightly backup is running".into(),
        mode: "block".into(),
    })?;
    let said = refused(house.gateway().hegctl(&["standby", "nas"])?)?;
    story.tell(format_args!("hegctl standby nas: {}", said.trim()));
    ensure!(said.contains("nightly backup is running"), "the reason is missing");
    ensure!(nas.power() == Power::Running, "the nas went to sleep all the same");
    nas.wish(Wish::LetGo { key: "backup".into() })
}

fn wake(story: &mut Story, house: &House) -> Result<()> {
    story.step("A magic packet wakes the tv");
    let tv = house.appliance("tv")?;
    let (mark, mac) = (house.lab().watcher().mark(), tv.links()[0].mac());
    house.gateway().hegctl_ok(&["wake", "tv"])?;
    for (kind, raw) in [("Ethernet frame 0x0842", true), ("UDP broadcast to port 9", false)] {
        let wanted = |f: &Frame| f.magic_packet().is_some_and(|m| m.target == mac && m.raw == raw);
        let packet = house.lab().watcher().wait_for(kind, mark, SOON, wanted)?;
        story.tell(format_args!("on the wire from {}: {kind} for {}", packet.sender, mac_text(&mac)));
    }
    tv.wait_power(Power::Running, SOON)?;
    house.wait_state("tv", "ON", SOON)?;
    story.tell("tv says ON: its work went on where it was");
    Ok(())
}

fn wake_up_time(story: &mut Story, house: &House) -> Result<()> {
    story.step("WakeUpTime: the nas asks to be woken, goes to standby, and is woken on time");
    let time = clock_in(6)?;
    house.agent("nas", &["request", "wake-up-time", &time])?;
    story.tell(format_args!("nas: psm-agent request wake-up-time {time}"));
    house.gateway().hegctl_ok(&["standby", "nas"])?;
    let nas = house.appliance("nas")?;
    nas.wait_power(Power::Asleep, SOON)?;
    let mark = house.lab().watcher().mark();
    story.tell("nas is asleep");
    let mac = nas.links()[0].mac();
    let wanted = |f: &Frame| f.magic_packet().is_some_and(|m| m.target == mac);
    house.lab().watcher().wait_for("the magic packet", mark, SOON, wanted)?;
    story.tell(format_args!("on the wire: magic packet at {}, asked for {time}", clock_in(0)?));
    house.wait_state("nas", "ON", SOON)?;
    story.tell("nas says ON");
    Ok(())
}

fn withdrawal(story: &mut Story, house: &House) -> Result<()> {
    story.step("NoStandbyPeriod: the washer is not to be disturbed, until it withdraws that");
    let (start, stop) = (clock_in(0)?, clock_in(3600)?);
    let answer = house.agent("washer", &["request", "--json", "no-standby-period", &start, &stop])?;
    let answer: serde_json::Value = serde_json::from_str(&answer).with_context(|| format!("reading {answer:?}"))?;
    let Some(id) = answer.get("reg-id").and_then(serde_json::Value::as_u64) else { bail!("no RegID in {answer}") };
    story.tell(format_args!("washer: no standby from {start} to {stop}, RegID {id}"));
    let said = refused(house.gateway().hegctl(&["standby", "washer"])?)?;
    story.tell(format_args!("hegctl standby washer: {}", said.trim()));
    house.agent("washer", &["request", "withdraw", &id.to_string()])?;
    story.tell(format_args!("washer withdraws RegID {id}"));
    house.gateway().hegctl_ok(&["standby", "washer"])?;
    house.appliance("washer")?.wait_power(Power::Asleep, SOON)?;
    house.wait_state("washer", "Standby", SOON)?;
    story.tell("washer is in Standby");
    Ok(())
}

/// The utility's servers come up, and the home becomes one of theirs.
fn enrolment(story: &mut Story, house: &mut House) -> Result<Wan> {
    story.step("A utility and its key management centre, across a WAN: the home enrols with a token from a letter");
    let wan = Wan::new(house, "report-every-s = 10\n")?;
    story.tell(format_args!(
        "heg-kmc is at {}, heg-utility at {}; it is enrolled there itself",
        wan.kmc.ipv4(),
        wan.utility.ipv4()
    ));
    let home = home(house)?;
    let token = wan.add_site(&home, &["--zone", "SE3", "--group", "north/feeder-7", "--name", "12 Long Lane"])?;
    story.tell(format_args!("utilityctl site add {home}: {}...", token.chars().take(30).collect::<String>()));
    house.gateway().hegctl_ok(&["enrol", &token])?;
    wait_until("the utility heard", SOON, || {
        let v = house.gateway().json(&["utility"]).ok()?;
        (v.get("heard")?.is_string() && v.get("stale")?.as_array()?.is_empty()).then_some(())
    })?;
    story.tell("hegctl enrol TOKEN; keys, time, policy and the utility's address came by themselves");
    print!("{}", indented(&house.gateway().hegctl_ok(&["utility"])?));
    Ok(wan)
}

fn home(house: &House) -> Result<String> {
    let v = house.gateway().json(&["utility"])?;
    Ok(v.get("home").and_then(serde_json::Value::as_str).context("no name of the home")?.to_owned())
}

fn signals(story: &mut Story, house: &House, wan: &Wan) -> Result<()> {
    story.step("Day-ahead prices and a limit reach the home");
    let file = wan.price_file()?;
    let zone = ["--zone", "SE3", "--time-zone", "UTC", "--currency", "SEK", "--per", "MWh"];
    wan.utilityctl_ok(&[&["price", "publish", &file], &zone[..]].concat())?;
    let seen = |what: &str, wanted: &dyn Fn(&serde_json::Value) -> Option<String>| {
        wait_until(what, SOON, || wanted(&house.gateway().json(&["utility"]).ok()?))
    };
    let price = seen("a price", &|v| Some(v.get("price")?.as_str()?.to_owned()))?;
    story.tell(format_args!("utilityctl price publish: the home pays {price} now"));
    wan.utilityctl_ok(&["limit", "make", "north/feeder-7", "4800", "--duration", "30m", "--reason", "transformer"])?;
    let watts = seen("the limit", &|v| Some(v.get("limit")?.get("watts")?.to_string()))?;
    story.tell(format_args!("utilityctl limit make north/feeder-7: the home may draw {watts} W"));
    Ok(())
}

fn direct_control(story: &mut Story, house: &House, wan: &Wan) -> Result<()> {
    story.step("Direct control: the home consents, the appliance obeys or refuses, and the utility hears which");
    let home = home(house)?;
    let id = |name: &str| {
        wait_until(&format!("the report of {name}"), SOON, || {
            let site = wan.utilityctl_json(&["site", "show", &home]).ok()?;
            let found =
                site.get("appliances")?.as_array()?.iter().find(|a| a.get("name").is_some_and(|n| n == name))?.clone();
            Some((found.get("id")?.as_str()?.to_owned(), found.get("consents")?.as_bool()?))
        })
    };
    let (nas, _) = id("nas")?;
    let said = refused(wan.utilityctl(&["control", "standby", &home, &nas])?)?;
    story.tell(format_args!("utilityctl control standby nas: {}", said.trim()));
    house.gateway().hegctl_ok(&["consent", "nas", "yes"])?;
    wait_until("the consent reported", SOON, || id("nas").ok().filter(|(_, consents)| *consents))?;
    story.tell("hegctl consent nas yes");
    let hold = |key: &str| Wish::Hold {
        key: key.into(),
        what: "sleep:shutdown".into(),
        who: key.into(),
        why: "nightly backup is running".into(),
        mode: "block".into(),
    };
    house.appliance("nas")?.wish(hold("backup"))?;
    let said = refused(wan.utilityctl(&["control", "standby", &home, &nas])?)?;
    story.tell(format_args!("busy: {}", said.trim()));
    ensure!(said.contains("nightly backup is running"), "the appliance's reason did not reach the utility");
    house.appliance("nas")?.wish(Wish::LetGo { key: "backup".into() })?;
    wan.utilityctl_ok(&["control", "standby", &home, &nas])?;
    house.appliance("nas")?.wait_power(Power::Asleep, SOON)?;
    story.tell("utilityctl control standby nas: done, the nas is asleep");
    wan.utilityctl_ok(&["control", "on", &home, &nas])?;
    house.wait_state("nas", "ON", SOON)?;
    story.tell("utilityctl control on nas: done, woken by the gateway's magic packet");
    Ok(())
}

fn attack(story: &mut Story, house: &mut House, wan: &Wan) -> Result<()> {
    story.step("An attacker on the WAN hears everything, and sends what it likes");
    let attacker = wan.attacker(house)?;
    let (watcher, nas) = (house.lab().watcher(), home(house)?);
    let mark = watcher.mark();
    house.gateway().hegctl_ok(&["standby", "nas"])?;
    house.wait_state("nas", "Standby", SOON)?;
    let report = wait_until("a report on the line", SOON, || {
        recorded(&watcher.since(mark), "gateway", endpoints::REPORT).into_iter().next()
    })?;
    let clear = |text: &str| report.body.windows(text.len()).any(|w| w == text.as_bytes());
    ensure!(!clear("nas") && !clear("Standby"), "the report can be read on the way");
    story.tell(format_args!(
        "it hears the report that the nas sleeps: {} bytes, neither name nor state in them",
        report.body.len()
    ));
    let answer = |what: &str, body: &[u8]| -> Result<()> {
        let (status, answer) = attacker.post(endpoints::REPORT, body)?;
        let opaque = status == 401 || (status == 200 && !answer.windows(4).any(|w| w == b"nas "));
        ensure!(status != 200 || opaque, "{what} was answered");
        story.tell(format_args!(
            "{what}: status {status}{}",
            if status == 200 { ", a sealed refusal that it can't read" } else { "" }
        ));
        Ok(())
    };
    let batches = |wan: &Wan| wan.utilityctl_json(&["status"]).map(|v| v.get("sites").cloned());
    let before = batches(wan)?;
    answer("sent again", &report.body)?;
    let mut changed = report.body.clone();
    if let Some(byte) = changed.last_mut() {
        *byte ^= 1;
    }
    answer("one bit changed", &changed)?;
    ensure!(before == batches(wan)?, "the utility knows another home");
    let forged = |number: u32| {
        let mut body = report.body.clone();
        let end = body.len() - 4;
        body[end..].copy_from_slice(&number.to_be_bytes());
        body
    };
    let (flood, told) = std::thread::scope(|scope| {
        let flood = scope.spawn(|| attacker.flood(endpoints::REPORT, &forged, Duration::from_secs(4)));
        house.gateway().hegctl_ok(&["consent", "tv", "yes"])?;
        let told = wait_until("the home's word through the flood", SOON, || {
            let site = wan.utilityctl_json(&["site", "show", &nas]).ok()?;
            site.get("appliances")?
                .as_array()?
                .iter()
                .any(|a| a.get("name").is_some_and(|n| n == "tv") && a.get("consents").is_some_and(|c| c == true))
                .then(Instant::now)
        })?;
        let flood = flood.join().map_err(|_| anyhow!("the flood panicked"))??;
        anyhow::Ok((flood, told))
    })?;
    story.tell(format_args!("{} forged reports in 4 s, {} of them turned away unread; the home's own word got through {:.1} s after they began", flood.0, flood.1, 4.0_f64.min(told.elapsed().as_secs_f64())));
    house.gateway().hegctl_ok(&["wake", "nas"])?;
    house.wait_state("nas", "ON", SOON).map(drop)
}

/// Prints how to look around, and waits for Ctrl-C, which ends the sandbox.
fn keep_up() {
    let demo = std::env::current_exe().unwrap_or_else(|_| "demo".into());
    println!("\nThe home stays up until Ctrl-C. In another terminal:");
    for command in [
        "gateway hegctl status",
        "gateway hegctl off tv",
        "tv psm-agent status",
        "utility utilityctl sites",
        "gateway     # a shell",
    ] {
        println!("  {} enter {command}", demo.display());
    }
    loop {
        std::thread::park();
    }
}

/// Runs a command on a host of a home that `KEEP=1` keeps up.
fn enter(mut arguments: impl Iterator<Item = OsString>) -> Result<ExitCode> {
    let host = arguments.next().context("expected enter HOST [COMMAND...]")?;
    let command: Vec<OsString> = arguments.collect();
    let status = visit::command_on(&host.to_string_lossy(), &command)?.status().context("entering the host")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// The narrator.
struct Story {
    began: Instant,
    step_began: Instant,
    steps: u32,
}

impl Story {
    fn step(&mut self, title: &str) {
        if self.steps > 0 && std::io::stdout().is_terminal() {
            std::thread::sleep(READING_TIME);
        }
        self.steps += 1;
        self.step_began = Instant::now();
        println!("\n[{}] {}. {title}", self.elapsed(), self.steps);
    }

    fn tell(&self, what: impl Display) {
        println!("  {:>5.1} s  {what}", self.step_began.elapsed().as_secs_f64());
    }

    fn elapsed(&self) -> String {
        format!("{:.1} s", self.began.elapsed().as_secs_f64())
    }
}

fn indented(text: &str) -> String {
    text.trim_end().lines().map(|line| format!("          {line}\n")).collect()
}
