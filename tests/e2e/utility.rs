//! From the utility to the appliance and back, over a WAN: the unmodified servers, gateway and agents.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use house_tests::house::{House, refused};
use house_tests::machine::Power;
use house_tests::wan::Wan;
use serde_json::Value;
use testkit::lab::{sandbox, wait_until};

use crate::homes::{SOON, hold_block, nas, tv, wait_subscribed};

/// UPnP on the LAN only, and no waiting at start: the lab has one home.
const GATEWAY: &str = "[network]\ninterfaces = ['eth0']\n[discovery]\npoll-every-s = 10\n[store]\nwrite-every-s = 1\n[utility]\nspread-s = 0\n";
/// Reports as often as they may be.
const UTILITY: &str = "report-every-s = 10\n";
const WEEK_S: i64 = 8 * 86_400;
/// A test of a whole utility: several outages, each with its time-outs.
const LONG: Duration = Duration::from_secs(240);

/// A home with a nas and a tv at a utility.
fn with_utility(more: &str, story: impl FnOnce(&mut House, &mut Wan, &str) -> Result<()>) -> Result<()> {
    House::run(&format!("{GATEWAY}{more}"), |house| {
        house.add(nas())?;
        house.add(tv())?;
        let mut wan = Wan::new(house, UTILITY)?;
        house.wait_state("nas", "ON", SOON)?;
        wait_subscribed(house, "nas")?;
        let home = view(house)?["home"].as_str().context("no name of the home")?.to_owned();
        let token = wan.add_site(&home, &["--zone", "SE3", "--group", "north/feeder-7"])?;
        house.gateway().hegctl_ok(&["enrol", &token])?;
        connected(house)?;
        story(house, &mut wan, &home)
    })
}

fn view(house: &House) -> Result<Value> {
    house.gateway().json(&["utility"])
}

/// Waits until the gateway's view of the utility is so.
fn seen<T>(house: &House, what: &str, wanted: impl Fn(&Value) -> Option<T>) -> Result<T> {
    let found = wait_until(what, 2 * SOON, || wanted(&view(house).ok()?));
    found.with_context(|| format!("the gateway says {:?}", view(house)))
}

fn connected(house: &House) -> Result<()> {
    seen(house, "the utility to be heard", |v| {
        let stale = v["stale"].as_array()?.is_empty();
        (v["enrolled"] == true && v["lost"] == false && v["heard"].is_string() && stale).then_some(())
    })
}

/// The people at home let the utility control everything, and it has heard so.
fn consent(house: &House, wan: &Wan, home: &str) -> Result<()> {
    house.gateway().hegctl_ok(&["consent", "yes"])?;
    wait_until("the consent reported", 2 * SOON, || {
        let all = appliances(wan, home)?;
        (all.len() == 2 && all.iter().all(|a| a["consents"] == true)).then_some(())
    })
    .with_context(|| format!("it knows {:?}", appliances(wan, home)))
}

/// Waits until a control has come so far.
fn progress(wan: &Wan, id: u64, wanted: &str) -> Result<Value> {
    let get = || {
        let list = wan.utilityctl_json(&["control", "list"]).ok()?;
        list.as_array()?.iter().find(|c| c["id"] == id).cloned()
    };
    wait_until(&format!("control {id} {wanted}"), SOON, || get().filter(|c| c["progress"] == wanted))
        .with_context(|| format!("it is {:?}", get()))
}

fn control(wan: &Wan, home: &str, what: &str, appliance: &str) -> Result<u64> {
    let answer = wan.utilityctl_json(&["control", what, home, appliance, "--no-wait", "--reason", "a peak"])?;
    answer["id"].as_u64().with_context(|| format!("no number in {answer}"))
}

fn udn(house: &House, name: &str) -> Result<String> {
    Ok(house.gateway().json(&["show", name])?["udn"].as_str().context("no UDN")?.trim_start_matches("uuid:").to_owned())
}

/// What the utility knows of the home's appliances.
fn appliances(wan: &Wan, home: &str) -> Option<Vec<Value>> {
    wan.utilityctl_json(&["site", "show", home]).ok()?["appliances"].as_array().cloned()
}

fn reported(wan: &Wan, home: &str, name: &str, state: &str) -> Result<()> {
    let told = || appliances(wan, home)?.into_iter().find(|a| a["name"] == name && a["state"] == state).map(drop);
    wait_until(&format!("the report that {name} is {state}"), 2 * SOON, told)
        .with_context(|| format!("it knows {:?}", appliances(wan, home)))
}

#[test]
fn prices_limits_and_controls_reach_the_home_and_what_came_of_them_comes_back() {
    sandbox::test_within(LONG, || {
        with_utility("", |house, wan, home| {
            let file = wan.price_file()?;
            let zone = ["--zone", "SE3", "--time-zone", "UTC", "--currency", "SEK", "--per", "MWh"];
            wan.utilityctl_ok(&[&["price", "publish", &file], &zone[..]].concat())?;
            seen(house, "a price", |v| v["price"].as_str().filter(|p| p.contains("SEK")).map(drop))?;

            let made = wan.utilityctl_json(&["limit", "make", "north/feeder-7", "4800", "--duration", "30m"])?;
            seen(house, "the limit", |v| (v["limit"]["watts"] == 4800).then_some(()))?;
            let id = made["id"].as_u64().context("no number of the limit")?.to_string();
            // It begins at once, so that its beginning is told with its receipt.
            let counts = || wan.utilityctl_json(&["limit", "responses", &id]);
            wait_until("the limit begun at home", SOON, || {
                let counts = counts().ok()?;
                counts["counts"].as_array()?.iter().any(|c| c["outcome"] == "started" && c["homes"] == 1).then_some(())
            })
            .with_context(|| format!("responses: {:?}", counts()))?;
            wan.utilityctl_ok(&["limit", "cancel", &id])?;
            seen(house, "no limit", |v| v["limit"].is_null().then_some(()))?;

            reported(wan, home, "nas", "ON")?;
            let nas = udn(house, "nas")?;
            let said = refused(wan.utilityctl(&["control", "standby", home, &nas])?)?;
            ensure!(said.contains("do not let the utility control"), "{said}");
            consent(house, wan, home)?;
            hold_block(house.appliance("nas")?, "backup", "nightly backup is running")?;
            let refused = progress(wan, control(wan, home, "standby", &nas)?, "refused")?;
            ensure!(refused["why"].as_str().is_some_and(|why| why.contains("nightly backup is running")), "{refused}");
            ensure!(refused["code"].as_str().is_some_and(|code| code.starts_with('8')), "{refused}");
            house.appliance("nas")?.wish(house_tests::hardware::Wish::LetGo { key: "backup".into() })?;
            progress(wan, control(wan, home, "standby", &nas)?, "done")?;
            house.appliance("nas")?.wait_power(Power::Asleep, SOON)?;
            reported(wan, home, "nas", "Standby")?;
            progress(wan, control(wan, home, "on", &nas)?, "done")?;
            house.appliance("nas")?.wait_power(Power::Running, SOON)?;
            let journal = house.gateway().hegctl_ok(&["journal"])?;
            ensure!(journal.contains("utility"), "the journal does not say who wanted it:\n{journal}");
            Ok(())
        })
    });
}

#[test]
fn a_week_passes_at_once_and_keys_roll_over_while_everything_runs() {
    sandbox::test_within(LONG, || {
        with_utility("", |house, wan, home| {
            consent(house, wan, home)?;
            let nas = udn(house, "nas")?;
            let before = view(house)?["sealing-key-since"].clone();
            let utility_before = wan.utilityctl_json(&["keys", "show"])?;
            for server in [&wan.kmc, &wan.utility] {
                server.clock().set_off_by(WEEK_S)?;
            }
            // Something to report: the utility says that it is stale, the centre what time it is, and the keys are a week old.
            house.gateway().hegctl_ok(&["on", "tv"])?;
            seen(house, "new keys of the gateway", |v| {
                (v["sealing-key-since"].is_string() && v["sealing-key-since"] != before).then_some(())
            })?;
            wait_until("new keys of the utility", 2 * SOON, || {
                let now = wan.utilityctl_json(&["keys", "show"]).ok()?;
                (now["sealing-key"] != utility_before["sealing-key"]).then_some(())
            })?;
            connected(house)?;
            progress(wan, control(wan, home, "standby", &nas)?, "done")?;
            reported(wan, home, "nas", "Standby")
        })
    });
}

#[test]
fn a_utility_whose_clock_is_wrong_is_not_believed_until_it_is_right_again() {
    sandbox::test_within(LONG, || {
        with_utility("", |house, wan, home| {
            consent(house, wan, home)?;
            let nas = udn(house, "nas")?;
            wan.utility.clock().set_off_by(3600)?;
            house.gateway().hegctl_ok(&["on", "tv"])?;
            seen(house, "a failure", |v| v["last-failure"].is_string().then_some(()))?;
            wan.utility.clock().set_off_by(0)?;
            connected(house)?;
            reported(wan, home, "tv", "ON")?;
            progress(wan, control(wan, home, "standby", &nas)?, "done").map(drop)
        })
    });
}

#[test]
fn the_line_the_utility_and_the_key_centre_may_fail_and_nothing_is_lost() {
    sandbox::test_within(LONG, || {
        with_utility("", |house, wan, home| {
            consent(house, wan, home)?;
            let nas = udn(house, "nas")?;
            reported(wan, home, "nas", "ON")?;
            // The key centre is away: all goes on.
            wan.kmc.kill()?;
            progress(wan, control(wan, home, "standby", &nas)?, "done")?;
            reported(wan, home, "nas", "Standby")?;
            // The utility dies with a power cut, and the home's news wait.
            wan.utility.kill()?;
            house.gateway().hegctl_ok(&["on", "nas"])?;
            house.wait_state("nas", "ON", SOON)?;
            seen(house, "waiting reports", |v| (v["unacknowledged"].as_u64()? > 0).then_some(()))?;
            wan.utility.start()?;
            wan.wait_utility()?;
            reported(wan, home, "nas", "ON")?;
            // The cable is pulled while an order is made, and the gateway dies meanwhile.
            wan.line().pull()?;
            let order = control(wan, home, "standby", &nas)?;
            house.gateway_mut().kill()?;
            wan.kmc.start()?;
            wan.kmc.wait_up(&["status"])?;
            house.gateway_mut().start()?;
            house.wait_state("nas", "ON", SOON)?;
            ensure!(view(house)?["enrolled"] == true, "the membership is lost");
            wan.line().plug()?;
            progress(wan, order, "done")?;
            house.appliance("nas")?.wait_power(Power::Asleep, SOON)?;
            reported(wan, home, "nas", "Standby")
        })
    });
}

#[test]
fn a_gateway_that_the_utility_can_call_needs_no_poll() {
    sandbox::test_within(LONG, || {
        let called = "poll = false\nlisten = '0.0.0.0:8470'\nreachable = '10.88.1.1:8470'\n";
        with_utility(called, |house, wan, home| {
            consent(house, wan, home)?;
            let nas = udn(house, "nas")?;
            progress(wan, control(wan, home, "standby", &nas)?, "done")?;
            reported(wan, home, "nas", "Standby")
        })
    });
}

#[test]
fn a_revoked_gateway_is_heard_no_more_and_works_on_at_home() {
    sandbox::test_within(LONG, || {
        with_utility("", |house, wan, home| {
            wan.utilityctl_ok(&["keys", "revoke", home, "--reason", "stolen"])?;
            house.gateway().hegctl_ok(&["standby", "nas"])?;
            house.wait_state("nas", "Standby", SOON)?;
            seen(house, "a failure", |v| v["last-failure"].is_string().then_some(()))?;
            ensure!(
                appliances(wan, home).context("no site")?.iter().all(|a| a["state"] != "Standby"),
                "a revoked gateway's report was taken"
            );
            // Its people get another token.
            let token = wan.utilityctl_json(&["site", "token", home])?;
            house.gateway().hegctl_ok(&["enrol", "--replace", token["token"].as_str().context("no token")?])?;
            reported(wan, home, "nas", "Standby")
        })
    });
}
