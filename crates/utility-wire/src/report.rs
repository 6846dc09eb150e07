//! What a home tells: its appliances, their states, and what was used.

use energy_model::{Flexibility, Importance, PowerState, WattHours, Watts};

use crate::limits::{
    APPLIANCES_MAX, DECISION_REASON_BYTES_MAX, DECISIONS_MAX, GAPS_MAX, INTERVALS_MAX, METERS_MAX, NAME_BYTES_MAX,
    WORD_BYTES_MAX,
};
use crate::{ApplianceId, IntervalLength, List, Text, UnixTime};

record! {
    /// A batch of news. The gateway keeps it until it is answered, and sends it again under the same number as often as it takes.
    pub struct Report {
        /// Number of the batch, growing; the same number is the same batch.
        pub batch: u64,
        /// When it was put together.
        pub made: UnixTime,
        /// Whether `appliances`, with those of reports made in the same second, are all the home has: those not named are gone.
        pub complete: bool,
        /// Appliances whose facts changed, or all of them.
        pub appliances: List<ApplianceReport, APPLIANCES_MAX>,
        /// What was used, a run of intervals for each meter.
        pub consumption: List<Consumption, METERS_MAX>,
        /// Times of which nothing is known or will be.
        pub gaps: List<Gap, GAPS_MAX>,
        /// What was decided at home, oldest first; only of appliances whose people let the utility control them.
        pub decisions: List<DecisionReport, DECISIONS_MAX>,
    }
}

record! {
    /// An appliance as it is.
    pub struct ApplianceReport {
        /// Which.
        pub id: ApplianceId,
        /// Its name for people.
        pub name: Text<NAME_BYTES_MAX>,
        /// Its state; `None`: unknown, which is not OFF.
        pub state: Option<PowerState>,
        /// Since when.
        pub since: UnixTime,
        /// What it draws now.
        pub power: Option<Watts>,
        /// What it draws at most.
        pub rated: Option<Watts>,
        /// How much it matters.
        pub importance: Option<Importance>,
        /// How far its work can be moved.
        pub flexibility: Option<Flexibility>,
        /// Whether the people at home let the utility control it directly.
        pub consents: bool,
    }
}

record! {
    /// What was decided about an appliance at home, or came of it, in the words of the home's journal.
    pub struct DecisionReport {
        /// When.
        pub at: UnixTime,
        /// About which appliance.
        pub of: ApplianceId,
        /// What: `plan off`, `OperationOff`, `control Standby`.
        pub action: Text<WORD_BYTES_MAX>,
        /// By which input: `price`, `window`, `utility:7`, `rule:3`, `registration:12`, `person`.
        pub cause: Text<WORD_BYTES_MAX>,
        /// How it ended: `decided`, `done`, `refused`, `declined` and so on.
        pub outcome: Text<WORD_BYTES_MAX>,
        /// Why, for people.
        pub reason: Text<DECISION_REASON_BYTES_MAX>,
    }
}

record! {
    /// Energy used in consecutive intervals of one length.
    pub struct Consumption {
        /// Of an appliance; `None`: of the whole home.
        pub of: Option<ApplianceId>,
        /// Start of the first interval.
        pub start: UnixTime,
        /// Length of each.
        pub interval: IntervalLength,
        /// Energy of each.
        pub energy: List<WattHours, INTERVALS_MAX>,
    }
}

record! {
    /// A time whose consumption is lost.
    pub struct Gap {
        /// Of an appliance; `None`: of the whole home.
        pub of: Option<ApplianceId>,
        /// From.
        pub start: UnixTime,
        /// To just before.
        pub end: UnixTime,
        /// Why.
        pub reason: GapReason,
    }
}

numbered! {
    /// Why consumption is lost.
    pub enum GapReason {
        /// The gateway was off.
        Off = 1,
        /// The meter or appliance did not answer.
        NoReading = 2,
        /// The gateway could not keep it any longer: the utility was away too long.
        Dropped = 3,
    }
}

numbered! {
    /// What became of a report.
    pub enum BatchState {
        /// It is stored for good.
        Stored = 1,
        /// That batch was stored before.
        Duplicate = 2,
    }
}

record! {
    /// Answer to a report; only now may the gateway forget the batch.
    pub struct ReportAnswer {
        /// The batch answered.
        pub batch: u64,
        /// What became of it.
        pub state: BatchState,
        /// The gateway's next report is welcome after so many seconds; urgent state changes come at once all the same.
        pub report_after_s: u32,
    }
}
