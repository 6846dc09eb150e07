//! Homes as the utility knows them: who they are, what they told, when they were last heard.
#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

use energy_model::{Flexibility, Importance, PowerState, Watts};
use utility_wire::{ApplianceId, Report, UnixTime, ZoneId};

use crate::limits::{LATE_AFTER_PERIODS, LOST_AFTER_PERIODS, REPORT_AHEAD_S_MAX};

/// A home: the UUID of its gateway, in lower case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteId(Box<str>);

/// A text that is no UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the UUID of a gateway, as 2fac1234-31f8-41b4-a222-08002b34c003")]
pub struct SiteIdError;

impl SiteId {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SiteId {
    type Err = SiteIdError;
    fn from_str(s: &str) -> Result<Self, SiteIdError> {
        let fits = s.len() == 36
            && s.bytes().enumerate().all(|(i, b)| match i {
                8 | 13 | 18 | 23 => b == b'-',
                _ => b.is_ascii_hexdigit(),
            });
        if fits { Ok(Self(s.to_ascii_lowercase().into())) } else { Err(SiteIdError) }
    }
}

impl fmt::Display for SiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for SiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Which.
    pub id: SiteId,
    /// Name for people; may be empty.
    pub name: String,
    /// Whose prices hold.
    pub zone: ZoneId,
    /// Where it hangs in the grid: `north/feeder-7/t3`.
    pub group: ZoneId,
    /// When it was taken up.
    pub added: UnixTime,
    /// When its gateway was last heard.
    pub last_contact: Option<UnixTime>,
    /// When it last reported.
    pub last_report: Option<UnixTime>,
}

/// An appliance of a home, as last reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appliance {
    /// Which.
    pub id: ApplianceId,
    /// Name for people.
    pub name: String,
    /// `None`: unknown, which is not OFF.
    pub state: Option<PowerState>,
    /// Since when.
    pub since: UnixTime,
    /// What it draws.
    pub power: Option<Watts>,
    /// What it draws at most.
    pub rated: Option<Watts>,
    /// How much it matters.
    pub importance: Option<Importance>,
    /// How far its work can be moved.
    pub flexibility: Option<Flexibility>,
    /// Whether direct control is allowed.
    pub consents: bool,
}

/// How long ago a home was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Contact {
    /// It never was.
    Never,
    /// As often as it should.
    Live,
    /// A report or two are missing.
    Late,
    /// Not for long.
    Lost,
}

impl Contact {
    /// For a home last heard at `last`, that should be heard every `period_s`.
    pub fn of(last: Option<UnixTime>, period_s: u32, now: UnixTime) -> Self {
        let Some(last) = last else { return Self::Never };
        let silent = now.seconds().saturating_sub(last.seconds());
        let period = u64::from(period_s.max(1));
        if silent < period * LATE_AFTER_PERIODS {
            Self::Live
        } else if silent < period * LOST_AFTER_PERIODS {
            Self::Late
        } else {
            Self::Lost
        }
    }

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Live => "live",
            Self::Late => "late",
            Self::Lost => "lost",
        }
    }
}

/// Why a report is not taken though it was understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// It speaks of a time that has not come.
    #[error("the report speaks of {0} s from now: is the gateway's clock right?")]
    Future(u64),
    /// A gap that ends before it begins.
    #[error("a gap ends before it begins")]
    Gap,
}

/// Whether a report makes sense at `now`.
///
/// # Errors
/// See [`ReportError`].
pub fn examine(report: &Report, now: UnixTime) -> Result<(), ReportError> {
    if report.gaps.iter().any(|gap| gap.end <= gap.start) {
        return Err(ReportError::Gap);
    }
    let ends = report
        .consumption
        .iter()
        .map(|run| run.start.plus(run.energy.len() as u64 * u64::from(run.interval.seconds())))
        .chain(report.gaps.iter().map(|gap| gap.end));
    let ahead = ends.map(|end| end.seconds().saturating_sub(now.seconds())).max().unwrap_or(0);
    if ahead > REPORT_AHEAD_S_MAX { Err(ReportError::Future(ahead)) } else { Ok(()) }
}

/// How long from `now` until the home's own second of the period comes, at least a quarter of it away: homes that start
/// together after a power cut do not stay together.
pub fn until_next(site: &SiteId, period_s: u32, now: UnixTime) -> u32 {
    let period = u64::from(period_s.max(1));
    let phase = u64::from(utility_wire::phase_s(site.as_str(), period_s));
    let wait = (phase + period - now.seconds() % period) % period;
    let wait = if wait < period / 4 { wait + period } else { wait };
    u32::try_from(wait.max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use energy_model::WattHours;
    use utility_wire::{Consumption, Gap, GapReason, IntervalLength, List};

    use super::*;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::new(1_800_000_000 + seconds)
    }

    #[test]
    fn a_site_is_the_uuid_of_its_gateway_in_lower_case() {
        let id: SiteId = "2FAC1234-31F8-41B4-A222-08002B34C003".parse().unwrap();
        assert_eq!(id.as_str(), "2fac1234-31f8-41b4-a222-08002b34c003");
        for bad in ["", "uuid:2fac1234-31f8-41b4-a222-08002b34c003", "2fac1234-31f8-41b4-a222-08002b34c00g"] {
            assert_eq!(bad.parse::<SiteId>(), Err(SiteIdError), "{bad}");
        }
    }

    #[test]
    fn a_home_is_late_after_two_periods_and_lost_after_twelve() {
        let contact = |silent| Contact::of(Some(at(0)), 300, at(silent));
        assert_eq!(contact(599), Contact::Live);
        assert_eq!((contact(600), contact(3599), contact(3600)), (Contact::Late, Contact::Late, Contact::Lost));
        assert_eq!(Contact::of(None, 300, at(0)), Contact::Never);
        assert_eq!(Contact::of(Some(at(9)), 300, at(0)), Contact::Live, "the wall clock went back");
    }

    #[test]
    fn a_report_from_the_future_or_with_a_gap_turned_round_is_not_taken() {
        let run = Consumption {
            of: None,
            start: at(0),
            interval: IntervalLength::new(900).unwrap(),
            energy: List::fill([WattHours::new(1); 4]),
        };
        let gap = Gap { of: None, start: at(0), end: at(900), reason: GapReason::Off };
        let report = |consumption, gaps| Report {
            batch: 1,
            made: at(0),
            complete: false,
            appliances: List::empty(),
            consumption: List::fill([consumption]),
            gaps: List::fill([gaps]),
            decisions: List::empty(),
        };
        assert_eq!(examine(&report(run.clone(), gap.clone()), at(0)), Ok(()));
        let later = Consumption { start: at(1), ..run.clone() };
        assert_eq!(examine(&report(later, gap.clone()), at(0)), Err(ReportError::Future(3601)));
        let turned = Gap { end: at(0), ..gap };
        assert_eq!(examine(&report(run, turned), at(0)), Err(ReportError::Gap));
    }

    #[test]
    fn homes_that_start_together_do_not_stay_together() {
        let mut per_tenth = [0u32; 10];
        for i in 0..10_000u32 {
            let site: SiteId = format!("2fac1234-31f8-41b4-a222-{i:012x}").parse().unwrap();
            let wait = until_next(&site, 300, at(0));
            assert!((75..375).contains(&wait), "{wait}");
            let due = at(wait.into());
            // From then on it keeps its second of the period.
            assert_eq!(until_next(&site, 300, due), 300);
            per_tenth[(due.seconds() % 300 / 30) as usize] += 1;
        }
        assert!(per_tenth.iter().all(|n| n.abs_diff(1000) < 120), "{per_tenth:?}");
    }
}
