//! The homes the tests live in: configurations and what several tests do with them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use house_tests::hardware::{Note, Wish};
use house_tests::house::{ApplianceConfig, House};
use house_tests::machine::{Event, Machine};
use serde_json::Value;
use testkit::lab::{Found, wait_until};

/// Long enough for anything that takes no configured time, on a machine busy with a build.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A gateway that looks after silent appliances as often as it may.
pub(crate) const GATEWAY: &str = "[discovery]\npoll-every-s = 10\n[store]\nwrite-every-s = 1\n";

/// The unit of [`tv`].
pub(crate) const PLAYING: &str = "playing.service";

/// An appliance whose work is a systemd unit.
pub(crate) fn tv() -> ApplianceConfig {
    ApplianceConfig {
        name: "tv".into(),
        number: 2,
        agent: format!("[wake]\nmethod = 'WOL'\n[operation]\ndriver = 'unit'\nunit = '{PLAYING}'\n"),
        units: vec![PLAYING.into()],
        wake_password: None,
    }
}

/// An appliance whose work is started and stopped by commands.
pub(crate) fn washer() -> ApplianceConfig {
    let agent = r#"
[wake]
method = "WOL"
[operation]
driver = "command"
on-command = ["/bin/sh", "-c", "setsid sleep 86400 </dev/null >/dev/null 2>&1 & echo $! > /run/drum.pid"]
off-command = ["/bin/sh", "-c", "kill $(cat /run/drum.pid); rm /run/drum.pid"]
status-command = ["/bin/sh", "-c", "kill -0 $(cat /run/drum.pid) 2>/dev/null || exit 1"]
look-every-s = 1
"#;
    ApplianceConfig { name: "washer".into(), number: 3, agent: agent.into(), ..ApplianceConfig::default() }
}

/// An appliance that is its own work: off is powered off.
pub(crate) fn nas() -> ApplianceConfig {
    let agent = "[wake]\nmethod = 'WOL'\n[operation]\ndriver = 'machine'\n";
    ApplianceConfig { name: "nas".into(), number: 4, agent: agent.into(), ..ApplianceConfig::default() }
}

/// A home of one appliance that the gateway has found and follows.
pub(crate) fn with_one(
    appliance: ApplianceConfig,
    state: &str,
    story: impl FnOnce(&mut House) -> Result<()>,
) -> Result<()> {
    House::run(GATEWAY, |house| {
        let name = appliance.name.clone();
        house.add(appliance)?;
        house.wait_state(&name, state, SOON)?;
        wait_subscribed(house, &name)?;
        story(house)
    })
}

/// `psm-agent request ...` on the appliance, as soon as it has found its gateway; the RegID.
pub(crate) fn ask(house: &House, name: &str, request: &[&str]) -> Result<String> {
    let text =
        wait_until("a registration", SOON, || house.agent(name, &[&["request", "--json"], request].concat()).ok())?;
    reg_id(&serde_json::from_str(&text).with_context(|| format!("reading {text:?}"))?)
}

/// The RegID in an answer of `psm-agent` or `hegctl`.
pub(crate) fn reg_id(answer: &Value) -> Result<String> {
    let id = answer.get("reg-id").and_then(Value::as_u64).with_context(|| format!("no RegID in {answer}"))?;
    Ok(id.to_string())
}

/// Waits until the appliance's events come to the gateway.
pub(crate) fn wait_subscribed(house: &House, name: &str) -> Result<()> {
    wait_until(&format!("a subscription to {name}"), SOON, || {
        let answer = house.gateway().json(&["show", name]).ok()?;
        answer.get("subscribed")?.as_bool()?.then_some(())
    })
}

/// A program on the machine forbids sleep and shutdown.
pub(crate) fn hold_block(machine: &Machine, who: &str, why: &str) -> Result<()> {
    let (what, mode) = ("sleep:shutdown".into(), "block".into());
    machine.wish(Wish::Hold { key: who.into(), what, who: who.into(), why: why.into(), mode })
}

/// The process with `text` in its command line.
pub(crate) fn process_with(machine: &Machine, text: &str) -> Option<Found> {
    machine.host().processes().into_iter().find(|p| p.command_line.contains(text))
}

/// The time of the first event after `skip` that `wanted` takes.
pub(crate) fn event_at(machine: &Machine, skip: usize, wanted: impl Fn(&Event) -> bool) -> Result<Duration> {
    machine.wait_event("an event", skip, SOON, wanted).map(|timed| timed.at)
}

/// The agent's delay lock was released.
pub(crate) fn is_release(event: &Event) -> bool {
    matches!(event, Event::Logind(Note::LockReleased { mode, .. }) if mode == "delay")
}

/// Checks an order of moments; the message names them.
pub(crate) fn ensure_order(moments: &[(&str, Duration)]) -> Result<()> {
    for pair in moments.windows(2) {
        ensure!(pair[0].1 <= pair[1].1, "{} came after {}: {moments:?}", pair[0].0, pair[1].0);
    }
    Ok(())
}
