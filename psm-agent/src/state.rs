//! Fuses facts about the machine and its operation into one power state (PURE).
//!
//! In: [`Fact`]s, each stamped on CLOCK_BOOTTIME where it was learned, from any number of sources and in any order.
//! Out: [`Change`]s of the power state, in order and without repeats.
//!
//! What is known is kept in registers: does the machine sleep and is it going down, each as the kernel tells it and as the
//! others (logind, the service manager) do, and does the operation run. In each the newest stamp wins, so that two sources that
//! tell of the same suspend make one change, and a fact that arrives late changes nothing that a newer one already settled.
//! The power state is a function of them:
//!
//! | going down | asleep | operation | state |
//! |---|---|---|---|
//! | yes | - | - | OFF |
//! | no | yes | - | Standby |
//! | no | no | off | OFF |
//! | no | no | on, or not known | ON |
//!
//! **Asleep** is what the kernel says, or else what logind says. logind announces early and calls off late: seconds pass between
//! the kernel's thaw and `PrepareForSleep(false)`. So the kernel's thaw ends logind's sleep too, if the sleep it ends was
//! logind's (made by systemd-sleep); an announcement that comes only after the sleep it belongs to is over begins none. A sleep
//! that somebody else makes while logind prepares one leaves logind's announcement standing.
#![forbid(unsafe_code)]

use core::fmt;
use core::time::Duration;
use std::collections::VecDeque;

use energy_model::PowerState;
use serde::Serialize;
use upnp::time::BootTime;

use crate::kernel::Deed;
use crate::limits::ORDER_EXPLAINS_CHANGE_WITHIN;

/// Who told of a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The probe in the kernel.
    Kernel,
    /// systemd-logind's signals.
    Logind,
    /// The operation driver.
    Operation,
    /// The service manager, when it stops the agent.
    ServiceManager,
    /// The agent itself, by running when it should not.
    Agent,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kernel => "kernel",
            Self::Logind => "logind",
            Self::Operation => "operation",
            Self::ServiceManager => "service manager",
            Self::Agent => "the agent itself",
        })
    }
}

/// Whether the appliance's work runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// It runs.
    On,
    /// It does not.
    Off,
    /// The driver cannot tell. The machine is up, so the appliance counts as ON.
    #[default]
    Unknown,
}

/// What was observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation {
    /// The machine is about to sleep, or sleeps.
    SleepBegins,
    /// The machine is awake again, or did not fall asleep after all.
    SleepEnds,
    /// The kernel's word that it sleeps is taken back: this process runs, and has for too long.
    SleepDoubted,
    /// The machine is about to power off, halt or restart.
    ShutdownBegins,
    /// It stays up after all.
    ShutdownCancelled,
    /// The driver looked at the operation.
    Operation(Operation),
}

/// An observation with its time and source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fact {
    /// When it was so, on CLOCK_BOOTTIME.
    pub at: BootTime,
    /// Who told.
    pub source: Source,
    /// What.
    pub what: Observation,
    /// What a process asked of the kernel, where the kernel told it.
    pub deed: Option<Deed>,
}

impl Fact {
    /// A fact from a source that does not know whose doing it is.
    pub fn new(at: BootTime, source: Source, what: Observation) -> Self {
        Self { at, source, what, deed: None }
    }
}

/// On whose behalf the agent itself gave an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asked {
    /// A control point, by the UUID it gave.
    Command(String),
    /// A StandbyPeriod, by its RegID.
    Schedule(u32),
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(caller) => write!(f, "command of {caller}"),
            Self::Schedule(reg_id) => write!(f, "StandbyPeriod {reg_id}"),
        }
    }
}

/// Why the power state changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// Who told of it first.
    pub source: Source,
    /// The order of ours it follows from; none when a person or another program did it.
    pub asked: Option<Asked>,
    /// What a process asked of the kernel, where the kernel told of it first.
    pub deed: Option<Deed>,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.asked, self.deed, self.source) {
            (Some(asked), _, source) => write!(f, "{asked}, seen by {source}"),
            (None, Some(deed), source) => write!(f, "{deed}, seen by {source}"),
            (None, None, Source::Logind) => f.write_str("through logind, seen by logind"),
            (None, None, source) => write!(f, "local, seen by {source}"),
        }
    }
}

/// A change of the power state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// When, on CLOCK_BOOTTIME; never before the change before it.
    pub at: BootTime,
    /// The state left.
    pub from: PowerState,
    /// The state entered.
    pub to: PowerState,
    /// Why.
    pub cause: Cause,
}

/// A value and the time it is known to hold from.
#[derive(Clone, Copy, Debug, Default)]
struct Register<T> {
    value: T,
    at: Option<BootTime>,
}

impl<T: Copy + PartialEq> Register<T> {
    /// Takes the value unless a newer one is known. At the same stamp the later arrival wins. True if it was taken.
    fn set(&mut self, value: T, at: BootTime) -> bool {
        let newer = self.at.is_none_or(|known| known <= at);
        if newer {
            *self = Self { value, at: Some(at) };
        }
        newer
    }
}

/// Whether the machine sleeps, as kernel and logind tell it.
#[derive(Debug, Default)]
struct Sleep {
    kernel: Register<bool>,
    /// The kernel's sleep is of logind's making.
    by_logind: bool,
    logind: Register<bool>,
    /// The sleep logind announced is over: the kernel said so.
    over: bool,
    /// A sleep of logind's making came before its announcement.
    unannounced: bool,
}

impl Sleep {
    fn is_asleep(&self) -> bool {
        self.kernel.value || (self.logind.value && !self.over)
    }

    fn kernel_says(&mut self, asleep: bool, by_logind: bool, at: BootTime) {
        let was = self.kernel.value;
        if !self.kernel.set(asleep, at) {
            return;
        }
        match (was, asleep) {
            (false, true) => {
                self.by_logind = by_logind;
                self.unannounced = by_logind && !self.logind.value;
            }
            // Where the beginning was not seen it was logind's, if logind had announced one.
            (_, false) if self.logind.value && (self.by_logind || !was) => self.over = true,
            _ => {}
        }
    }

    fn logind_says(&mut self, asleep: bool, at: BootTime) {
        if !self.logind.set(asleep, at) {
            return;
        }
        // logind's own suspend failed before anything was frozen, and so has no thaw.
        if !asleep && self.by_logind && !self.over {
            self.kernel.value = false;
        }
        self.over = asleep && self.unannounced && !self.kernel.value;
        self.unannounced = false;
    }

    /// The stamp stays that of the word taken back: whatever the kernel said after it counts.
    fn doubt_kernel(&mut self) {
        self.kernel.value = false;
    }
}

/// Whether the machine is going down, as the kernel and others tell it.
#[derive(Debug, Default)]
struct GoingDown {
    kernel: Register<bool>,
    /// Process whose call of reboot(2) it is.
    caller: Option<u32>,
    others: Register<bool>,
}

impl GoingDown {
    fn is_going_down(&self) -> bool {
        self.kernel.value || self.others.value
    }

    /// A call that failed takes back only itself.
    fn kernel_says(&mut self, down: bool, caller: Option<u32>, at: BootTime) {
        if (down || caller == self.caller) && self.kernel.set(down, at) {
            self.caller = caller;
        }
    }

    fn others_say(&mut self, down: bool, at: BootTime) {
        self.others.set(down, at);
    }
}

/// An order of ours that may explain the next change.
#[derive(Clone, Debug)]
struct Given {
    at: BootTime,
    leads_to: PowerState,
    asked: Asked,
}

/// The fused power state.
#[derive(Debug)]
pub struct StateMachine {
    sleep: Sleep,
    going_down: GoingDown,
    operation: Register<Operation>,
    reported: PowerState,
    since: BootTime,
    given: Option<Given>,
    changes: VecDeque<Change>,
}

impl StateMachine {
    /// A machine that is awake, with an operation nobody has looked at yet.
    pub fn new(now: BootTime) -> Self {
        Self {
            sleep: Sleep::default(),
            going_down: GoingDown::default(),
            operation: Register::default(),
            reported: PowerState::On,
            since: now,
            given: None,
            changes: VecDeque::new(),
        }
    }

    /// Takes a fact from a source.
    pub fn handle_fact(&mut self, fact: Fact) {
        let Fact { at, source, what, deed } = fact;
        let kernel = source == Source::Kernel;
        let by_logind = deed.is_some_and(|d| d.is_by_logind());
        match what {
            Observation::SleepBegins if kernel => self.sleep.kernel_says(true, by_logind, at),
            Observation::SleepEnds if kernel => self.sleep.kernel_says(false, by_logind, at),
            Observation::SleepDoubted => self.sleep.doubt_kernel(),
            Observation::SleepBegins => self.sleep.logind_says(true, at),
            Observation::SleepEnds => self.sleep.logind_says(false, at),
            Observation::ShutdownBegins if kernel => self.going_down.kernel_says(true, deed.map(|d| d.pid), at),
            Observation::ShutdownCancelled if kernel => self.going_down.kernel_says(false, deed.map(|d| d.pid), at),
            Observation::ShutdownBegins => self.going_down.others_say(true, at),
            Observation::ShutdownCancelled => self.going_down.others_say(false, at),
            Observation::Operation(seen) => self.sees(seen, at),
        }
        let to = self.fused();
        if to == self.reported {
            return;
        }
        let at = at.max(self.since);
        // What we order goes by logind or the driver; what another process does at the same time is its own.
        let may_be_ours = deed.is_none_or(|d| d.is_by_logind());
        let explains = |g: &mut Given| g.leads_to == to && at.since(g.at) <= ORDER_EXPLAINS_CHANGE_WITHIN;
        let asked = self.given.take_if(|g| may_be_ours && explains(g));
        let cause = Cause { source, asked: asked.map(|g| g.asked), deed };
        self.changes.push_back(Change { at, from: self.reported, to, cause });
        self.reported = to;
        self.since = at;
    }
    /// Notes that the agent gave an order that should lead to `leads_to`, so that the change it brings has a name.
    pub fn handle_order(&mut self, leads_to: PowerState, asked: Asked, now: BootTime) {
        self.given = Some(Given { at: now, leads_to, asked });
    }

    /// The next change not yet taken.
    pub fn poll_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    /// The power state now.
    pub fn state(&self) -> PowerState {
        self.reported
    }

    /// For how long the power state has held.
    pub fn held_for(&self, now: BootTime) -> Duration {
        now.since(self.since)
    }

    /// When the power state was entered.
    pub fn since(&self) -> BootTime {
        self.since
    }

    /// What the operation driver last saw.
    pub fn operation(&self) -> Operation {
        self.operation.value
    }

    /// Whether the machine is asleep or about to be.
    pub fn is_asleep(&self) -> bool {
        self.sleep.is_asleep()
    }

    /// Whether the kernel's last word is that the machine sleeps.
    pub fn kernel_says_asleep(&self) -> bool {
        self.sleep.kernel.value
    }

    /// Whether logind's last word is that the machine sleeps: until it takes that back it takes no new order and no lock.
    pub fn logind_says_asleep(&self) -> bool {
        self.sleep.logind.value
    }

    /// Whether the machine is going down.
    pub fn is_going_down(&self) -> bool {
        self.going_down.is_going_down()
    }

    fn sees(&mut self, operation: Operation, at: BootTime) {
        self.operation.set(operation, at);
    }

    fn fused(&self) -> PowerState {
        match (self.is_going_down(), self.is_asleep(), self.operation.value) {
            (true, _, _) => PowerState::Off,
            (false, true, _) => PowerState::Standby,
            (false, false, Operation::Off) => PowerState::Off,
            (false, false, Operation::On | Operation::Unknown) => PowerState::On,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn t(ms: u64) -> BootTime {
        BootTime::from_duration(Duration::from_millis(ms))
    }

    fn fact(ms: u64, source: Source, what: Observation) -> Fact {
        Fact::new(t(ms), source, what)
    }

    fn states(facts: impl IntoIterator<Item = Fact>) -> Vec<(u64, PowerState)> {
        let mut machine = StateMachine::new(BootTime::ZERO);
        facts.into_iter().for_each(|f| machine.handle_fact(f));
        std::iter::from_fn(|| machine.poll_change()).map(|c| (c.at.since_boot().as_millis() as u64, c.to)).collect()
    }

    #[test]
    fn a_suspend_is_standby_and_the_operation_decides_after_it() {
        use Observation::*;
        let changes = states([
            fact(1, Source::Operation, Observation::Operation(super::Operation::Off)),
            fact(5, Source::Logind, SleepBegins),
            fact(90, Source::Logind, SleepEnds),
        ]);
        assert_eq!(changes, [(1, PowerState::Off), (5, PowerState::Standby), (90, PowerState::Off)]);
    }

    #[test]
    fn two_sources_that_tell_of_the_same_suspend_make_one_change() {
        use Observation::*;
        let changes = states([
            fact(5, Source::Logind, SleepBegins),
            fact(7, Source::ServiceManager, SleepBegins),
            fact(90, Source::ServiceManager, SleepEnds),
            fact(93, Source::Logind, SleepEnds),
        ]);
        assert_eq!(changes, [(5, PowerState::Standby), (90, PowerState::On)]);
    }

    #[test]
    fn a_late_report_of_a_suspend_that_is_over_changes_nothing() {
        use Observation::*;
        assert_eq!(states([fact(90, Source::Logind, SleepEnds), fact(5, Source::Operation, SleepBegins)]), []);
    }

    #[test]
    fn going_down_beats_sleep_until_it_is_called_off() {
        use Observation::*;
        let changes = states([
            fact(5, Source::Logind, ShutdownBegins),
            fact(6, Source::Logind, SleepBegins),
            fact(7, Source::Logind, SleepEnds),
            fact(8, Source::Logind, ShutdownCancelled),
        ]);
        assert_eq!(changes, [(5, PowerState::Off), (8, PowerState::On)]);
    }

    #[test]
    fn an_operation_that_stops_while_the_machine_sleeps_shows_on_waking() {
        use Observation::*;
        let changes = states([
            fact(5, Source::Logind, SleepBegins),
            fact(6, Source::Operation, Observation::Operation(super::Operation::Off)),
            fact(9, Source::Logind, SleepEnds),
        ]);
        assert_eq!(changes, [(5, PowerState::Standby), (9, PowerState::Off)]);
    }

    #[test]
    fn a_change_that_follows_an_order_names_who_asked_and_a_later_one_does_not() {
        let mut machine = StateMachine::new(BootTime::ZERO);
        machine.handle_order(PowerState::Standby, Asked::Command("gw".into()), t(1));
        machine.handle_fact(fact(50, Source::Logind, Observation::SleepBegins));
        machine.handle_fact(fact(60, Source::Logind, Observation::SleepEnds));
        machine.handle_fact(fact(70, Source::Logind, Observation::SleepBegins));
        let causes: Vec<_> = std::iter::from_fn(|| machine.poll_change()).map(|c| c.cause.asked).collect();
        assert_eq!(causes, [Some(Asked::Command("gw".into())), None, None]);
    }

    #[test]
    fn an_order_long_past_explains_nothing() {
        let mut machine = StateMachine::new(BootTime::ZERO);
        machine.handle_order(PowerState::Standby, Asked::Schedule(3), t(1));
        let late = t(2) + ORDER_EXPLAINS_CHANGE_WITHIN;
        machine.handle_fact(Fact::new(late, Source::Logind, Observation::SleepBegins));
        assert_eq!(machine.poll_change().unwrap().cause.asked, None);
    }

    fn deed(name: &str, pid: u32) -> Option<Deed> {
        let record = psm_event::Record {
            boot_ns: 0,
            kind: psm_event::Kind::SuspendEnter as u16,
            begins: 1,
            value: 3,
            pid,
            comm: core::array::from_fn(|i| name.as_bytes().get(i).copied().unwrap_or_default()),
            lost: 0,
        };
        crate::kernel::fact(&record).unwrap().deed
    }

    fn kernel(ms: u64, what: Observation, name: &str) -> Fact {
        Fact { deed: deed(name, 812), ..fact(ms, Source::Kernel, what) }
    }

    const LOGINDS: &str = "systemd-sleep";

    #[test]
    fn a_suspend_that_bypasses_logind_is_told_with_who_did_it_and_over_with_the_thaw() {
        let mut machine = StateMachine::new(BootTime::ZERO);
        machine.handle_fact(kernel(5, Observation::SleepBegins, "rtcwake"));
        machine.handle_fact(kernel(6, Observation::SleepBegins, "rtcwake"));
        machine.handle_fact(kernel(90, Observation::SleepEnds, "rtcwake"));
        machine.handle_fact(kernel(91, Observation::SleepEnds, "rtcwake"));
        let changes: Vec<_> = std::iter::from_fn(|| machine.poll_change()).collect();
        assert_eq!(changes.iter().map(|c| c.to).collect::<Vec<_>>(), [PowerState::Standby, PowerState::On]);
        assert_eq!(changes[0].cause.to_string(), "direct, suspend to memory by rtcwake (pid 812), seen by kernel");
    }

    #[test]
    fn logind_announces_the_kernel_ends_and_loginds_late_end_changes_nothing() {
        use Observation::*;
        let changes = states([
            fact(5, Source::Logind, SleepBegins),
            kernel(900, SleepBegins, LOGINDS),
            kernel(5000, SleepEnds, LOGINDS),
            fact(6800, Source::Logind, SleepEnds),
        ]);
        assert_eq!(changes, [(5, PowerState::Standby), (5000, PowerState::On)]);
    }

    #[test]
    fn an_announcement_that_comes_when_its_sleep_is_over_begins_none() {
        use Observation::*;
        let changes = states([
            kernel(5, SleepBegins, LOGINDS),
            kernel(90, SleepEnds, LOGINDS),
            fact(95, Source::Logind, SleepBegins),
            fact(99, Source::Logind, SleepEnds),
            fact(200, Source::Logind, SleepBegins),
        ]);
        assert_eq!(changes, [(5, PowerState::Standby), (90, PowerState::On), (200, PowerState::Standby)]);
    }

    #[test]
    fn loginds_late_end_does_not_end_the_next_sleep() {
        use Observation::*;
        let changes = states([
            fact(5, Source::Logind, SleepBegins),
            kernel(10, SleepBegins, LOGINDS),
            kernel(90, SleepEnds, LOGINDS),
            kernel(95, SleepBegins, "sh"),
            fact(96, Source::Logind, SleepEnds),
            kernel(300, SleepEnds, "sh"),
        ]);
        let wanted = [(5, PowerState::Standby), (90, PowerState::On), (95, PowerState::Standby), (300, PowerState::On)];
        assert_eq!(changes, wanted);
    }

    #[test]
    fn a_sleep_of_anothers_making_leaves_loginds_announcement_standing() {
        use Observation::*;
        let changes = states([
            fact(5, Source::Logind, SleepBegins),
            kernel(10, SleepBegins, "sh"),
            kernel(90, SleepEnds, "sh"),
            kernel(95, SleepBegins, LOGINDS),
            kernel(300, SleepEnds, LOGINDS),
            fact(310, Source::Logind, SleepEnds),
        ]);
        assert_eq!(changes, [(5, PowerState::Standby), (300, PowerState::On)]);
    }

    #[test]
    fn suspend_then_hibernate_is_awake_between_the_two() {
        use Observation::*;
        let changes = states([
            fact(5, Source::Logind, SleepBegins),
            kernel(10, SleepBegins, LOGINDS),
            kernel(90, SleepEnds, LOGINDS),
            kernel(92, SleepBegins, LOGINDS),
            kernel(300, SleepEnds, LOGINDS),
            fact(310, Source::Logind, SleepEnds),
        ]);
        let wanted = [(5, PowerState::Standby), (90, PowerState::On), (92, PowerState::Standby), (300, PowerState::On)];
        assert_eq!(changes, wanted);
    }

    #[test]
    fn a_thaw_whose_beginning_was_lost_ends_loginds_sleep() {
        use Observation::*;
        let changes = states([fact(5, Source::Logind, SleepBegins), kernel(90, SleepEnds, "kworker/0:1")]);
        assert_eq!(changes, [(5, PowerState::Standby), (90, PowerState::On)]);
    }

    #[test]
    fn loginds_suspend_that_fails_before_the_freeze_ends_with_loginds_word() {
        use Observation::*;
        let changes = states([
            fact(5, Source::Logind, SleepBegins),
            kernel(10, SleepBegins, LOGINDS),
            fact(40, Source::Logind, SleepEnds),
            // A real one afterwards, by somebody else.
            kernel(90, SleepBegins, "sh"),
            kernel(95, SleepEnds, "sh"),
        ]);
        let wanted = [(5, PowerState::Standby), (40, PowerState::On), (90, PowerState::Standby), (95, PowerState::On)];
        assert_eq!(changes, wanted);
    }

    #[test]
    fn a_doubt_takes_back_the_kernels_word_and_no_later_one_and_not_loginds() {
        use Observation::*;
        let doubt = |ms| fact(ms, Source::Agent, SleepDoubted);
        let late = states([
            kernel(5, SleepBegins, "sh"),
            doubt(20_000),
            // It had begun to freeze before the doubt, and is read only now.
            kernel(19_990, SleepBegins, "sh"),
            kernel(90_000, SleepEnds, "sh"),
        ]);
        let wanted = [
            (5, PowerState::Standby),
            (20_000, PowerState::On),
            (20_000, PowerState::Standby),
            (90_000, PowerState::On),
        ];
        assert_eq!(late, wanted);
        let loginds = states([fact(5, Source::Logind, SleepBegins), kernel(9, SleepBegins, LOGINDS), doubt(20_000)]);
        assert_eq!(loginds, [(5, PowerState::Standby)]);
    }

    #[test]
    fn what_another_does_after_our_order_is_not_put_down_to_us() {
        let mut machine = StateMachine::new(BootTime::ZERO);
        machine.handle_order(PowerState::Standby, Asked::Command("gw".into()), t(1));
        machine.handle_fact(kernel(9, Observation::SleepBegins, "rtcwake"));
        assert!(machine.poll_change().unwrap().cause.to_string().starts_with("direct, "));
    }

    #[test]
    fn a_call_of_reboot_that_fails_takes_back_only_itself() {
        let down = |ms, what, pid| Fact { deed: deed("reboot", pid), ..fact(ms, Source::Kernel, what) };
        use Observation::*;
        let changes = states([
            down(5, ShutdownBegins, 7),
            down(6, ShutdownCancelled, 8),
            down(9, ShutdownCancelled, 7),
            fact(10, Source::Logind, ShutdownBegins),
            down(11, ShutdownCancelled, 7),
        ]);
        assert_eq!(changes, [(5, PowerState::Off), (9, PowerState::On), (10, PowerState::Off)]);
    }

    #[test]
    fn our_own_order_is_named_whoever_sees_it_first() {
        for first in [fact(9, Source::Logind, Observation::SleepBegins), kernel(9, Observation::SleepBegins, LOGINDS)] {
            let mut machine = StateMachine::new(BootTime::ZERO);
            machine.handle_order(PowerState::Standby, Asked::Command("gw".into()), t(1));
            machine.handle_fact(first);
            let cause = machine.poll_change().unwrap().cause.to_string();
            assert_eq!(cause, format!("command of gw, seen by {}", first.source));
        }
    }

    /// A sleep as the kernel makes it and logind may tell it: the facts in the order they arrive.
    #[derive(Clone, Debug)]
    struct Night {
        by_logind: bool,
        /// logind's announcement is read only after the thaw.
        announced_late: bool,
        /// logind's end is read only in the next night, once that has begun.
        ended_late: bool,
        /// How many records say that it sleeps.
        records: u64,
    }

    fn any_night() -> impl Strategy<Value = Night> {
        (any::<bool>(), any::<bool>(), any::<bool>(), 1..5_u64).prop_map(
            |(by_logind, announced_late, ended_late, records)| Night { by_logind, announced_late, ended_late, records },
        )
    }

    /// The reference: sort what was seen by its stamp and read the table in the head of this file.
    fn reference(facts: &[Fact]) -> PowerState {
        let mut sorted = facts.to_vec();
        sorted.sort_by_key(|f| f.at);
        let last = |wanted: fn(Observation) -> bool| sorted.iter().rev().map(|f| f.what).find(|w| wanted(*w));
        let down = last(|w| matches!(w, Observation::ShutdownBegins | Observation::ShutdownCancelled));
        let sleep = last(|w| matches!(w, Observation::SleepBegins | Observation::SleepEnds));
        let operation = last(|w| matches!(w, Observation::Operation(_)));
        if down == Some(Observation::ShutdownBegins) {
            PowerState::Off
        } else if sleep == Some(Observation::SleepBegins) {
            PowerState::Standby
        } else if operation == Some(Observation::Operation(Operation::Off)) {
            PowerState::Off
        } else {
            PowerState::On
        }
    }

    fn any_fact() -> impl Strategy<Value = Fact> {
        let what = prop_oneof![
            Just(Observation::SleepBegins),
            Just(Observation::SleepEnds),
            Just(Observation::ShutdownBegins),
            Just(Observation::ShutdownCancelled),
            Just(Observation::Operation(Operation::On)),
            Just(Observation::Operation(Operation::Off)),
            Just(Observation::Operation(Operation::Unknown)),
        ];
        let source = prop_oneof![Just(Source::Logind), Just(Source::Operation), Just(Source::ServiceManager)];
        (0..40u64, source, what).prop_map(|(ms, source, what)| fact(ms, source, what))
    }

    proptest! {
        #[test]
        fn every_sleep_is_told_once_whatever_logind_says_and_when(nights in prop::collection::vec(any_night(), 1..12)) {
            use Observation::*;
            let mut facts = Vec::new();
            let mut owed_end = false;
            let mut ms = 0;
            let mut at = || { ms += 10; ms };
            for night in &nights {
                let name = if night.by_logind { LOGINDS } else { "sh" };
                // Two of logind's own do not overlap: it ends one before it announces the next.
                if owed_end && night.by_logind {
                    facts.push(fact(at(), Source::Logind, SleepEnds));
                    owed_end = false;
                }
                if night.by_logind && !night.announced_late {
                    facts.push(fact(at(), Source::Logind, SleepBegins));
                }
                for _ in 0..night.records {
                    facts.push(kernel(at(), SleepBegins, name));
                }
                if core::mem::take(&mut owed_end) {
                    facts.push(fact(at(), Source::Logind, SleepEnds));
                }
                facts.push(kernel(at(), SleepEnds, name));
                if night.by_logind && night.announced_late {
                    facts.push(fact(at(), Source::Logind, SleepBegins));
                }
                if night.by_logind && night.ended_late {
                    owed_end = true;
                } else if night.by_logind {
                    facts.push(fact(at(), Source::Logind, SleepEnds));
                }
            }
            let told: Vec<_> = states(facts).into_iter().map(|(_, state)| state).collect();
            let wanted: Vec<_> = nights.iter().flat_map(|_| [PowerState::Standby, PowerState::On]).collect();
            prop_assert_eq!(told, wanted);
        }

        #[test]
        fn any_order_of_arrival_ends_where_the_sorted_facts_end(facts in prop::collection::vec(any_fact(), 0..60)) {
            let mut machine = StateMachine::new(BootTime::ZERO);
            for seen in 1..=facts.len() {
                machine.handle_fact(facts[seen - 1]);
                prop_assert_eq!(machine.state(), reference(&facts[..seen]));
            }
            let mut before = (BootTime::ZERO, PowerState::On);
            while let Some(change) = machine.poll_change() {
                prop_assert_eq!(change.from, before.1);
                prop_assert_ne!(change.from, change.to);
                prop_assert!(change.at >= before.0);
                before = (change.at, change.to);
            }
            prop_assert_eq!(machine.state(), before.1);
        }
    }
}
