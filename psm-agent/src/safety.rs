//! Decides whether an order may be carried out (PURE).
//!
//! In: the order, the rules of the configuration, and the facts as they are now. Out: nothing, or a [`Refusal`] with its kind
//! and a reason a person can read. Every order passes here, whether it comes by UPnP or from a StandbyPeriod.
//!
//! | rule | On | Off | Standby |
//! |---|---|---|---|
//! | minimum on time | | x | x |
//! | minimum off time | x | | |
//! | no-standby window | | x | x |
//! | busy unit | | x | x |
//! | battery level | x | | x |
//! | block inhibitor | | machine | x |
//! | active session | | machine | x |
//! | can be woken (when asked for) | | machine | x |
//! | logind can do it | | machine | x |
//!
//! *machine*: only where OFF means powering the machine off.
#![forbid(unsafe_code)]

use core::fmt;
use core::time::Duration;

use energy_model::{DailyWindow, PowerState, RefusalKind, TimeOfDay};
use energy_services::errors::Refusal;

/// What the appliance is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Start the operation.
    On,
    /// Stop the operation.
    Off,
    /// Put the machine to sleep.
    Standby,
}

impl Order {
    /// The state it leads to.
    pub const fn leads_to(self) -> PowerState {
        match self {
            Self::On => PowerState::On,
            Self::Off => PowerState::Off,
            Self::Standby => PowerState::Standby,
        }
    }

    /// Table I's name of the action.
    pub const fn action(self) -> &'static str {
        match self {
            Self::On => "OperationOn",
            Self::Off => "OperationOff",
            Self::Standby => "GoToStandby",
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.action())
    }
}

/// The rules of `[safety]` and `[schedule]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Once on, it stays on for so long.
    pub minimum_on: Duration,
    /// Once off or asleep, it stays so for so long.
    pub minimum_off: Duration,
    /// Refuse while a block inhibitor is held.
    pub heed_inhibitors: bool,
    /// Refuse while a user's session is active and not idle.
    pub heed_sessions: bool,
    /// Refuse on battery below so many percent; 0 never.
    pub battery_percent_min: u8,
    /// Refuse standby where nothing could wake the machine.
    pub require_wake: bool,
    /// Windows in which the appliance is wanted.
    pub no_standby: Vec<DailyWindow>,
}

/// Something learned from outside, or the reason why it could not be.
pub type Known<T> = Result<T, String>;

/// A lock that some program holds (logind, `ListInhibitors`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inhibitor {
    /// Colon-separated: `sleep`, `shutdown`, `idle`, ...
    pub what: String,
    /// The program, for people.
    pub who: String,
    /// Its reason, for people.
    pub why: String,
    /// `block`, `block-weak` or `delay`.
    pub mode: String,
}

/// A user's session that is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveSession {
    /// logind's session id.
    pub id: String,
    /// The user's name.
    pub user: String,
}

/// How the machine is fed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Supply {
    /// No mains supply is online.
    pub on_battery: bool,
    /// Charge of the least charged battery, 0 to 100.
    pub percent: Option<u8>,
}

/// Everything an order is judged by.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Power state now.
    pub state: PowerState,
    /// For how long it has been working (ON) or not working (OFF, Standby).
    pub held_for: Duration,
    /// Whether OFF powers the machine off.
    pub off_is_power_off: bool,
    /// The clock on the wall.
    pub local_time: TimeOfDay,
    /// Locks held.
    pub inhibitors: Known<Vec<Inhibitor>>,
    /// Sessions in use.
    pub sessions: Known<Vec<ActiveSession>>,
    /// Units of `busy-units` that are running.
    pub busy: Known<Vec<String>>,
    /// Mains or battery.
    pub supply: Supply,
    /// logind's answer to CanSuspend (Standby) or CanPowerOff (Off of a machine): `yes`, `no`, `na`, `challenge`, ...
    pub possible: Known<String>,
    /// The network can wake it.
    pub network_wakes: bool,
    /// A wake alarm will be set for the end of this standby.
    pub alarm_wakes: bool,
}

/// Judges `order`.
///
/// # Errors
/// The first rule that forbids it, in the order of the table above.
pub fn judge(order: Order, rules: &Rules, facts: &Facts) -> Result<(), Refusal> {
    let working = facts.state == PowerState::On;
    let sleeps_or_powers_off = order == Order::Standby || (order == Order::Off && facts.off_is_power_off);
    let stops_work = order != Order::On;
    if stops_work && working && facts.held_for < rules.minimum_on {
        let reason = format!("on for {}; the minimum on time is {}", Span(facts.held_for), Span(rules.minimum_on));
        return refuse(RefusalKind::MinimumOnTime, reason);
    }
    if order == Order::On && !working && facts.held_for < rules.minimum_off {
        let reason = format!("off for {}; the minimum off time is {}", Span(facts.held_for), Span(rules.minimum_off));
        return refuse(RefusalKind::MinimumOffTime, reason);
    }
    if stops_work && let Some(window) = rules.no_standby.iter().find(|w| w.contains(facts.local_time)) {
        return refuse(
            RefusalKind::NoStandbyWindow,
            format!("wanted every day from {} to {}", window.start(), window.end()),
        );
    }
    if stops_work {
        match &facts.busy {
            Ok(units) if units.is_empty() => {}
            Ok(units) => return refuse(RefusalKind::BusyUnit, format!("{} is running", units.join(", "))),
            Err(e) => return refuse(RefusalKind::BusyUnit, format!("cannot tell whether a busy unit is running: {e}")),
        }
    }
    if order != Order::Off
        && facts.supply.on_battery
        && let Some(percent) = facts.supply.percent
        && percent < rules.battery_percent_min
    {
        let reason = format!("on battery at {percent} %; the least is {} %", rules.battery_percent_min);
        return refuse(RefusalKind::OnBattery, reason);
    }
    if sleeps_or_powers_off {
        judge_machine(order, rules, facts)?;
    }
    if sleeps_or_powers_off && rules.require_wake && !facts.network_wakes {
        match order {
            Order::Standby if facts.alarm_wakes => {}
            Order::Standby => {
                let reason = "neither the network nor a wake alarm could wake it".to_owned();
                return refuse(RefusalKind::NotWakeable, reason);
            }
            _ => return refuse(RefusalKind::NotWakeable, "the network could not switch it on again".to_owned()),
        }
    }
    Ok(())
}

/// The rules for what logind does to the whole machine.
fn judge_machine(order: Order, rules: &Rules, facts: &Facts) -> Result<(), Refusal> {
    let (lock, word) = if order == Order::Standby { ("sleep", "suspend") } else { ("shutdown", "power off") };
    let possible = match &facts.possible {
        Ok(answer) if answer == "na" => {
            return refuse(RefusalKind::NotSupported, format!("this machine cannot {word}"));
        }
        Ok(answer) => answer,
        Err(e) => return refuse(RefusalKind::NotSupported, format!("cannot {word} without logind: {e}")),
    };
    if rules.heed_inhibitors {
        match &facts.inhibitors {
            Ok(locks) => {
                let blocks = |l: &&Inhibitor| l.mode.starts_with("block") && l.what.split(':').any(|what| what == lock);
                if let Some(l) = locks.iter().find(blocks) {
                    return refuse(RefusalKind::BlockInhibitor, format!("{} holds a lock: {}", l.who, l.why));
                }
            }
            Err(e) => return refuse(RefusalKind::BlockInhibitor, format!("cannot read the locks held: {e}")),
        }
    }
    if rules.heed_sessions {
        match &facts.sessions {
            Ok(sessions) => {
                if let Some(s) = sessions.first() {
                    return refuse(RefusalKind::ActiveSession, format!("{} is using it (session {})", s.user, s.id));
                }
            }
            Err(e) => return refuse(RefusalKind::ActiveSession, format!("cannot read the sessions: {e}")),
        }
    }
    // Last, because logind also says no when a lock is held, and the lock's holder is the better reason.
    if possible != "yes" {
        return refuse(RefusalKind::NotSupported, format!("logind does not let this program {word}: {possible}"));
    }
    Ok(())
}

fn refuse(kind: RefusalKind, reason: String) -> Result<(), Refusal> {
    Err(Refusal { kind, reason })
}

/// A duration for people: seconds below two minutes, then minutes.
struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            s if s < 120 => write!(f, "{s} s"),
            s => write!(f, "{} min", s / 60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules {
            minimum_on: Duration::from_secs(300),
            minimum_off: Duration::from_secs(60),
            heed_inhibitors: true,
            heed_sessions: true,
            battery_percent_min: 20,
            require_wake: true,
            no_standby: vec!["22:00:00-06:00:00".parse().unwrap()],
        }
    }

    /// Facts under which everything is allowed.
    fn quiet() -> Facts {
        Facts {
            state: PowerState::On,
            held_for: Duration::from_secs(3600),
            off_is_power_off: false,
            local_time: "12:00:00".parse().unwrap(),
            inhibitors: Ok(vec![]),
            sessions: Ok(vec![]),
            busy: Ok(vec![]),
            supply: Supply::default(),
            possible: Ok("yes".into()),
            network_wakes: true,
            alarm_wakes: false,
        }
    }

    fn refused(order: Order, facts: &Facts) -> (RefusalKind, String) {
        let refusal = judge(order, &rules(), facts).unwrap_err();
        (refusal.kind, refusal.reason)
    }

    #[test]
    fn a_quiet_machine_obeys_everything() {
        for order in [Order::On, Order::Off, Order::Standby] {
            assert_eq!(judge(order, &rules(), &quiet()).map_err(|r| r.reason), Ok(()));
        }
    }

    #[test]
    fn a_block_lock_for_sleep_refuses_standby_and_names_its_holder() {
        let lock =
            Inhibitor { what: "idle:sleep".into(), who: "apt".into(), why: "upgrade".into(), mode: "block".into() };
        let facts = Facts { inhibitors: Ok(vec![lock.clone()]), ..quiet() };
        assert_eq!(refused(Order::Standby, &facts), (RefusalKind::BlockInhibitor, "apt holds a lock: upgrade".into()));
        assert!(judge(Order::Off, &rules(), &facts).is_ok(), "stopping the operation is not sleep");
        let delay = Facts { inhibitors: Ok(vec![Inhibitor { mode: "delay".into(), ..lock.clone() }]), ..quiet() };
        assert!(judge(Order::Standby, &rules(), &delay).is_ok());
        let other = Facts { inhibitors: Ok(vec![Inhibitor { what: "shutdown".into(), ..lock }]), ..quiet() };
        assert!(judge(Order::Standby, &rules(), &other).is_ok());
        assert_eq!(refused(Order::Off, &Facts { off_is_power_off: true, ..other }).0, RefusalKind::BlockInhibitor);
    }

    #[test]
    fn a_session_in_use_refuses_standby_and_names_its_user() {
        let facts = Facts { sessions: Ok(vec![ActiveSession { id: "3".into(), user: "ada".into() }]), ..quiet() };
        assert_eq!(refused(Order::Standby, &facts), (RefusalKind::ActiveSession, "ada is using it (session 3)".into()));
        assert!(judge(Order::Off, &rules(), &facts).is_ok());
        assert!(judge(Order::Standby, &Rules { heed_sessions: false, ..rules() }, &facts).is_ok());
    }

    #[test]
    fn minimum_times_count_from_the_change_of_state() {
        let young = Facts { held_for: Duration::from_secs(12), ..quiet() };
        let reason = "on for 12 s; the minimum on time is 5 min".to_owned();
        assert_eq!(refused(Order::Off, &young), (RefusalKind::MinimumOnTime, reason));
        assert_eq!(refused(Order::Standby, &young).0, RefusalKind::MinimumOnTime);
        let off = Facts { state: PowerState::Off, held_for: Duration::from_secs(12), ..quiet() };
        assert_eq!(refused(Order::On, &off).0, RefusalKind::MinimumOffTime);
        assert!(judge(Order::Standby, &rules(), &off).is_ok(), "no work is cut short");
    }

    #[test]
    fn a_no_standby_window_over_midnight_refuses_standby_and_off() {
        let night = Facts { local_time: "02:30:00".parse().unwrap(), ..quiet() };
        let reason = "wanted every day from 22:00:00 to 06:00:00".to_owned();
        assert_eq!(refused(Order::Standby, &night), (RefusalKind::NoStandbyWindow, reason));
        assert_eq!(refused(Order::Off, &night).0, RefusalKind::NoStandbyWindow);
        assert!(judge(Order::On, &rules(), &night).is_ok());
    }

    #[test]
    fn a_busy_unit_refuses_what_would_stop_it() {
        let facts = Facts { busy: Ok(vec!["backup.service".into()]), ..quiet() };
        assert_eq!(refused(Order::Off, &facts), (RefusalKind::BusyUnit, "backup.service is running".into()));
        assert!(judge(Order::On, &rules(), &facts).is_ok());
    }

    #[test]
    fn a_low_battery_refuses_standby_and_on_and_mains_does_not() {
        let low = Facts { supply: Supply { on_battery: true, percent: Some(19) }, ..quiet() };
        assert_eq!(
            refused(Order::Standby, &low),
            (RefusalKind::OnBattery, "on battery at 19 %; the least is 20 %".into())
        );
        assert_eq!(refused(Order::On, &low).0, RefusalKind::OnBattery);
        let mains = Facts { supply: Supply { on_battery: false, percent: Some(19) }, ..quiet() };
        assert!(judge(Order::Standby, &rules(), &mains).is_ok());
    }

    #[test]
    fn standby_or_a_power_off_without_a_way_back_is_refused_when_the_rules_ask_for_one() {
        let stuck = Facts { network_wakes: false, ..quiet() };
        assert_eq!(refused(Order::Standby, &stuck).0, RefusalKind::NotWakeable);
        assert!(judge(Order::Standby, &rules(), &Facts { alarm_wakes: true, ..stuck.clone() }).is_ok());
        assert!(judge(Order::Standby, &Rules { require_wake: false, ..rules() }, &stuck).is_ok());
        assert!(judge(Order::Off, &rules(), &stuck).is_ok(), "the machine stays up");
        // An alarm is set for the end of a standby only.
        let machine = Facts { off_is_power_off: true, alarm_wakes: true, ..stuck };
        assert_eq!(refused(Order::Off, &machine).0, RefusalKind::NotWakeable);
        assert!(judge(Order::Off, &Rules { require_wake: false, ..rules() }, &machine).is_ok());
    }

    #[test]
    fn without_logind_standby_is_refused_with_the_reason() {
        let facts = Facts { possible: Err("no system bus".into()), ..quiet() };
        let reason = "cannot suspend without logind: no system bus".to_owned();
        assert_eq!(refused(Order::Standby, &facts), (RefusalKind::NotSupported, reason));
        assert!(judge(Order::Off, &rules(), &facts).is_ok(), "a unit needs no logind");
        assert_eq!(
            refused(Order::Standby, &Facts { possible: Ok("na".into()), ..quiet() }).0,
            RefusalKind::NotSupported
        );
    }

    #[test]
    fn what_cannot_be_told_is_not_taken_for_safe() {
        for facts in [
            Facts { inhibitors: Err("timeout".into()), ..quiet() },
            Facts { sessions: Err("timeout".into()), ..quiet() },
            Facts { busy: Err("timeout".into()), ..quiet() },
        ] {
            assert!(judge(Order::Standby, &rules(), &facts).is_err());
        }
    }
}
