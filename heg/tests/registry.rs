//! The registry: names, counts, and what is believed of an appliance whatever happens, against the rules told once more.
#![expect(clippy::unwrap_used, reason = "helpers of tests, where a panic is a failed test")]

use core::time::Duration;
use std::collections::BTreeMap;

use energy_model::PowerState;
use heg::limits::CONTACT_MISSES_MAX;
use heg::now::Now;
use heg::registry::{Appliance, Found, Offers, Question, Registry, ResolveError, StateCount};
use jiff::Timestamp;
use proptest::prelude::*;
use upnp::ids::Udn;
use upnp::time::BootTime;

const POLL: Duration = Duration::from_secs(300);

fn udn(n: u8) -> Udn {
    Udn::parse(&format!("uuid:{n:08x}-aaaa")).unwrap()
}

fn now(seconds: u64) -> Now {
    Now {
        boot: BootTime::from_duration(Duration::from_secs(seconds)),
        wall: Timestamp::from_second(1_700_000_000 + seconds as i64).unwrap(),
    }
}

fn found(n: u8, name: &str) -> Found {
    Found {
        udn: udn(n),
        name: name.into(),
        maker: "Maker".into(),
        model: "Model".into(),
        address: [10, 0, 0, n].into(),
        offers: Offers { power_management: true, appliance_info: false },
    }
}

#[test]
fn an_appliance_is_named_by_udn_whole_name_or_the_only_udn_that_begins_so() {
    let mut registry = Registry::new(POLL);
    for (n, name) in [(1, "TV"), (2, "Freezer"), (0x12, "freezer"), (0x13, "00000001-aaaa")] {
        registry.found(found(n, name), now(0), |_| true);
    }
    let resolve = |text: &str| registry.resolve(text, Appliance::name).map(|a| a.udn().clone());
    assert_eq!(resolve("tv"), Ok(udn(1)));
    assert_eq!(resolve("uuid:00000001-AAAA"), Ok(udn(1)), "a UDN goes before a name");
    assert_eq!(resolve("00000002"), Ok(udn(2)));
    assert_eq!(resolve("kettle"), Err(ResolveError::Unknown("kettle".into())));
    assert_eq!(resolve(""), Err(ResolveError::Unknown("".into())));
    let error = resolve("FREEZER").unwrap_err().to_string();
    assert_eq!(error, "\"FREEZER\" could be any of: Freezer (00000002-aaaa), freezer (00000012-aaaa)");
    assert!(matches!(resolve("0000001"), Err(ResolveError::Ambiguous(_, v)) if v.len() == 2));
}

#[test]
fn a_minute_of_silence_does_not_end_a_subscription_and_a_goodbye_does() {
    let mut registry = Registry::new(POLL);
    registry.found(found(1, "TV"), now(0), |_| true);
    registry.subscribed(&udn(1), true);
    let mut clock = 1;
    pass(&mut registry, &mut clock, None);
    let silent = registry.get(&udn(1)).unwrap();
    assert!(!silent.is_reachable() && silent.is_subscribed(), "only the control point knows that it ended");
    registry.gone(&udn(1), now(clock));
    assert!(!registry.get(&udn(1)).unwrap().is_subscribed());
}

#[test]
fn an_appliance_that_is_off_and_fell_silent_without_a_goodbye_is_asked_again() {
    let mut registry = Registry::new(POLL);
    registry.found(found(1, "TV"), now(0), |_| true);
    registry.state_told(&udn(1), PowerState::Off, now(1));
    let mut clock = 1;
    pass(&mut registry, &mut clock, None);
    assert!(!registry.get(&udn(1)).unwrap().is_reachable());
    pass(&mut registry, &mut clock, Some(PowerState::Off));
    assert!(registry.get(&udn(1)).unwrap().is_reachable(), "the cable is back");
}

#[test]
fn the_count_reads_as_a_sentence() {
    let count = |on, off, standby, unknown| StateCount { on, off, standby, unknown }.to_string();
    assert_eq!(count(0, 0, 0, 0), "0 appliances");
    assert_eq!(count(2, 0, 1, 0), "3 appliances: 2 ON, 1 Standby");
    assert_eq!(count(0, 1, 0, 0), "1 appliance: 1 OFF");
}

#[test]
fn what_one_appliance_costs_in_memory_is_bounded() {
    assert!(size_of::<Appliance>() <= 400, "{} bytes", size_of::<Appliance>());
}

/// What may happen to one appliance.
#[derive(Clone, Copy, Debug)]
enum Happens {
    Found,
    Gone,
    Told(PowerState),
    /// Each question put is answered with that state (the truth about this appliance at that moment).
    Answers(PowerState),
    /// Nothing put is answered, for as long as it takes to count as lost.
    Silence,
    Restart,
}

/// The rules, told once more as plainly as they can be: what is believed of an appliance.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Belief {
    state: Option<PowerState>,
    last_known: Option<PowerState>,
    reachable: bool,
    /// On the network as far as announcements and events tell, so that questions make sense.
    present: bool,
}

impl Belief {
    fn learn(&mut self, state: PowerState) {
        (self.state, self.last_known) = (Some(state), Some(state));
    }

    fn lose(&mut self) {
        self.reachable = false;
        if self.state == Some(PowerState::On) {
            self.state = None;
        }
    }

    fn after(mut self, happens: Happens) -> Self {
        match happens {
            Happens::Found => (self.reachable, self.present) = (true, true),
            Happens::Gone => {
                self.lose();
                self.present = false;
            }
            Happens::Told(state) => {
                self.learn(state);
                self.reachable = state != PowerState::Standby;
                self.present = self.reachable;
            }
            Happens::Answers(state) => {
                if self.asked() {
                    self.learn(state);
                    self.reachable = true;
                }
            }
            Happens::Silence => {
                if self.asked() {
                    self.lose();
                }
            }
            Happens::Restart => {
                self.lose();
                self.present = false;
            }
        }
        self
    }

    /// A sleeper is left in peace.
    fn asked(&self) -> bool {
        self.reachable || (self.present && self.state != Some(PowerState::Standby))
    }
}

fn any_state() -> impl Strategy<Value = PowerState> {
    prop_oneof![Just(PowerState::On), Just(PowerState::Off), Just(PowerState::Standby)]
}

fn any_happening() -> impl Strategy<Value = Happens> {
    prop_oneof![
        Just(Happens::Found),
        Just(Happens::Gone),
        any_state().prop_map(Happens::Told),
        any_state().prop_map(Happens::Answers),
        Just(Happens::Silence),
        Just(Happens::Restart),
    ]
}

/// Lets time pass until something is asked; answers it, or not.
fn pass(registry: &mut Registry, clock: &mut u64, answer: Option<PowerState>) {
    for _ in 0..if answer.is_some() { 1 } else { u32::from(CONTACT_MISSES_MAX) } {
        let Some(at) = registry.poll_timeout() else { return };
        *clock = (*clock).max(at.since_boot().as_secs() + 1);
        for (udn, question, ticket) in registry.questions_due(now(*clock)) {
            if let (Some(state), Question::PowerState) = (answer, question) {
                registry.state_answered(&udn, state, ticket, now(*clock));
            }
            registry.question_closed(&udn, question, ticket, answer.is_some(), now(*clock));
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_registry_believes_what_the_rules_say(
        happenings in proptest::collection::vec((0u8..3, any_happening()), 1..60)
    ) {
        let mut registry = Registry::new(POLL);
        let mut beliefs = BTreeMap::<u8, Belief>::new();
        let mut clock = 1;
        for (n, happens) in happenings {
            clock += 1;
            // Time passes for all of them alike, and so does a restart.
            let all: Vec<u8> = beliefs.keys().copied().collect();
            match happens {
                Happens::Found => { registry.found(found(n, "x"), now(clock), |_| true); }
                Happens::Gone => { registry.gone(&udn(n), now(clock)); }
                Happens::Told(state) => { registry.state_told(&udn(n), state, now(clock)); }
                Happens::Answers(_) | Happens::Silence => {
                    let answer = if let Happens::Answers(state) = happens { Some(state) } else { None };
                    // Ask everybody at the same moment, whatever their turn would be.
                    for n in &all {
                        if beliefs[n].asked() {
                            registry.ask_state_now(&udn(*n), now(clock));
                        }
                    }
                    pass(&mut registry, &mut clock, answer);
                }
                Happens::Restart => {
                    let profiles: Vec<_> = registry.iter().map(|a| a.profile().clone()).collect();
                    registry = Registry::new(POLL);
                    for profile in profiles {
                        registry.restore(profile, now(clock));
                    }
                }
            }
            match happens {
                Happens::Found => {
                    let belief = beliefs.entry(n).or_default();
                    *belief = belief.after(happens);
                }
                Happens::Gone | Happens::Told(_) => {
                    if let Some(belief) = beliefs.get_mut(&n) {
                        *belief = belief.after(happens);
                    }
                }
                _ => beliefs.values_mut().for_each(|belief| *belief = belief.after(happens)),
            }
            for (n, belief) in &beliefs {
                let a = registry.get(&udn(*n)).expect("known since it was found");
                let have = (a.state(), a.profile().last_known, a.is_reachable());
                prop_assert_eq!(have, (belief.state, belief.last_known, belief.reachable), "{} after {:?}", n, happens);
            }
        }
    }
}
