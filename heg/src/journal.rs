//! What the gateway did, saw and refused, and why: the journal's words. Writing them down is the store's.
#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

use energy_model::RegId;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use upnp::ids::Udn;
use utility_wire::EventId;

use crate::now::local;
use crate::rules::RuleId;

/// Who or what a thing happened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// A person or program at the control socket, by user id (SO_PEERCRED).
    Person(u32),
    /// The appliance itself, by an event or a call.
    Appliance,
    /// A registration of an appliance or a person, by RegID: its time has come, or it stands in the way.
    Registration(RegId),
    /// A limit or control of the utility's, by its number.
    Utility(EventId),
    /// The plan: a price.
    Price,
    /// The plan: a window or deadline of the person's.
    Window,
    /// The plan: minimum times, a running cycle, what was planned before.
    Plan,
    /// The home's fuse or contract: it leaves no room, or has room again.
    Fuse,
    /// The failsafe limit: the utility is not heard, or has not spoken since the start.
    Failsafe,
    /// A rule of a person's.
    Rule(RuleId),
    /// The gateway on its own account: contact lost, restart.
    Gateway,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person(uid) => write!(f, "person:{uid}"),
            Self::Appliance => f.write_str("appliance"),
            Self::Registration(reg) => write!(f, "registration:{reg}"),
            Self::Utility(id) => write!(f, "utility:{id}"),
            Self::Price => f.write_str("price"),
            Self::Window => f.write_str("window"),
            Self::Plan => f.write_str("plan"),
            Self::Fuse => f.write_str("fuse"),
            Self::Failsafe => f.write_str("failsafe"),
            Self::Rule(id) => write!(f, "rule:{id}"),
            Self::Gateway => f.write_str("gateway"),
        }
    }
}

impl Cause {
    /// Its kind in one word, for what counts causes.
    pub fn word(self) -> &'static str {
        match self {
            Self::Person(_) => "person",
            Self::Appliance => "appliance",
            Self::Registration(_) => "registration",
            Self::Utility(_) => "utility",
            Self::Price => "price",
            Self::Window => "window",
            Self::Plan => "plan",
            Self::Fuse => "fuse",
            Self::Failsafe => "failsafe",
            Self::Rule(_) => "rule",
            Self::Gateway => "gateway",
        }
    }
}

/// A text that is no [`Cause`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected appliance, gateway, price, window, plan, fuse, failsafe, person:UID, registration:REGID, rule:ID or utility:ID"
)]
pub struct CauseError;

impl FromStr for Cause {
    type Err = CauseError;
    fn from_str(s: &str) -> Result<Self, CauseError> {
        match s.split_once(':') {
            None if s == "appliance" => Ok(Self::Appliance),
            None if s == "gateway" => Ok(Self::Gateway),
            None if s == "price" => Ok(Self::Price),
            None if s == "window" => Ok(Self::Window),
            None if s == "plan" => Ok(Self::Plan),
            None if s == "fuse" => Ok(Self::Fuse),
            None if s == "failsafe" => Ok(Self::Failsafe),
            Some(("rule", id)) => id.parse().map(Self::Rule).map_err(|_| CauseError),
            Some(("person", uid)) => uid.parse().map(Self::Person).map_err(|_| CauseError),
            Some(("utility", id)) => id.parse().map(Self::Utility).map_err(|_| CauseError),
            Some(("registration", reg)) => reg.parse().map(Self::Registration).map_err(|_| CauseError),
            _ => Err(CauseError),
        }
    }
}

/// An action for people: the moment of `plan start MOMENT`, which the journal has in UTC, is local.
pub fn action_words(action: &str, zone: &TimeZone) -> String {
    let start = action.strip_prefix("plan start ").and_then(|at| at.parse::<Timestamp>().ok());
    start.map_or_else(|| action.to_owned(), |at| format!("plan start {}", local(at, zone)))
}

/// How a thing ended, in one word for the journal, the API and scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// Seen, not caused: a state told by an appliance, a loss of contact.
    Observed,
    /// Done and confirmed by the appliance.
    Done,
    /// Nothing was to be done.
    Already,
    /// The appliance refused with a UPnPError 800-899.
    Refused,
    /// The gateway did not send it, because a registration forbids it.
    Declined,
    /// The appliance could not be reached until the deadline.
    Unreachable,
    /// Sent, and not confirmed until the deadline.
    TimedOut,
    /// The appliance answered with another fault, or with nonsense.
    Failed,
    /// A later order took its place.
    Superseded,
    /// A registration was taken up.
    Registered,
    /// A registration was withdrawn.
    Withdrawn,
    /// Decided by plan or rule; what comes of it follows.
    Decided,
    /// Work that was left undone.
    Dropped,
}

const ENDINGS: [(Ending, &str); 13] = [
    (Ending::Observed, "observed"),
    (Ending::Done, "done"),
    (Ending::Already, "already"),
    (Ending::Refused, "refused"),
    (Ending::Declined, "declined"),
    (Ending::Unreachable, "unreachable"),
    (Ending::TimedOut, "timed-out"),
    (Ending::Failed, "failed"),
    (Ending::Superseded, "superseded"),
    (Ending::Registered, "registered"),
    (Ending::Withdrawn, "withdrawn"),
    (Ending::Decided, "decided"),
    (Ending::Dropped, "dropped"),
];

impl Ending {
    /// The word.
    pub fn as_str(self) -> &'static str {
        ENDINGS.iter().find(|(e, _)| *e == self).map_or("failed", |(_, word)| word)
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Ending {
    type Err = EndingError;
    fn from_str(s: &str) -> Result<Self, EndingError> {
        ENDINGS.iter().find(|(_, word)| *word == s).map(|(e, _)| *e).ok_or(EndingError)
    }
}

/// A text that is no [`Ending`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not one of the journal's endings")]
pub struct EndingError;

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When, UTC, to the millisecond.
    pub at: Timestamp,
    /// Whose matter it is; none for the gateway's own.
    pub udn: Option<Udn>,
    /// What: an action by its UPnP name with its values (`WakeUpTime 06:30:00`), `wake`, or `PowerState ON`.
    pub action: Box<str>,
    /// For whom.
    pub cause: Cause,
    /// How it ended.
    pub ending: Ending,
    /// Why, for people; may be empty.
    pub reason: Box<str>,
}

impl Entry {
    /// Writes it to the log, each part as a field of its own. What is logged anyway as it happens (changes of state, the planner's decisions)
    /// is left out.
    pub fn log(&self) {
        let logged = self.ending == Ending::Decided
            || ["PowerState ", "plan without "].iter().any(|a| self.action.starts_with(a));
        if logged {
            return;
        }
        let udn = self.udn.as_ref().map(Udn::as_str);
        let (action, cause, outcome, reason) = (&*self.action, &self.cause, self.ending.as_str(), &*self.reason);
        tracing::info!(udn, action, %cause, outcome, reason, "journal");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_and_endings_survive_the_round_trip_through_their_text() {
        let reg = RegId::new(7).unwrap();
        let event = EventId::new(9).unwrap();
        for cause in
            [Cause::Person(1000), Cause::Appliance, Cause::Registration(reg), Cause::Utility(event), Cause::Gateway]
                .into_iter()
                .chain([Cause::Price, Cause::Window, Cause::Plan, Cause::Fuse, Cause::Failsafe])
                .chain([RuleId::Made(3), RuleId::Config(1)].map(Cause::Rule))
        {
            assert_eq!(cause.to_string().parse(), Ok(cause));
        }
        for bad in
            ["", "person", "person:-1", "registration:0", "gateway:1", "people:1", "utility:0", "rule:0", "rule:x1"]
        {
            assert_eq!(bad.parse::<Cause>(), Err(CauseError), "{bad:?}");
        }
        for (ending, word) in ENDINGS {
            assert_eq!(ending.as_str(), word);
            assert_eq!(word.parse(), Ok(ending));
        }
    }
}
