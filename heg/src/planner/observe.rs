//! What changed, and whose doing it was: the plan's, the utility's, a person's, or the appliance's own.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use upnp::ids::Udn;

use super::build::timestamp;
use super::control::Control;
use super::decisions::{self, Act, Decision};
use super::savings::Sums;
use super::sight::money;
use super::standing::{Pause, Standing, Unwilling, is_on, switches};
use super::work::{self, cycle_s};
use super::{Effect, Planner, Slot, Soon, daily};
use crate::commands::{Outcome, Verb};
use crate::gateway::Gateway;
use crate::journal::{Cause, Ending};
use crate::limits::{
    ACCOUNT_GAP_MAX_S, COMMANDED_WITHIN_S, FULL_WITHIN_S, LATE_OBEYED_S, MEASURED_APART, MEASURED_KEPT_S, ORDER_S_MAX,
    REASON_BYTES_MAX, WOKEN_KEPT_S, WORK_DONE_QUARTERS, bounded,
};
use crate::now::Now;
use crate::plan::{Span, Why};
use crate::rules::form::{Kind, RuleForm};
use crate::rules::load::Task;
use crate::rules::{Author, Consent, RuleId};

impl Planner {
    /// Looks at what changed since the last time.
    pub(super) fn observe(&mut self, gateway: &Gateway, now: Now) {
        let changed: BTreeSet<Udn> = if std::mem::take(&mut self.all_changed) {
            self.changed.clear();
            gateway.registry().iter().map(|a| a.udn().clone()).collect()
        } else {
            std::mem::take(&mut self.changed)
        };
        for udn in changed {
            self.look_at(gateway, &udn, now);
        }
    }

    fn look_at(&mut self, gateway: &Gateway, udn: &Udn, now: Now) {
        let Some(appliance) = gateway.registry().get(udn) else { return };
        let at = now.wall.as_second();
        let load = self.new_load(gateway, udn, now);
        let left = self.restored.remove(udn).unwrap_or_default();
        // Who was on as far as the disk knows, and is found off, has obeyed what was under way.
        let cut_short = left.cut_short && is_on(appliance.profile().last_known) == Some(true);
        let late = left.pause == Some(Pause::Ordered) || (left.pause.is_none() && cut_short);
        let standing = self.standings.entry(udn.clone()).or_insert_with(|| Standing {
            work: left.work,
            ours: (left.pause == Some(Pause::Off)).then_some(false),
            for_work: left.pause == Some(Pause::Work),
            late: late.then_some((false, at + LATE_OBEYED_S)),
            kept_pause: left.pause,
            control: left.control,
            ended: left.ended,
            ..Standing::new(load.clone())
        });
        let (was, is) = (standing.on, is_on(appliance.state()));
        let profile = appliance.profile();
        standing.heard |= appliance.is_reachable();
        // Whoever is there again need not be waited for.
        let reached = std::mem::replace(&mut standing.reachable, appliance.is_reachable());
        let back = appliance.is_reachable() && !reached;
        let again = back && standing.unwilling.take_if(|unwilling| unwilling.unreachable).is_some();
        let planned_w = standing.planned_w(at);
        standing.power_w = match (is, profile.power) {
            (Some(true), Some(power)) if power.count() > 0 => {
                standing.measured = Some((power.count(), at + MEASURED_KEPT_S));
                power.count()
            }
            _ => load.power_w,
        };
        // What the plan itself has ordered it knows already.
        let ordered = standing.ordered.map(|(to, _)| to);
        let as_ordered = was.is_some() && is.is_some() && (ordered == is || standing.ours == is);
        // While it was on it was not planned what is to be done later.
        let waited = was != is && standing.is_idle(at) && standing.work.as_ref().is_some_and(|work| !work.done);
        let differs = (was != is && (waited || !as_ordered)) || standing.load != load;
        standing.on = is;
        standing.load = load;
        // Where nothing limits, it is no matter.
        let scarce = self.settings.fuse_w.is_some() || self.caps.iter().any(|(_, cap)| cap.is_some());
        let heavier = scarce && standing.planned_w(at).abs_diff(planned_w) > planned_w / MEASURED_APART;
        let lasted = at - standing.since;
        let decided = self.decisions.switched(udn).filter(|_| was.is_none() && standing.unseen_since.is_none());
        let unseen_from = standing.seen(was, decided, profile.since.as_second(), at);
        let limited = decided.filter(|d| standing.on == Some(false) && standing.is_paused() && d.is_of_limit());
        let limited = limited.map(|d| (d.cause, d.at.as_second()));
        if let Some(start) = unseen_from {
            let (span, zone) = (Span { start, end: at }, &self.settings.zone);
            standing.used_unseen(udn, span, &self.tariff, &mut self.ledger, zone);
        }
        // Who was silent meanwhile was as we had left it.
        let left = standing.ours.or(standing.late.map(|(to, _)| !to));
        match (was.or(left), is) {
            (Some(was), Some(is)) if was != is => self.switched(gateway, udn, is, lasted, now),
            // It was not seen meanwhile, and has stopped.
            (None, Some(false)) => _ = self.interrupt(udn, now),
            _ => {}
        }
        if let Some((cause, since)) = limited {
            self.limited_before(udn, cause, since, at);
        }
        if differs || heavier || again {
            self.replan(at);
        }
    }

    /// It was off and is on, or the other way round, after so many seconds.
    fn switched(&mut self, gateway: &Gateway, udn: &Udn, on: bool, lasted: i64, now: Now) {
        let at = now.wall.as_second();
        let planned = self.standings.get(udn).is_some_and(|standing| self.is_planned(udn, standing, at));
        let Some(standing) = self.standings.get_mut(udn) else { return };
        let mut under_way = gateway.commands().iter().filter(|c| c.udn == *udn && switches(c.verb) == Some(on));
        let ended = standing.commanded.filter(|(to, _, until)| *to == on && *until >= at).map(|(_, cause, _)| cause);
        let cause = under_way.next().map(|c| c.cause).or(ended);
        let late = standing.late.take().is_some_and(|(to, until)| to == on && until >= at);
        let ours = late || standing.ours == Some(on) || standing.ordered.is_some_and(|(to, _)| to == on);
        // What a control switches off goes on when that is over.
        let paused = !on && matches!(cause, Some(Cause::Utility(_)));
        let energy = matches!(standing.load.task, Ok(Task::Energy { .. }));
        let open = standing.work.as_ref().filter(|work| !work.done && work.start <= at);
        // Whoever switches it on: when his say is over it is the plan's, and goes off where there is nothing to do.
        standing.for_work = energy
            && match on {
                true => planned,
                false => standing.for_work || open.is_some_and(|work| work.began.is_some()),
            };
        standing.ours = (ours || paused).then_some(on);
        if late {
            standing.unwilling = None;
        }
        self.keep_paused(udn);
        let interrupted = !on && self.interrupt(udn, now);
        let by = match cause {
            None => Some(Author::Hand).filter(|_| !ours),
            Some(Cause::Person(uid)) => Some(Author::Person(uid)),
            Some(_) => None,
        };
        if let Some(by) = by.filter(|_| interrupted) {
            // Who has stopped it does not want it to begin again at once.
            self.hold(udn, on, by, now);
        }
        let finished = interrupted || (!on && self.finish_by_itself(udn, cause.is_some() || ours, lasted, now));
        if cause.is_none() && !ours && !finished {
            self.by_hand(udn, on, Author::Hand, now);
        }
    }

    /// What the plan has switched off, or is about to, goes on again after a restart too.
    pub(super) fn keep_paused(&mut self, udn: &Udn) {
        let Some(standing) = self.standings.get_mut(udn) else { return };
        let pause = standing.pause();
        let before = std::mem::replace(&mut standing.kept_pause, pause);
        if before == pause {
            return;
        }
        let soon = match (before, pause) {
            // That it went off as ordered changes nothing for whoever finds it off.
            (Some(Pause::Ordered), Some(Pause::Off)) => Soon::Lazily,
            // As soon as its work is written.
            (None, Some(Pause::Work)) | (Some(Pause::Work), None) => Soon::Lazily,
            _ => Soon::Soon,
        };
        self.save(Slot::Paused(udn.clone()), pause.map(|pause| pause.word().to_owned()), soon);
    }

    /// A cycle that went off long before its end is not done: what a rule asks for is begun again, as long as its time is not over.
    fn interrupt(&mut self, udn: &Udn, now: Now) -> bool {
        let at = now.wall.as_second();
        let Some(standing) = self.standings.get_mut(udn) else { return false };
        let (Ok(Task::Cycle { phases, .. }), Some(work)) = (&standing.load.task, &mut standing.work) else {
            return false;
        };
        let (length, began) = (cycle_s(phases), work.began.filter(|_| !work.done));
        let Some(lasted) =
            began.map(|began| at - began).filter(|lasted| *lasted < length / 4 * i64::from(WORK_DONE_QUARTERS))
        else {
            return false;
        };
        let sums = work.interrupted(phases, lasted, &self.tariff);
        work.began = None;
        if work.rule.is_none() {
            work.close();
        }
        let cause = work.rule.map_or(Cause::Window, |number| Cause::Rule(RuleId::Made(number)));
        self.ledger.add(udn, sums, at, &self.settings.zone);
        let reason = format!("ended after {} of {} min", lasted.max(0) / 60, length / 60);
        self.journal(Some(udn), "plan work", cause, Ending::Dropped, &reason, now);
        self.save_work(udn);
        self.replan(at);
        true
    }

    /// A cycle that is over, or a charge that has what it needs, goes off by itself. A charge that has taken little may have been switched off by a
    /// hand, or the power was gone: it goes on again when a hand's time is over, and is full when it goes off again soon after that.
    fn finish_by_itself(&mut self, udn: &Udn, ordered: bool, lasted: i64, now: Now) -> bool {
        let Some(standing) = self.standings.get_mut(udn) else { return false };
        let Some(work) = standing.work.as_mut().filter(|w| !w.done && w.began.is_some()) else { return false };
        // A pause of the plan or the utility is none of its own.
        if ordered && !matches!(standing.load.task, Ok(Task::Cycle { .. })) {
            return false;
        }
        let (need_wh, taken_wh) = (work.need_wh, work.taken_ws / 3600);
        let short = taken_wh < u64::from(need_wh) / 4 * u64::from(WORK_DONE_QUARTERS);
        if short && !(work.stopped && lasted < FULL_WITHIN_S) && work.end > now.wall.as_second() {
            work.stopped = true;
            let cause = work.rule.map_or(Cause::Window, |number| Cause::Rule(RuleId::Made(number)));
            let reason = format!("went off with {taken_wh} of {need_wh} Wh taken");
            self.journal(Some(udn), "plan work", cause, Ending::Observed, &reason, now);
            self.save_work(udn);
            return false;
        }
        work.close();
        self.work_done(udn, now);
        true
    }

    /// It was switched by hand, or by a command of a person's: so it stays for a while.
    fn by_hand(&mut self, udn: &Udn, on: bool, by: Author, now: Now) {
        let Some(standing) = self.standings.get(udn).filter(|s| s.load.consent.0 != Consent::No) else { return };
        if !matches!(standing.load.task, Ok(Task::Cycle { .. })) {
            self.hold(udn, on, by, now);
        }
    }

    /// As it was switched it stays for a while.
    fn hold(&mut self, udn: &Udn, on: bool, by: Author, now: Now) {
        let until = now.wall.as_second() + self.settings.by_hand_s.min(ORDER_S_MAX);
        let form = RuleForm {
            appliance: Some(udn.to_string()),
            until: Some(timestamp(until).to_string()),
            ..RuleForm::new(if on { Kind::On } else { Kind::Off })
        };
        match self.add_rule(&form, by, now) {
            Ok(rule) => {
                let action = format!("rule {}: {}", rule.id, form.words());
                let (cause, reason) = match by {
                    Author::Person(uid) => (Cause::Person(uid), "a person's command holds for a while"),
                    Author::Hand | Author::Config => {
                        (Cause::Appliance, "switched by hand, or by itself; so it stays for a while")
                    }
                };
                self.journal(Some(udn), &action, cause, Ending::Registered, reason, now);
                self.everything_changed(now.wall.as_second());
            }
            Err(error) => tracing::warn!(%udn, %error, "what was switched by hand is not kept as a rule"),
        }
    }

    /// A command ended, whosever it was.
    pub(super) fn command_ended(&mut self, udn: &Udn, verb: Verb, cause: Cause, outcome: &Outcome, now: Now) {
        let at = now.wall.as_second();
        let (Some(to), Some(standing)) = (switches(verb), self.standings.get_mut(udn)) else { return };
        if outcome.is_success() || outcome.ending == Ending::TimedOut {
            standing.commanded = Some((to, cause, at + COMMANDED_WITHIN_S));
        }
        let ours = standing.ordered == Some((to, cause));
        if ours {
            standing.ordered = None;
            match outcome.ending {
                Ending::Done | Ending::Already => {
                    (standing.unwilling, standing.late) = (None, None);
                    standing.ours = Some(to);
                }
                Ending::Superseded => {}
                ending => {
                    match ending {
                        // It may have been heard, and be obeyed yet.
                        Ending::TimedOut | Ending::Unreachable => standing.late = Some((to, at + LATE_OBEYED_S)),
                        Ending::Refused => standing.late = None,
                        _ => {}
                    }
                    let why = format!("{}: {}", outcome.ending, outcome.reason);
                    let unreachable = ending == Ending::Unreachable;
                    standing.unwilling = Some(Unwilling::again(standing.unwilling.as_ref(), &why, unreachable, at));
                    self.replan(at);
                }
            }
            self.keep_paused(udn);
            if let Some(decision) = self.decisions.ended(udn, outcome.ending, &outcome.reason).cloned() {
                self.effects.push_back(Effect::Decided(decision));
            }
            return;
        }
        self.others_decided(udn, to, cause, outcome, now);
        if !outcome.is_success() {
            return;
        }
        let Some(standing) = self.standings.get_mut(udn) else { return };
        match cause {
            Cause::Person(uid) if verb != Verb::Wake => self.by_hand(udn, to, Author::Person(uid), now),
            Cause::Utility(id) => {
                let until = at + self.settings.by_hand_s;
                self.control_begins(udn, Control { id, on: to, until });
            }
            Cause::Registration(reg) if to => standing.woken = Some((reg, at + WOKEN_KEPT_S)),
            _ => {}
        }
        self.replan(at);
    }

    /// What a person, the utility or a registration ordered belongs to the reasons of an appliance as much as what the plan did.
    fn others_decided(&mut self, udn: &Udn, on: bool, cause: Cause, outcome: &Outcome, now: Now) {
        let Some((kind, mut because)) = decisions::others(cause) else { return };
        if kind == "control" && outcome.is_success() {
            because += &format!(" until {}", self.local(now.wall.as_second() + self.settings.by_hand_s));
        }
        let decision = self.decisions.enter(Decision {
            id: 0,
            at: now.wall,
            udn: udn.clone(),
            act: if on { Act::On } else { Act::Off },
            kind,
            cause,
            because: because.into(),
            saves: None,
            outcome: Some((outcome.ending, bounded(&outcome.reason, REASON_BYTES_MAX))),
        });
        self.effects.push_back(Effect::Decided(decision));
    }

    /// What comes of time alone: rules that end, work that begins, is done, or is too late.
    pub(super) fn pass_time(&mut self, now: Now) {
        let at = now.wall.as_second();
        let ended = self.book.expire(now.wall, None);
        if !ended.is_empty() {
            for rule in &ended {
                self.unsave(rule);
                self.rule_ended(rule, rule.until.map_or(at, |until| until.as_second()), "ended at");
                self.asked_in_vain(rule, now);
            }
            self.everything_changed(at);
        }
        let udns: Vec<Udn> = self.standings.keys().cloned().collect();
        for udn in udns {
            self.pass_time_of(&udn, now);
        }
    }

    fn pass_time_of(&mut self, udn: &Udn, now: Now) {
        let at = now.wall.as_second();
        self.look_at_control(udn, now);
        self.forget_ended(udn, at);
        let Some(standing) = self.standings.get_mut(udn) else { return };
        let woken = standing.woken;
        standing.woken = woken.filter(|(_, until)| *until > at);
        standing.late = standing.late.filter(|(_, until)| *until >= at);
        let again = standing.unwilling.as_mut().filter(|u| u.until <= at && !u.over).map(|u| u.over = true);
        let ended = again.is_some() || woken != standing.woken;
        let task = standing.load.task.clone();
        if ended {
            self.replan(at);
        }
        self.leave_window(udn, at);
        self.keep_paused(udn);
        let (Ok(task), Some(standing)) = (task, self.standings.get_mut(udn)) else { return };
        if let Some(work) = standing.work.as_mut().filter(|w| !w.done) {
            let length = if let Task::Cycle { phases, .. } = &task { cycle_s(phases) } else { 0 };
            let cycle = matches!(task, Task::Cycle { .. });
            let fresh = !cycle || standing.since >= work.start;
            if standing.on == Some(true) && work.began.is_none() && fresh && work.start <= at && at < work.end {
                work.began = Some(at);
                let planned = standing.ours == Some(true);
                self.save_work(udn);
                if !planned {
                    self.replan(at);
                }
                return;
            }
            let over = match (&task, work.began) {
                (Task::Cycle { .. }, Some(began)) => began + length <= at,
                (Task::Cycle { .. }, None) => work.end <= at,
                _ => work.left_wh() == 0 || work.end <= at,
            };
            if over {
                work.close();
                if !cycle {
                    self.charged(udn, at);
                }
                self.work_done(udn, now);
            }
        }
        self.next_work(udn, &task, at);
    }

    /// What the plan has paused in its window does not go on once that is over, whoever has a say then.
    fn leave_window(&mut self, udn: &Udn, at: i64) {
        let Some(standing) = self.standings.get(udn).filter(|s| s.is_paused() && self.is_planned(udn, s, at)) else {
            return;
        };
        let Ok(Task::Presence { only, .. }) = &standing.load.task else { return };
        let now = Span { start: at, end: at + 1 };
        let open = only.is_empty() || only.iter().any(|w| !daily::spans(*w, &self.settings.zone, now).is_empty());
        if !open && let Some(standing) = self.standings.get_mut(udn) {
            standing.for_work = true;
        }
    }

    /// Whoever switched it on, it was on for its work if nobody else wants it on.
    fn charged(&mut self, udn: &Udn, at: i64) {
        let ordered_on = self.order(udn, at).is_some_and(|(on, ..)| on);
        let planned = self.standings.get(udn).is_some_and(|standing| self.is_planned(udn, standing, at));
        let on = self.standings.get_mut(udn).filter(|standing| standing.on == Some(true));
        if let Some(standing) = on.filter(|_| planned && !ordered_on) {
            standing.for_work = true;
            self.keep_paused(udn);
        }
    }

    /// The work that comes first now.
    fn next_work(&mut self, udn: &Udn, task: &Task, at: i64) {
        let Some(standing) = self.standings.get(udn) else { return };
        let running =
            standing.work.as_ref().is_some_and(|w| !w.done && w.began.is_some() && matches!(task, Task::Cycle { .. }));
        if running {
            return;
        }
        let next = work::next(udn, task, &self.book, &self.settings.zone, at, standing.work.as_ref());
        if next.is_none() && standing.work.as_ref().is_some_and(|w| w.done) {
            return;
        }
        if next != standing.work
            && let Some(standing) = self.standings.get_mut(udn)
        {
            standing.work = next;
            standing.told_start = None;
            self.replan(at);
        }
    }

    /// Work is done, or its time is over.
    fn work_done(&mut self, udn: &Udn, now: Now) {
        let at = now.wall.as_second();
        let Some(standing) = self.standings.get(udn) else { return };
        let (Some(work), Ok(task)) = (standing.work.clone(), &standing.load.task) else { return };
        let sums = work.sums(task, standing.load.power_w, &self.tariff);
        let used = sums.unwrap_or_else(|| work.used(task));
        self.ledger.add(udn, used, at, &self.settings.zone);
        let undone = match task {
            Task::Cycle { .. } => work.began.is_none(),
            _ => work.left_wh() > 0 && work.end <= at,
        };
        let saved = match sums {
            Some(sums) => format!("saved {} against running at once", money(sums.saved(), self.tariff.currency())),
            None => "what it saved is not known, as a price is not".to_owned(),
        };
        let (ending, reason) = match undone {
            true => (Ending::Dropped, format!("not done by {}", self.local(work.end))),
            false if work.left_wh() > 0 => {
                (Ending::Done, format!("went off with {} of {} Wh taken; {saved}", work.taken_ws / 3600, work.need_wh))
            }
            false => (Ending::Done, saved),
        };
        let cause = work.rule.map_or(Cause::Window, |number| Cause::Rule(RuleId::Made(number)));
        self.journal(Some(udn), "plan work", cause, ending, &reason, now);
        if let Some(number) = work.rule
            && let Ok(rule) = self.book.remove(RuleId::Made(number))
        {
            self.unsave(&rule);
        }
        self.save_work(udn);
        self.replan(at);
    }

    pub(super) fn save_work(&mut self, udn: &Udn) {
        let work = self.standings.get(udn).and_then(|s| s.work.as_ref());
        let value = work.and_then(|work| serde_json::to_string(work).ok());
        self.save(Slot::Work(udn.clone()), value, Soon::Lazily);
    }

    /// Enters energy and money up to now, as things have been since the last time.
    pub(super) fn account(&mut self, at: i64) {
        let span = Span { start: self.accounted.unwrap_or(at), end: at };
        self.accounted = Some(at);
        if span.seconds() == 0 || span.seconds() > ACCOUNT_GAP_MAX_S {
            return;
        }
        for (udn, standing) in &mut self.standings {
            if standing.load.consent.0 != Consent::Yes {
                continue;
            }
            if standing.on == Some(true) {
                standing.used(udn, span, &self.tariff, &mut self.ledger, &self.settings.zone);
                continue;
            }
            if let (Ok(Task::Presence { .. }), true) = (&standing.load.task, standing.is_paused()) {
                let of_plan = self.current.as_ref().and_then(|c| c.of(udn));
                let paused = of_plan.is_some_and(|load| {
                    load.pauses.iter().any(|pause| pause.why != Why::Cap && pause.span.within(span).is_some())
                });
                let spared = standing.power_w.saturating_sub(standing.load.rest_w);
                let not_used = self.tariff.cost(span, spared).filter(|_| paused).unwrap_or(0);
                self.ledger.add(udn, Sums { not_used, ..Sums::default() }, span.start, &self.settings.zone);
            }
        }
    }
}
