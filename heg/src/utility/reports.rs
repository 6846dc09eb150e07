//! Reports: what the home tells, in numbered batches that are kept until the utility has acknowledged them.
//!
//! A batch that was never sent takes in what comes after it, so that an outage of days ends in few messages. What is too much for one batch
//! goes into several, which say that they are complete only with the last. What is older than a week, or does not fit, is dropped and
//! becomes a gap that is told.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, VecDeque};

use energy_model::WattHours;
use utility_wire::limits::{DECISIONS_MAX, GAPS_MAX};
use utility_wire::{
    ApplianceId, ApplianceReport, Consumption, DecisionReport, Gap, GapReason, IntervalLength, List, Message as _,
    Report, UnixTime,
};

use super::meter::Closed;
use crate::limits::{
    METER_INTERVAL_S, REPORT_AGE_MAX_S, REPORT_BYTES_MAX, REPORT_INTERVALS_MAX, REPORT_QUEUE_BYTES_MAX,
};

/// Encoded, an appliance has at most so many bytes beside its identifier and name: heads, four numbers, three words.
const APPLIANCE_BYTES: usize = 96;
/// And a run or a gap beside its identifier and energies.
const RUN_BYTES: usize = 32;

/// A batch that is not acknowledged.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) batch: u64,
    pub(super) body: Vec<u8>,
    made: UnixTime,
    /// It stays as it is: it was sent, or is one of several that belong together.
    closed: bool,
}

/// What changed in the queue, for the store.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) kept: Vec<u64>,
    pub(super) dropped: Vec<u64>,
}

/// Batches, and what will go into the next.
#[derive(Debug, Default)]
pub(super) struct Reports {
    queue: VecDeque<Queued>,
    last: u64,
    runs: BTreeMap<ApplianceId, Vec<(UnixTime, Vec<WattHours>)>>,
    gaps: Vec<Gap>,
    decisions: VecDeque<DecisionReport>,
}

impl Reports {
    /// A quarter of an hour is over.
    pub(super) fn add(&mut self, closed: Closed) {
        let end = closed.start.plus(METER_INTERVAL_S.into());
        for (of, energy) in closed.energy {
            let Some(energy) = energy else {
                self.gap(Some(of), closed.start, end, GapReason::NoReading);
                continue;
            };
            let runs = self.runs.entry(of).or_default();
            match runs.last_mut() {
                Some((start, energies)) if run_end(*start, energies.len()) == closed.start => energies.push(energy),
                _ => runs.push((closed.start, vec![energy])),
            }
        }
    }

    /// A time of which nothing is known. Next to one of the same sort it makes that longer.
    pub(super) fn gap(&mut self, of: Option<ApplianceId>, start: UnixTime, end: UnixTime, reason: GapReason) {
        if start >= end {
            return;
        }
        let next_to = |g: &&mut Gap| g.of == of && g.reason == reason && g.start <= end && start <= g.end;
        match self.gaps.iter_mut().find(next_to) {
            Some(gap) => (gap.start, gap.end) = (gap.start.min(start), gap.end.max(end)),
            None => self.gaps.push(Gap { of, start, end, reason }),
        }
    }

    /// Something was decided. Of more than one report holds the oldest go: the home's journal has them all.
    pub(super) fn decided(&mut self, decision: DecisionReport) {
        if self.decisions.len() >= DECISIONS_MAX {
            self.decisions.pop_front();
        }
        self.decisions.push_back(decision);
    }

    /// Forgets decisions about appliances that are none of the utility's business any more.
    pub(super) fn keep_decisions(&mut self, about: impl Fn(&ApplianceId) -> bool) {
        self.decisions.retain(|decision| about(&decision.of));
    }

    /// Whether there is consumption, a gap or a decision that is in no batch.
    pub(super) fn has_more(&self) -> bool {
        !self.runs.is_empty() || !self.gaps.is_empty() || !self.decisions.is_empty()
    }

    /// Makes a batch of what there is and `appliances`, or adds it to the last one if that was never sent. Nothing is made of nothing.
    pub(super) fn cut(&mut self, complete: bool, appliances: Vec<ApplianceReport>, now: UnixTime) -> Changes {
        let mut changes = Changes::default();
        if !complete && appliances.is_empty() && !self.has_more() {
            return changes;
        }
        let gaps = self.gaps.drain(..GAPS_MAX.min(self.gaps.len())).collect();
        let decisions = self.decisions.drain(..).collect();
        let parts = in_parts(complete, appliances, self.take_runs(), gaps, decisions, now);
        // What belongs together keeps its time, by which the utility sees who is not named in any of them.
        let closed = parts.len() > 1;
        for report in parts {
            let batch = self.keep(report, closed, now);
            changes.kept.push(batch);
        }
        self.bound(now, &mut changes);
        changes
    }

    /// Adds a report to the last batch if that may still change, or as a new one.
    fn keep(&mut self, mut report: Report, closed: bool, now: UnixTime) -> u64 {
        if !closed
            && let Some(open) = self.queue.back_mut().filter(|q| !q.closed)
            && let Ok(older) = Report::decode(&open.body)
            && let Some(merged) = merged(older, &report)
        {
            let body = merged.encode();
            if body.len() <= REPORT_BYTES_MAX {
                (open.body, open.made) = (body, now);
                return open.batch;
            }
        }
        // Above any number of before, also where the store was lost: the time only goes up.
        self.last = (self.last + 1).max(now.seconds());
        report.batch = self.last;
        self.queue.push_back(Queued { batch: self.last, body: report.encode(), made: now, closed });
        self.last
    }

    fn take_runs(&mut self) -> Vec<Consumption> {
        let Some(interval) = IntervalLength::new(METER_INTERVAL_S) else { return Vec::new() };
        let mut all = Vec::new();
        for (of, runs) in std::mem::take(&mut self.runs) {
            for (start, energy) in runs {
                for (number, energy) in energy.chunks(REPORT_INTERVALS_MAX).enumerate() {
                    let start = run_end(start, number * REPORT_INTERVALS_MAX);
                    let energy = List::fill(energy.iter().copied());
                    all.push(Consumption { of: Some(of.clone()), start, interval, energy });
                }
            }
        }
        all
    }

    /// Drops what is too old or too much, but not what may be on its way.
    fn bound(&mut self, now: UnixTime, changes: &mut Changes) {
        let bytes = |queue: &VecDeque<Queued>| queue.iter().map(|q| q.body.len()).sum::<usize>();
        while let Some(oldest) = self.queue.front()
            && self.queue.len() > 1
            && (oldest.made.plus(REPORT_AGE_MAX_S) < now || bytes(&self.queue) > REPORT_QUEUE_BYTES_MAX)
        {
            let batch = oldest.batch;
            if let Ok(report) = Report::decode(&oldest.body) {
                self.lost(&report);
            }
            self.queue.pop_front();
            changes.kept.retain(|n| *n != batch);
            changes.dropped.push(batch);
        }
    }

    /// What a batch told of consumption becomes a gap.
    fn lost(&mut self, report: &Report) {
        for gap in report.gaps.iter() {
            self.gap(gap.of.clone(), gap.start, gap.end, gap.reason);
        }
        let start = report.consumption.iter().map(|run| run.start).min();
        let end = report.consumption.iter().map(|run| run_end(run.start, run.energy.len())).max();
        if let (Some(start), Some(end)) = (start, end) {
            self.gap(None, start, end, GapReason::Dropped);
        }
    }

    /// The oldest batch, which is sent next; from now on it stays as it is.
    pub(super) fn send(&mut self) -> Option<(u64, Vec<u8>)> {
        let oldest = self.queue.front_mut()?;
        oldest.closed = true;
        Some((oldest.batch, oldest.body.clone()))
    }

    /// Length of the body that is sent next.
    pub(super) fn next_bytes(&self) -> usize {
        self.queue.front().map_or(0, |q| q.body.len())
    }

    /// Puts an empty batch before all others, for a sender that has to be answered before it may send a long one.
    pub(super) fn knock(&mut self, now: UnixTime) -> Option<u64> {
        let first = self.queue.front()?.batch;
        let batch = first.checked_sub(1)?;
        let report = Report {
            batch,
            made: now,
            complete: false,
            appliances: List::empty(),
            consumption: List::empty(),
            gaps: List::empty(),
            decisions: List::empty(),
        };
        self.queue.push_front(Queued { batch, body: report.encode(), made: now, closed: false });
        Some(batch)
    }

    /// The utility has it.
    pub(super) fn acknowledged(&mut self, batch: u64) -> bool {
        let before = self.queue.len();
        self.queue.retain(|q| q.batch != batch);
        self.queue.len() < before
    }

    /// The utility does not take it, and never will.
    pub(super) fn refused(&mut self, batch: u64) -> bool {
        let body = self.queue.iter().find(|q| q.batch == batch).map(|q| Report::decode(&q.body));
        if let Some(Ok(report)) = body {
            self.lost(&report);
        }
        self.acknowledged(batch)
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// When the oldest was made.
    pub(super) fn oldest(&self) -> Option<UnixTime> {
        self.queue.front().map(|q| q.made)
    }

    pub(super) fn body(&self, batch: u64) -> Option<&[u8]> {
        self.queue.iter().find(|q| q.batch == batch).map(|q| &q.body[..])
    }

    pub(super) fn batches(&self) -> impl Iterator<Item = &Queued> {
        self.queue.iter()
    }

    /// Takes a batch from the store; `None` when it makes no sense. It may have been sent.
    pub(super) fn restore(&mut self, batch: u64, value: &[u8]) -> Option<()> {
        let report = Report::decode(value).ok().filter(|r| r.batch == batch)?;
        let at = self.queue.partition_point(|q| q.batch < batch);
        self.queue.insert(at, Queued { batch, body: value.to_vec(), made: report.made, closed: true });
        self.last = self.last.max(batch);
        Some(())
    }

    /// Everything forgotten, for another utility. Gives the numbers of what was kept.
    pub(super) fn clear(&mut self) -> Vec<u64> {
        (self.runs, self.gaps, self.decisions) = (BTreeMap::new(), Vec::new(), VecDeque::new());
        self.queue.drain(..).map(|q| q.batch).collect()
    }
}

fn run_end(start: UnixTime, intervals: usize) -> UnixTime {
    start.plus(intervals as u64 * u64::from(METER_INTERVAL_S))
}

/// As few reports as hold all of it, each within what a message takes. Only the last says that they are complete: the utility then forgets
/// whoever no report of that time names.
fn in_parts(
    complete: bool,
    appliances: Vec<ApplianceReport>,
    runs: Vec<Consumption>,
    gaps: Vec<Gap>,
    decisions: Vec<DecisionReport>,
    made: UnixTime,
) -> Vec<Report> {
    let (mut appliances, mut runs, mut gaps) =
        (appliances.into_iter().peekable(), runs.into_iter().peekable(), gaps.into_iter().peekable());
    let mut decisions = decisions.into_iter().peekable();
    let mut parts = Vec::new();
    loop {
        // The array's own heads, the batch's number and times: below 64 bytes.
        let mut left = REPORT_BYTES_MAX - 64;
        let mut fits = |bytes: usize| {
            let fits = bytes <= left;
            left -= if fits { bytes } else { 0 };
            fits
        };
        let mut report = Report {
            batch: 0,
            made,
            complete: false,
            appliances: List::empty(),
            consumption: List::empty(),
            gaps: List::empty(),
            decisions: List::empty(),
        };
        report.appliances = List::fill(std::iter::from_fn(|| {
            appliances.next_if(|a| fits(a.id.as_str().len() + a.name.as_str().len() + APPLIANCE_BYTES))
        }));
        report.consumption = List::fill(std::iter::from_fn(|| {
            runs.next_if(|run| {
                fits(RUN_BYTES + run.of.as_ref().map_or(0, |of| of.as_str().len()) + 5 * run.energy.len())
            })
        }));
        report.gaps = List::fill(std::iter::from_fn(|| {
            gaps.next_if(|gap| fits(RUN_BYTES + gap.of.as_ref().map_or(0, |of| of.as_str().len())))
        }));
        report.decisions = List::fill(std::iter::from_fn(|| {
            decisions.next_if(|d| {
                let words = d.action.as_str().len() + d.cause.as_str().len() + d.outcome.as_str().len();
                fits(RUN_BYTES + d.of.as_str().len() + words + d.reason.as_str().len())
            })
        }));
        let rest = appliances.peek().is_some() || runs.peek().is_some() || gaps.peek().is_some();
        let rest = rest || decisions.peek().is_some();
        report.complete = complete && !rest;
        parts.push(report);
        if !rest {
            return parts;
        }
    }
}

/// Both as one, under the number of the older; `None` where it would be too much for one.
fn merged(older: Report, newer: &Report) -> Option<Report> {
    let mut appliances = if newer.complete { Vec::new() } else { older.appliances.into_vec() };
    appliances.retain(|a| newer.appliances.iter().all(|b| a.id != b.id));
    appliances.extend(newer.appliances.iter().cloned());
    let mut consumption = older.consumption.into_vec();
    for run in newer.consumption.iter() {
        let goes_on = |r: &&mut Consumption| r.of == run.of && run_end(r.start, r.energy.len()) == run.start;
        match consumption.iter_mut().find(goes_on) {
            Some(before) => {
                let all: Vec<_> = before.energy.iter().chain(run.energy.iter()).copied().collect();
                if all.len() > REPORT_INTERVALS_MAX {
                    return None;
                }
                before.energy = all.try_into().ok()?;
            }
            None => consumption.push(run.clone()),
        }
    }
    let gaps: Vec<_> = older.gaps.iter().chain(newer.gaps.iter()).cloned().collect();
    let decisions: Vec<_> = older.decisions.iter().chain(newer.decisions.iter()).cloned().collect();
    // In an outage the latest are told.
    let first = decisions.len().saturating_sub(DECISIONS_MAX);
    Some(Report {
        batch: older.batch,
        made: newer.made,
        complete: older.complete || newer.complete,
        appliances: appliances.try_into().ok()?,
        consumption: consumption.try_into().ok()?,
        gaps: gaps.try_into().ok()?,
        decisions: List::fill(decisions.into_iter().skip(first)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: u64 = 1_800_000_000;

    fn at(quarter: u64) -> UnixTime {
        UnixTime::new(T0 + quarter * 900)
    }

    fn quarter(n: u64, wh: Option<u32>) -> Closed {
        Closed { start: at(n), energy: vec![("tv".parse().unwrap(), wh.map(WattHours::new))] }
    }

    fn report(reports: &Reports, batch: u64) -> Report {
        Report::decode(reports.body(batch).unwrap()).unwrap()
    }

    #[test]
    fn a_batch_on_its_way_stays_as_it_is_and_later_news_gather_in_the_next() {
        let mut reports = Reports::default();
        reports.add(quarter(0, Some(10)));
        let first = reports.cut(true, vec![], at(1)).kept[0];
        assert_eq!(first, at(1).seconds(), "above any number of before");
        let (sent, body) = reports.send().unwrap();
        assert_eq!(sent, first);
        reports.add(quarter(1, Some(11)));
        let second = reports.cut(false, vec![], at(2)).kept[0];
        reports.add(quarter(2, Some(12)));
        assert_eq!(reports.cut(false, vec![], at(3)).kept, [second], "not sent, so it takes in more");
        assert_eq!(reports.body(first), Some(&body[..]));
        let run = report(&reports, second).consumption[0].clone();
        assert_eq!((run.start, run.energy.iter().map(|e| e.count()).collect::<Vec<_>>()), (at(1), vec![11, 12]));
        assert!(reports.acknowledged(first) && !reports.acknowledged(first));
        assert_eq!(reports.send().map(|(n, _)| n), Some(second));
        assert_eq!(reports.cut(false, vec![], at(4)), Changes::default(), "nothing is made of nothing");
    }

    #[test]
    fn an_outage_of_days_ends_in_few_batches_and_what_does_not_fit_is_told_as_a_gap() {
        let mut reports = Reports::default();
        let mut dropped = 0;
        for n in 0..30 * 96 {
            reports.add(quarter(n, Some(1)));
            dropped += reports.cut(false, vec![], at(n + 1)).dropped.len();
        }
        assert!(reports.len() <= 9, "{}", reports.len());
        assert!(dropped > 15);
        let bytes: usize = reports.batches().map(|q| q.body.len()).sum();
        assert!(bytes < REPORT_QUEUE_BYTES_MAX);
        // Every quarter is told once: as energy or as gap.
        let mut told = vec![0; 30 * 96];
        reports.cut(true, vec![], at(30 * 96));
        for queued in reports.batches() {
            let report = Report::decode(&queued.body).unwrap();
            for run in report.consumption.iter() {
                let first = (run.start.seconds() - T0) / 900;
                (first..first + run.energy.len() as u64).for_each(|n| told[n as usize] += 1);
            }
            for gap in report.gaps.iter() {
                assert_eq!(gap.reason, GapReason::Dropped);
                ((gap.start.seconds() - T0) / 900..(gap.end.seconds() - T0) / 900).for_each(|n| told[n as usize] += 1);
            }
        }
        assert!(told.iter().all(|n| *n == 1), "{told:?}");
    }

    fn appliance(number: usize) -> ApplianceReport {
        ApplianceReport {
            id: format!("2fac1234-31f8-41b4-a222-0800{number:08x}").parse().unwrap(),
            name: utility_wire::Text::cut(&"a name of many words ".repeat(6)),
            state: Some(energy_model::PowerState::On),
            since: at(0),
            power: Some(energy_model::Watts::new(u32::MAX)),
            rated: Some(energy_model::Watts::new(u32::MAX)),
            importance: Some(energy_model::Importance::High),
            flexibility: Some(energy_model::Flexibility::Interruptible),
            consents: true,
        }
    }

    #[test]
    fn a_home_of_five_hundred_appliances_is_told_whole_and_only_the_last_part_says_so() {
        let mut reports = Reports::default();
        let all: Vec<_> = (0..500).map(appliance).collect();
        for (number, a) in all.iter().enumerate() {
            for n in 0..if number == 0 { 200 } else { 30 } {
                reports.add(Closed { start: at(n), energy: vec![(a.id.clone(), Some(WattHours::new(50_000)))] });
            }
        }
        let kept = reports.cut(true, all.clone(), at(200)).kept;
        let parts: Vec<_> = kept.iter().map(|batch| report(&reports, *batch)).collect();
        assert!(kept.iter().all(|batch| reports.body(*batch).unwrap().len() <= REPORT_BYTES_MAX));
        let told: Vec<_> = parts.iter().flat_map(|part| part.appliances.to_vec()).collect();
        assert_eq!(told, all);
        let quarters: usize = parts.iter().flat_map(|part| part.consumption.to_vec()).map(|run| run.energy.len()).sum();
        let dropped = parts.iter().flat_map(|part| part.gaps.to_vec()).count();
        assert_eq!((quarters, dropped), (499 * 30 + 200, 0));
        let complete: Vec<_> = parts.iter().map(|part| part.complete).collect();
        assert!(complete.ends_with(&[false, true]) && complete.iter().filter(|c| **c).count() == 1, "{complete:?}");
        // What the utility deletes goes by their common time: nothing that comes later changes it.
        assert!(parts.iter().all(|part| part.made == at(200)));
        let later = reports.cut(false, vec![appliance(0)], at(201)).kept;
        assert!(!kept.contains(&later[0]) && report(&reports, *kept.last().unwrap()) == *parts.last().unwrap());
    }

    #[test]
    fn a_batch_comes_back_from_the_store_under_its_number_and_the_next_is_above_it() {
        let mut reports = Reports::default();
        reports.add(quarter(0, None));
        let batch = reports.cut(false, vec![], at(1)).kept[0];
        let body = reports.body(batch).unwrap().to_vec();
        let mut again = Reports::default();
        again.restore(batch, &body).unwrap();
        assert_eq!(again.restore(batch + 1, &body), None);
        assert_eq!(again.send(), Some((batch, body)));
        // The clock went back: the number does not.
        assert_eq!(again.cut(true, vec![], at(0)).kept, [batch + 1]);
        assert_eq!(report(&again, batch).gaps[0].reason, GapReason::NoReading);
    }
}
