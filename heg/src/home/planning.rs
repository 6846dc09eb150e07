//! What the planner hears from the other parts, and what it has for them.
#![forbid(unsafe_code)]

use std::time::Duration;

use upnp::ids::Udn;
use utility_wire::limits::WAIT_S_MAX;
use utility_wire::{EventId, LimitSet};

use super::Effect;
use super::minds::Minds;
use crate::commands::{Outcome, Verb};
use crate::gateway::{Gateway, Input};
use crate::journal::{Cause, Ending, Entry};
use crate::limits::{REASON_BYTES_MAX, UTILITY_AFTER_MAX, bounded};
use crate::now::Now;
use crate::planner::{self, Planner};
use crate::registry::Appliance;
use crate::store::batch::Mark;
use crate::utility::{self, Utility};

/// What an answer of the utility says of limits: when the next is due, and which there are.
type Answer = (Duration, Option<LimitSet>);

/// See [`Answer`]; `None`: it is none.
pub(super) fn answer(input: &utility::Input) -> Option<Answer> {
    match input {
        utility::Input::Polled(Ok(command)) | utility::Input::Commanded(command) => {
            // The next poll is sent after that, within the hour whatever the utility says, and may be held for so long.
            let after = Duration::from_secs(command.poll_after_s.into()).min(UTILITY_AFTER_MAX);
            Some((after + Duration::from_secs(WAIT_S_MAX.into()), command.limits.clone()))
        }
        _ => None,
    }
}

/// At the start: controls that were under way, and those that hold and are allowed no more, since the configuration says so now.
pub(super) fn controls_of_before(planner: &mut Planner, utility: &Utility, gateway: &Gateway, now: Now) {
    for control in utility.left_unknown() {
        let is_its = |udn: &&Udn| udn.bare().eq_ignore_ascii_case(control.appliance.as_str());
        if let Some(udn) = gateway.registry().iter().map(Appliance::udn).find(is_its) {
            planner.cut_short(udn, control.id, control.action);
        }
    }
    end_what_is_not_allowed(planner, utility, now);
}

/// Controls that hold end where the people at home no longer let the utility control the appliance.
pub(super) fn end_what_is_not_allowed(planner: &mut Planner, utility: &Utility, now: Now) {
    let forbidden: Vec<Udn> = planner.controlled().filter(|udn| !utility.consent().allows(udn)).cloned().collect();
    forbidden.into_iter().for_each(|udn| planner.handle(planner::Input::ConsentGone(udn), now));
}

impl Minds {
    /// The utility was heard, or is another one: what planner and prices have to know of it.
    pub(super) fn utility_told(&mut self, answer: Option<Answer>, before: Option<&str>, now: Now) {
        if before.is_some() && self.utility.peer() != before {
            self.planner.handle(planner::Input::UtilityGone, now);
        }
        if let Some((next_within, limits)) = answer {
            self.planner.handle(planner::Input::Heard { next_within, limits }, now);
        }
        let series: Vec<_> = self.utility.known().series().cloned().collect();
        let versions: Vec<u64> = series.iter().map(|s| s.version()).collect();
        if versions != self.told {
            self.told = versions;
            self.prices.told_by_utility(series, now);
            self.prices_changed(now);
        }
    }

    /// The planner has the prices of today and as far ahead as it plans.
    pub(super) fn prices_changed(&mut self, now: Now) {
        let spans = self.prices.for_plan(now);
        if spans == self.planned {
            return;
        }
        self.planned.clone_from(&spans);
        let currency = self.prices.currency().map(|c| c.to_string()).unwrap_or_default().into();
        self.planner.handle(planner::Input::Prices { spans, currency }, now);
    }

    /// An order of the utility's, with the home's consent; what a person has said since goes before it.
    pub(super) fn utility_orders(&mut self, id: EventId, udn: Udn, verb: Verb) {
        let on = matches!(verb, Verb::On | Verb::Wake);
        match self.planner.forbids(&self.gateway, &udn, on, self.now.wall.as_second()) {
            None => self.gateway.handle(Input::UtilityOrders { id, udn, verb }, self.now),
            Some(why) => {
                let outcome = Outcome::new(Ending::Declined, &*why);
                let (of, cause) = (udn.clone(), Cause::Utility(id));
                self.planner.handle(planner::Input::Ended { udn: of, verb, cause, outcome }, self.now);
                self.journal(Entry {
                    at: self.now.wall,
                    udn: Some(udn),
                    action: verb.action().into(),
                    cause: Cause::Utility(id),
                    ending: Ending::Declined,
                    reason: bounded(&why, REASON_BYTES_MAX),
                });
                let outcome = Outcome::new(Ending::Declined, why);
                self.utility.handle(utility::Input::Ended { id, outcome }, &self.gateway, self.now);
            }
        }
    }

    /// The disk has been told of an order of the planner's: it goes out.
    pub(super) fn order_held(&mut self, number: u64) {
        if let Some((udn, verb, cause)) = self.held.remove(&number) {
            self.gateway.handle(Input::PlannerOrders { udn, verb, cause }, self.now);
        }
    }

    pub(super) fn pass_on_of_planner(&mut self, effect: planner::Effect) {
        let boot = self.now.boot;
        match effect {
            // That it is to go on again is on the disk before it is off (docs/decisions/0058).
            planner::Effect::Order { udn, verb: verb @ (Verb::Off | Verb::Standby), cause } => {
                self.last_held += 1;
                self.held.insert(self.last_held, (udn, verb, cause));
                self.pending.mark(Mark::Order(self.last_held), boot);
            }
            planner::Effect::Order { udn, verb, cause } => {
                self.gateway.handle(Input::PlannerOrders { udn, verb, cause }, self.now);
            }
            planner::Effect::Limited(limited) => {
                self.utility.handle(utility::Input::Limited(limited), &self.gateway, self.now);
            }
            planner::Effect::Save { slot, value, soon } => self.pending.planner(slot, value, soon, boot),
            planner::Effect::Journal(entry) => self.journal(entry),
            planner::Effect::Answer { ask, reply } => self.pending.reply((ask, reply), boot),
            planner::Effect::Planned => self.push(Effect::Planned),
            planner::Effect::Decided(decision) => self.push(Effect::Decided(decision)),
        }
    }
}

#[cfg(test)]
mod tests {
    use utility_wire::{Command, List, Versions};

    use super::*;

    fn command(poll_after_s: u32) -> utility::Input {
        let current = Versions { prices: 0, limits: 0, policy: 1 };
        let zone = "SE3".parse().unwrap();
        utility::Input::Polled(Ok(Command { current, limits: None, controls: List::empty(), poll_after_s, zone }))
    }

    #[test]
    fn lpc_913_every_answer_of_the_utility_is_a_heartbeat_and_a_statement() {
        assert_eq!(
            answer(&command(0)),
            Some((Duration::from_secs(55), None)),
            "nothing new is that what was said goes on"
        );
    }

    #[test]
    fn a_utility_that_wants_to_be_asked_once_a_day_is_asked_within_the_hour_all_the_same() {
        assert_eq!(answer(&command(86_400)), Some((Duration::from_secs(3655), None)));
    }
}
