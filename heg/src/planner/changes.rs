//! Changes of the rules, by people and by what was switched by hand; and how a rule is kept.
#![forbid(unsafe_code)]

use upnp::ids::Udn;

use super::standing::Standing;
use super::work::Work;
use super::{Planner, Slot, Soon};
use crate::journal::{Cause, Ending};
use crate::now::Now;
use crate::planner::Change;
use crate::rules::book::BookError;
use crate::rules::form::RuleForm;
use crate::rules::load::{self, Load};
use crate::rules::{Author, Consent, Rule, RuleId, Source, What};

impl Planner {
    pub(super) fn change(&mut self, uid: u32, change: Change, now: Now) -> Result<RuleId, BookError> {
        let by = Author::Person(uid);
        let (rule, ending) = match change {
            Change::Add(form) => {
                self.check_fit(&form, by, now)?;
                (self.add_rule(&form, by, now)?, Ending::Registered)
            }
            Change::Remove(id) => {
                let rule = self.book.remove(id)?;
                self.unsave(&rule);
                self.rule_ended(&rule, now.wall.as_second(), &format!("was removed by user {uid} at"));
                (rule, Ending::Withdrawn)
            }
        };
        let reason = rule.until.map(|until| format!("until {}", self.local(until.as_second()))).unwrap_or_default();
        let action = format!("rule {}: {}", rule.id, RuleForm::from(&rule).words());
        self.journal(rule.appliance.as_ref(), &action, Cause::Person(uid), ending, &reason, now);
        if let Some(standing) = rule.appliance.as_ref().and_then(|udn| self.standings.get_mut(udn)) {
            // Who changes the rules wants to see it tried again.
            standing.unwilling = None;
        }
        self.everything_changed(now.wall.as_second());
        Ok(rule.id)
    }

    /// Whether a rule says something about its appliance, as far as is known what kind of load that is.
    fn check_fit(&self, form: &RuleForm, by: Author, now: Now) -> Result<(), BookError> {
        let rule = form.rule(RuleId::Made(0), by, Some(now.wall))?;
        let Some(udn) = &rule.appliance else { return Ok(()) };
        let at = rule.from.map_or(now.wall, |from| from.max(now.wall));
        let told = self.standings.get(udn).and_then(|s| s.load.kind.filter(|(_, by)| *by == Source::Appliance));
        let said = self.settings.loads.get(udn);
        let kind = load::kind(udn, told.map(|(kind, _)| kind), said, &self.book, at);
        match kind.and_then(|(kind, _)| load::misfit(&rule.what, kind, said)) {
            Some(why) => Err(BookError::Unfit(why)),
            None => Ok(()),
        }
    }

    /// What whoever made a rule should know besides: what keeps its work from being planned. Empty: nothing does.
    pub(super) fn note_on(&self, id: RuleId, now: Now) -> String {
        let asked = |what: &What| matches!(what, What::Run | What::Charge(_) | What::EveryDay(..));
        let rule = self.book.get(id).filter(|rule| asked(&rule.what));
        let Some(udn) = rule.and_then(|rule| rule.appliance.as_ref()) else { return String::new() };
        self.in_the_way(udn, now).map(|why| format!("but {why}")).unwrap_or_default()
    }

    /// What keeps work that was asked for from being planned, as far as is known.
    fn in_the_way(&self, udn: &Udn, now: Now) -> Option<String> {
        let load = Load::new(udn, None, self.settings.loads.get(udn), &self.book, now.wall);
        if load.consent.0 != Consent::Yes {
            return Some("nobody at home has said that it may be planned: hegctl rule add ID plan yes".to_owned());
        }
        if let Some(id) = self.opted_out(udn, now.wall.as_second()) {
            let end = self.book.get(id).and_then(|rule| rule.until);
            let end = end.map(|end| format!(" until {}", self.local(end.as_second()))).unwrap_or_default();
            return Some(format!("it is taken out of the plan{end} by rule {id}: hegctl rule remove {id}"));
        }
        // Of one that was not seen yet nobody knows what it will say of itself.
        match &self.standings.get(udn)?.load.task {
            Err(obstacle) => Some(obstacle.to_string()),
            Ok(_) => None,
        }
    }

    /// What was asked for once and whose time is over: where it was never taken up nobody else says that it was not done.
    pub(super) fn asked_in_vain(&mut self, rule: &Rule, now: Now) {
        let (Some(udn), RuleId::Made(number)) = (&rule.appliance, rule.id) else { return };
        let (What::Run | What::Charge(_), Some(until)) = (&rule.what, rule.until) else { return };
        let standing = self.standings.get(udn);
        let its = |work: &Option<Work>| work.as_ref().is_some_and(|work| work.rule == Some(number));
        let told = |standing: &Standing| its(&standing.work) && standing.load.task.is_ok();
        // Of one that is in the store alone it is told when it is found.
        if standing.is_some_and(told) || self.restored.get(udn).is_some_and(|left| its(&left.work)) {
            return;
        }
        let why = match standing {
            Some(_) => self.in_the_way(udn, now).unwrap_or_else(|| "other work came first".to_owned()),
            None => "it was not seen since the gateway's start".to_owned(),
        };
        let reason = format!("not done by {}: {why}", self.local(until.as_second()));
        self.journal(Some(udn), "plan work", Cause::Rule(rule.id), Ending::Dropped, &reason, now);
    }

    pub(super) fn add_rule(&mut self, form: &RuleForm, by: Author, now: Now) -> Result<Rule, BookError> {
        let (rule, replaced) = self.book.add(form, by, now.wall)?;
        for old in replaced {
            self.unsave(&old);
        }
        if let (Some(slot), Some(value)) = (rule_slot(&rule), kept_rule(&rule)) {
            self.save(slot, Some(value), Soon::Soon);
        }
        self.save(Slot::LastRule, Some(self.book.last().to_string()), Soon::Soon);
        Ok(rule)
    }

    pub(super) fn unsave(&mut self, rule: &Rule) {
        if let Some(slot) = rule_slot(rule) {
            self.save(slot, None, Soon::Soon);
        }
    }
}

/// A rule as it is kept.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct KeptRule {
    pub(super) form: RuleForm,
    pub(super) by: String,
    pub(super) made: String,
}

pub(super) fn rule_slot(rule: &Rule) -> Option<Slot> {
    match rule.id {
        RuleId::Made(number) => Some(Slot::Rule(number)),
        RuleId::Config(_) => None,
    }
}

pub(super) fn kept_rule(rule: &Rule) -> Option<String> {
    let made = rule.made?.to_string();
    serde_json::to_string(&KeptRule { form: RuleForm::from(rule), by: rule.by.to_string(), made }).ok()
}
