//! Why an appliance is as it is, for people: who decides, by which word, until when, and whose say ended before.
#![forbid(unsafe_code)]

use energy_model::Importance;
use upnp::ids::Udn;
use utility_wire::EventId;

use super::build::timestamp;
use super::control::{switched, who};
use super::sight::price_words;
use super::standing::Standing;
use super::{Planner, daily};
use crate::envelope;
use crate::gateway::Gateway;
use crate::limits::ENDED_TOLD_S;
use crate::plan::{DropReason, Span, Why};
use crate::registrations::{Registrant, Registration, Wish};
use crate::rules::load::Task;
use crate::rules::precedence::{Limited, Ruler, Ruling};
use crate::rules::window::Window;
use crate::rules::{Consent, Rule, RuleId, Source};

impl Planner {
    /// A moment for people: local, with its offset from UTC, as the hour that comes twice in October needs it: `2026-11-28 01:30:00+01:00`.
    pub(super) fn local(&self, at: i64) -> String {
        timestamp(at).to_zoned(self.settings.zone.clone()).strftime("%Y-%m-%d %H:%M:%S%:z").to_string()
    }

    /// Why, and what ended before, where that is not long ago.
    pub(super) fn because(&self, gateway: &Gateway, udn: &Udn, ruling: Ruling, at: i64) -> String {
        let reason = self.reason(gateway, udn, ruling, at);
        let weak = matches!(
            ruling.by,
            Ruler::Plan(_) | Ruler::OptOut(_) | Ruler::Nobody | Ruler::Limit(Limited::Comeback | Limited::Fuse)
        );
        let ended = self.standings.get(udn).and_then(|standing| standing.ended.as_ref());
        let ended = ended.filter(|ended| weak && ended.at <= at && at < ended.at + ENDED_TOLD_S);
        match (ended, ruling.by) {
            (None, _) => reason,
            (Some(ended), Ruler::Plan(Why::Price)) => format!("{}; now planned by price: {reason}", ended.words),
            (Some(ended), Ruler::Plan(why)) if ruling.on != Some(true) || !matches!(why, Why::Cap | Why::LeftOn) => {
                format!("{}; now planned by {reason}", ended.words)
            }
            (Some(ended), _) => format!("{}; now {reason}", ended.words),
        }
    }

    /// Why, by what holds now alone.
    pub(super) fn reason(&self, gateway: &Gateway, udn: &Udn, ruling: Ruling, at: i64) -> String {
        let Some(standing) = self.standings.get(udn) else { return ruling.by.to_string() };
        let until = self.until(gateway, udn, ruling.by, at).map(|until| format!(" until {}", self.local(until)));
        let price = self.tariff.at(at).map(|p| format!("{} now", price_words(p, self.tariff.currency())));
        let then = self.then(udn, ruling, at);
        let only_on = ruling.on == Some(true) && matches!(standing.load.task, Ok(Task::Presence { .. }));
        match ruling.by {
            Ruler::Appliance => match &standing.unwilling {
                Some(u) => format!("{}; it is asked again at {}", u.why, self.local(u.until)),
                None => ruling.by.to_string(),
            },
            Ruler::Request(reg) => match self.forbidding(gateway, udn, at) {
                Some(r) if r.reg == reg => {
                    let by = match r.by {
                        Registrant::Appliance => "the appliance itself".to_owned(),
                        Registrant::Person(uid) => format!("user {uid}"),
                    };
                    format!("NoStandbyPeriod of {by} (RegID {reg}) forbids standby{}", until.unwrap_or_default())
                }
                _ => format!("its WakeUpTime has woken it (RegID {reg}); it is left on{}", until.unwrap_or_default()),
            },
            Ruler::OrderOn(id) | Ruler::OrderOff(id) => {
                let on = switched(matches!(ruling.by, Ruler::OrderOn(_)));
                let until = until.unwrap_or_default();
                match self.book.get(id).map(|rule| rule.by) {
                    Some(crate::rules::Author::Hand) => {
                        format!("it was switched {on} by hand, or by itself, and is left so{until} (rule {id})")
                    }
                    Some(by) => format!("{} ordered it {on}{until} (rule {id})", who(by)),
                    None => ruling.by.to_string(),
                }
            }
            Ruler::Comfort(source) => self.comfort_words(standing, source, at),
            Ruler::Limit(by) => self.limit_words(by, at) + &then,
            Ruler::Control(id) => match standing.control {
                Some(c) => {
                    format!("the utility ordered it {} (control {id}){}", switched(c.on), until.unwrap_or_default())
                }
                None => ruling.by.to_string(),
            },
            Ruler::OptOut(id) => {
                let by = self.book.get(id).map(|rule| who(rule.by)).unwrap_or_default();
                let until = until.unwrap_or_else(|| " until the rule is removed".to_owned());
                format!("{by} has taken it out of the plan{until} (rule {id})")
            }
            Ruler::Plan(Why::Cap) if ruling.on == Some(true) && standing.load.consent.0 == Consent::No => {
                "it goes on again".to_owned()
            }
            Ruler::Plan(Why::LeftOn) if standing.load.consent.0 == Consent::Limits => {
                "it is left on: nothing but a limit may switch it off".to_owned()
            }
            Ruler::Plan(Why::LeftOn) => "nobody says when it is to run, so it is left on".to_owned(),
            Ruler::Plan(Why::Cap) if only_on => "there is room for it again".to_owned(),
            Ruler::Plan(Why::Price) => format!("{}{then}", price.unwrap_or_else(|| "price not known".into())),
            Ruler::Plan(why) => {
                let words = match why {
                    Why::Cap if ruling.on == Some(true) => "there is no room for it at a better time".to_owned(),
                    Why::Cap => "there is no room for it now".to_owned(),
                    why => why.to_string(),
                };
                let words = match self.dropped(udn).filter(|_| ruling.on == Some(false)) {
                    Some(dropped) => format!("{words}: {dropped}"),
                    None => words,
                };
                match price {
                    Some(price) => format!("{words}; {price}{then}"),
                    None => format!("{words}{then}"),
                }
            }
            Ruler::Nobody => match &standing.load.task {
                _ if standing.load.consent.0 == Consent::No => {
                    "nobody decides: that it may be planned nobody at home has said".to_owned()
                }
                Err(obstacle) => obstacle.to_string(),
                Ok(_) => match standing.work.as_ref().filter(|work| !work.done && work.start > at) {
                    Some(work) => format!("nobody decides: it has work to do from {} on", self.local(work.start)),
                    None => "nobody decides: there is nothing to be done for it".to_owned(),
                },
            },
        }
    }

    /// When it is on again, where it is to be off; of work also what that costs then.
    fn then(&self, udn: &Udn, ruling: Ruling, at: i64) -> String {
        let load = self.current.as_ref().and_then(|c| c.of(udn)).filter(|_| ruling.on == Some(false));
        let next = load.and_then(|l| l.runs.iter().map(|r| r.span.start).find(|start| *start > at));
        let Some(start) = next else { return String::new() };
        let work = self.standings.get(udn).filter(|s| !matches!(s.load.task, Ok(Task::Presence { .. })));
        let begun = work.is_none_or(|s| s.work.as_ref().is_some_and(|work| work.began.is_some()));
        let price = self.tariff.at(start).filter(|_| work.is_some());
        let price = price.map(|p| format!("; {} then", price_words(p, self.tariff.currency()))).unwrap_or_default();
        format!("; on {}at {}{price}", if begun { "again " } else { "" }, self.local(start))
    }

    /// Why the plan leaves some of its work undone.
    fn dropped(&self, udn: &Udn) -> Option<DropReason> {
        let current = self.current.as_ref()?;
        let id = current.of(udn)?.id;
        current.plan.dropped.iter().find(|dropped| dropped.id == id).map(|dropped| dropped.reason)
    }

    fn limit_words(&self, by: Limited, at: i64) -> String {
        let watts = self.cap(at).map(|cap| format!(": {} W for the home", cap.watts)).unwrap_or_default();
        match by {
            Limited::By(envelope::Cause::Limit(id)) => {
                let until = match self.limit_end(id) {
                    Some(Some(end)) => format!(" until {}", self.local(end)),
                    Some(None) => " until it is called off".to_owned(),
                    None => String::new(),
                };
                format!("limit {id} of the utility leaves no room{watts}{until}")
            }
            Limited::By(envelope::Cause::Start) => {
                format!("the failsafe limit leaves no room{watts} until the utility says which limits there are")
            }
            Limited::By(envelope::Cause::Failsafe) => {
                format!("the failsafe limit leaves no room{watts} until the utility is heard again")
            }
            Limited::Comeback => {
                "load comes back after a limit little by little, and there is no room for it yet".into()
            }
            Limited::Fuse => match self.settings.fuse_w {
                Some(fuse) => format!("the home's fuse leaves no room: {fuse} W for the home"),
                None => "the home's fuse leaves no room".to_owned(),
            },
        }
    }

    fn comfort_words(&self, standing: &Standing, source: Source, at: i64) -> String {
        if standing.load.importance.0 == Importance::Critical {
            return format!("it is of class Critical (says {}), which is not switched off", standing.load.importance.1);
        }
        let by = match source {
            Source::Rule(id) => {
                let by = self.book.get(id).map(|rule| format!(" by {}", who(rule.by))).unwrap_or_default();
                format!("rule {id}{by}")
            }
            _ => "the configuration".to_owned(),
        };
        match self.keeping(standing, at) {
            Some((window, _)) => format!("{by} keeps it on, {window}"),
            None => format!("{by} keeps it on"),
        }
    }

    /// The window in which it is not to be switched off now, and who says so.
    pub(super) fn keeping(&self, standing: &Standing, at: i64) -> Option<(Window, Source)> {
        let now = Span { start: at, end: at + 1 };
        let holds = |window| !daily::spans(window, &self.settings.zone, now).is_empty();
        standing.load.keep_on.iter().find(|(window, _)| holds(*window)).copied()
    }

    fn forbidding<'a>(&self, gateway: &'a Gateway, udn: &Udn, at: i64) -> Option<&'a Registration> {
        gateway.registrations().forbids_standby(udn, timestamp(at))
    }

    /// When a limit of the utility's ends here; the inner `None`: when it is called off.
    pub(super) fn limit_end(&self, id: EventId) -> Option<Option<i64>> {
        let limit = self.envelope.limits().limits.iter().find(|limit| limit.id == id && !limit.cancelled)?;
        let (_, end) = limit.window(&self.home);
        Some(end.map(|end| i64::try_from(end.seconds()).unwrap_or(i64::MAX).saturating_add(self.shift)))
    }

    /// Until when who decides has a say, seconds since 1970; `None`: that is not known, or there is no end.
    pub(super) fn until(&self, gateway: &Gateway, udn: &Udn, by: Ruler, at: i64) -> Option<i64> {
        let standing = self.standings.get(udn)?;
        let of_rule = |id: RuleId| -> Option<i64> {
            let Rule { until, .. } = self.book.get(id)?;
            until.map(|until| until.as_second())
        };
        let window = |window: Window| {
            let spans = daily::spans(window, &self.settings.zone, Span { start: at, end: at + 1 });
            spans.first().map(|span| span.end)
        };
        match by {
            Ruler::Appliance => standing.unwilling.as_ref().map(|u| u.until),
            Ruler::Request(reg) => match self.forbidding(gateway, udn, at).filter(|r| r.reg == reg)?.wish {
                Wish::NoStandby(daily) => window(daily.into()),
                _ => None,
            }
            .or(standing.woken.map(|(_, until)| until)),
            Ruler::OrderOn(id) | Ruler::OrderOff(id) | Ruler::OptOut(id) => of_rule(id),
            Ruler::Comfort(_) if standing.load.importance.0 == Importance::Critical => None,
            Ruler::Comfort(_) => self.keeping(standing, at).and_then(|(keeps, _)| window(keeps)),
            Ruler::Limit(Limited::By(envelope::Cause::Limit(id))) => self.limit_end(id).flatten(),
            Ruler::Control(_) => standing.control.map(|control| control.until),
            Ruler::Limit(_) | Ruler::Plan(_) | Ruler::Nobody => None,
        }
    }
}
