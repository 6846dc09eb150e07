//! `hegctl rule`: its command line, and the rule it means.

use std::str::FromStr;
use std::time::Duration;

use clap::builder::TypedValueParser;
use clap::{Args, Subcommand, ValueEnum, value_parser};
use daemon_kit::clock::next_occurrence;
use energy_model::daytime::TimeError;
use energy_model::{DailyWindow, Flexibility, Importance};
use heg::limits::{PLAN_ENERGY_WH_MAX, PLAN_WATTS_MAX};
use heg::rules::form::{Kind, RuleForm};
use heg::rules::load::PhaseForm;
use heg::rules::window::{Days, Window};
use heg::rules::{Consent, OptOut, RuleId};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::args::Time;
use crate::since::{Since, SinceError};

#[derive(Debug, Subcommand)]
pub(crate) enum RuleCommand {
    /// List the rules
    List {
        /// Only those about this appliance
        #[arg(long, value_name = "ID")]
        appliance: Option<String>,
    },
    /// Make a rule about an appliance, or about `all`
    Add(Add),
    /// Remove a rule
    Remove {
        /// Its number, as shown by `rule list`
        rule: RuleId,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Add {
    /// Name, UDN or its beginning; `all` for every appliance
    pub(crate) id: String,
    #[command(subcommand)]
    pub(crate) what: What,
    /// It ends after this: 90s, 30m, 2h, 7d
    #[arg(long, global = true, value_name = "SPAN", value_parser = span, conflicts_with = "until")]
    r#for: Option<Duration>,
    /// It ends then: 07:30, 2h, a date, or a date with a time
    #[arg(long, global = true, value_name = "WHEN")]
    until: Option<When>,
    /// It begins then
    #[arg(long, global = true, value_name = "WHEN")]
    from: Option<When>,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum What {
    /// What the gateway may do on its own account
    Plan {
        /// no: nothing; limits: switch it off where a limit leaves no room; yes: plan it by price, time and importance too
        consent: ConsentWord,
    },
    /// What may be done with its work, instead of what it says itself
    Kind {
        /// Fixed: nothing; Curtailable: switch it off; StandbyAble: send it to standby; Interruptible: it takes energy with pauses;
        /// Deferrable: its cycle begins later and is not interrupted
        kind: Flexibility,
        /// Deferrable: the steps of its cycle, each how long and its power in W: 15m:2000 50m:150 10m:600
        #[arg(value_name = "TIME:WATTS")]
        phases: Vec<Step>,
    },
    /// Its cycle runs, or its energy is taken, once a day between START and STOP
    EveryDay {
        /// Not before
        start: Time,
        /// Done by then; before START means on the next day
        stop: Time,
        /// On these days, by when it begins: mon-fri, sat,sun [default: every day]
        #[arg(long)]
        days: Option<Days>,
        /// For what takes energy with pauses: how much, Wh
        #[arg(long, value_name = "WH", allow_negative_numbers = true, value_parser = from_to(1, PLAN_ENERGY_WH_MAX))]
        energy: Option<u32>,
    },
    /// How important it is: Critical, High, Normal or Low
    Importance {
        /// The class
        class: Importance,
    },
    /// It does not run above this price
    PriceMax {
        /// Per kWh, in the tariff's currency
        #[arg(allow_negative_numbers = true)]
        price: f64,
    },
    /// It runs every day from START to STOP and not outside
    Only {
        /// From
        start: Time,
        /// To; before START means on the next day
        stop: Time,
        /// On these days, by when it begins: mon-fri, sat,sun [default: every day]
        #[arg(long)]
        days: Option<Days>,
    },
    /// It is not switched off between START and STOP
    KeepOn {
        /// From
        start: Time,
        /// To; before START means on the next day
        stop: Time,
        /// On these days, by when it begins: mon-fri, sat,sun [default: every day]
        #[arg(long)]
        days: Option<Days>,
    },
    /// It draws so much while on, instead of what it says itself
    Power {
        /// W
        #[arg(allow_negative_numbers = true, value_parser = from_to(1, PLAN_WATTS_MAX))]
        watts: u32,
    },
    /// It draws so much while off or in standby
    RestPower {
        /// W
        #[arg(allow_negative_numbers = true, value_parser = from_to(0, PLAN_WATTS_MAX))]
        watts: u32,
    },
    /// Once on it stays on for so long, instead of what it says itself
    MinimumOn {
        /// 90s, 30m, 2h
        #[arg(value_parser = span)]
        time: Duration,
    },
    /// Once off it stays off for so long, instead of what it says itself
    MinimumOff {
        /// 90s, 30m, 2h
        #[arg(value_parser = span)]
        time: Duration,
    },
    /// A start costs so much: it is not switched on and off for less
    StartCost {
        /// In the tariff's currency
        #[arg(allow_negative_numbers = true)]
        price: f64,
    },
    /// Its cycle runs once, and is over at --until
    Run,
    /// It takes so much energy once, until --until
    Charge {
        /// Wh
        #[arg(allow_negative_numbers = true, value_parser = from_to(1, PLAN_ENERGY_WH_MAX))]
        energy: u32,
    },
    /// It is left out of the plan, of the utility's orders, or of both
    OptOut {
        /// Of what
        #[arg(default_value = "all")]
        of: OptOutWord,
    },
    /// It is on, whatever the plan says (two hours if no end is given)
    On,
    /// It is off, whatever the plan says (two hours if no end is given)
    Off,
}

/// A step of a cycle, `15m:2000`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Step(PhaseForm);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected how long, in whole minutes, and the power in W: 15m:2000, 1h:150")]
pub(crate) struct StepError;

impl FromStr for Step {
    type Err = StepError;
    fn from_str(s: &str) -> Result<Self, StepError> {
        let (time, watts) = s.split_once(':').ok_or(StepError)?;
        let seconds = span(time).map_err(|_| StepError)?.as_secs();
        let minutes = u32::try_from(seconds / 60).map_err(|_| StepError)?;
        match watts.parse() {
            Ok(watts) if seconds % 60 == 0 => Ok(Self(PhaseForm { minutes, watts })),
            _ => Err(StepError),
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ConsentWord {
    No,
    Limits,
    Yes,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum OptOutWord {
    Plan,
    Utility,
    All,
}

/// A moment ahead.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum When {
    /// The next time clocks show this.
    Time(Time),
    /// A span from now on, a date, a date with a time, or an RFC 3339 moment.
    Other(Since),
}

impl FromStr for When {
    type Err = WhenError;
    fn from_str(s: &str) -> Result<Self, WhenError> {
        s.parse().map(Self::Time).or_else(|_| s.parse().map(Self::Other)).map_err(|_: SinceError| WhenError)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 07:30, 30m, 2h, 7d, a date (2026-11-22), or a date with a time (2026-11-22T07:30)")]
pub(crate) struct WhenError;

impl When {
    fn moment(self, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, jiff::Error> {
        match self {
            Self::Time(Time(time)) => Ok(next_occurrence(time.seconds_since_midnight(), zone, now)),
            Self::Other(Since::Ago(span)) => now.checked_add(span),
            Self::Other(since) => since.moment(now, zone),
        }
    }
}

fn span(text: &str) -> Result<Duration, SinceError> {
    match text.parse()? {
        Since::Ago(span) => Ok(span),
        Since::Local(_) | Since::Moment(_) => Err(SinceError),
    }
}

/// A number within bounds, which are named where it is not; a minus is read as one.
fn from_to(least: u32, most: u32) -> impl TypedValueParser<Value = u32> {
    value_parser!(u32).range(i64::from(least)..=i64::from(most))
}

fn window(start: Time, stop: Time, days: Option<Days>) -> Result<Window, TimeError> {
    Ok(Window { daily: DailyWindow::new(start.0, stop.0)?, days: days.unwrap_or(Days::ALL) })
}

/// How long an order holds when nobody says otherwise.
const ORDER: Duration = Duration::from_secs(7200);

impl Add {
    /// The body of `POST /v1/rules`.
    pub(crate) fn form(&self, now: Timestamp, zone: &TimeZone) -> anyhow::Result<RuleForm> {
        let (kind, window) = match self.what {
            What::Plan { .. } => (Kind::Plan, None),
            What::Kind { .. } => (Kind::Kind, None),
            What::EveryDay { start, stop, days, .. } => (Kind::EveryDay, Some(window(start, stop, days)?)),
            What::Importance { .. } => (Kind::Importance, None),
            What::PriceMax { .. } => (Kind::PriceMax, None),
            What::Only { start, stop, days } => (Kind::Only, Some(window(start, stop, days)?)),
            What::KeepOn { start, stop, days } => (Kind::KeepOn, Some(window(start, stop, days)?)),
            What::Power { .. } => (Kind::Power, None),
            What::RestPower { .. } => (Kind::RestPower, None),
            What::MinimumOn { .. } => (Kind::MinimumOn, None),
            What::MinimumOff { .. } => (Kind::MinimumOff, None),
            What::StartCost { .. } => (Kind::StartCost, None),
            What::Run => (Kind::Run, None),
            What::Charge { .. } => (Kind::Charge, None),
            What::OptOut { .. } => (Kind::OptOut, None),
            What::On => (Kind::On, None),
            What::Off => (Kind::Off, None),
        };
        let order = matches!(kind, Kind::On | Kind::Off).then_some(ORDER).filter(|_| self.until.is_none());
        let from = self.from.map(|from| from.moment(now, zone)).transpose()?;
        let begins = from.unwrap_or(now);
        let until = match (self.r#for.or(order), self.until) {
            (Some(span), _) => Some(begins.checked_add(span)?),
            (None, until) => until.map(|until| until.moment(now, zone)).transpose()?,
        };
        let mut form = RuleForm {
            appliance: (self.id != "all").then(|| self.id.clone()),
            window,
            from: from.map(|at| at.to_string()),
            until: until.map(|at| at.to_string()),
            ..RuleForm::new(kind)
        };
        match self.what {
            What::Plan { consent: ConsentWord::No } => form.plan = Some(Consent::No),
            What::Plan { consent: ConsentWord::Limits } => form.plan = Some(Consent::Limits),
            What::Plan { consent: ConsentWord::Yes } => form.plan = Some(Consent::Yes),
            What::Kind { kind, ref phases } => {
                form.flexibility = Some(kind);
                form.phases = phases.iter().map(|step| step.0).collect();
            }
            What::EveryDay { energy, .. } => form.energy_wh = energy,
            What::Importance { class } => form.importance = Some(class),
            What::PriceMax { price } | What::StartCost { price } => form.price = Some(price),
            What::Power { watts } | What::RestPower { watts } => form.watts = Some(watts),
            What::MinimumOn { time } | What::MinimumOff { time } => {
                form.seconds = Some(u32::try_from(time.as_secs()).unwrap_or(u32::MAX));
            }
            What::Charge { energy } => form.energy_wh = Some(energy),
            What::OptOut { of: OptOutWord::Plan } => form.of = Some(OptOut::Plan),
            What::OptOut { of: OptOutWord::Utility } => form.of = Some(OptOut::Utility),
            What::OptOut { of: OptOutWord::All } => form.of = Some(OptOut::All),
            _ => {}
        }
        Ok(form)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Args, Command};

    fn form(line: &str) -> Result<String, String> {
        let args = Args::try_parse_from(line.split(' ')).map_err(|e| e.to_string())?;
        let Command::Rule { rule: RuleCommand::Add(add) } = args.command else { panic!("{line}") };
        let now = "2026-11-27T12:00:00Z".parse().unwrap();
        let form = add.form(now, &TimeZone::UTC).map_err(|e| e.to_string())?;
        Ok(serde_json::to_string(&form).unwrap())
    }

    #[test]
    fn a_rule_is_what_its_line_says() {
        for (line, want) in [
            ("hegctl rule add tv plan yes", r#"{"kind":"plan","appliance":"tv","plan":"yes"}"#),
            ("hegctl rule add all price-max -0.05", r#"{"kind":"price-max","price":-0.05}"#),
            ("hegctl rule add tv on", r#"{"kind":"on","appliance":"tv","until":"2026-11-27T14:00:00Z"}"#),
            ("hegctl rule add tv off --for 30m", r#"{"kind":"off","appliance":"tv","until":"2026-11-27T12:30:00Z"}"#),
            (
                "hegctl rule add car charge 8000 --until 07:30",
                r#"{"kind":"charge","appliance":"car","energy-wh":8000,"until":"2026-11-28T07:30:00Z"}"#,
            ),
            (
                "hegctl rule add tv only 22:00 06:00",
                r#"{"kind":"only","appliance":"tv","window":{"start":"22:00:00","end":"06:00:00"}}"#,
            ),
            (
                "hegctl rule add tv keep-on 18:00 23:00 --days sat,sun",
                r#"{"kind":"keep-on","appliance":"tv","window":{"start":"18:00:00","end":"23:00:00","days":"sat,sun"}}"#,
            ),
            (
                "hegctl rule add washer kind Deferrable 15m:2000 1h:150",
                r#"{"kind":"kind","appliance":"washer","flexibility":"Deferrable","phases":[{"minutes":15,"watts":2000},{"minutes":60,"watts":150}]}"#,
            ),
            ("hegctl rule add tv kind StandbyAble", r#"{"kind":"kind","appliance":"tv","flexibility":"StandbyAble"}"#),
            (
                "hegctl rule add washer every-day 22:00 06:00 --days mon-fri",
                r#"{"kind":"every-day","appliance":"washer","window":{"start":"22:00:00","end":"06:00:00","days":"mon-fri"}}"#,
            ),
            (
                "hegctl rule add car every-day 18:00 07:00 --energy 8000",
                r#"{"kind":"every-day","appliance":"car","window":{"start":"18:00:00","end":"07:00:00"},"energy-wh":8000}"#,
            ),
            ("hegctl rule add tv rest-power 2", r#"{"kind":"rest-power","appliance":"tv","watts":2}"#),
            ("hegctl rule add pump power 1200", r#"{"kind":"power","appliance":"pump","watts":1200}"#),
            ("hegctl rule add pump minimum-on 10m", r#"{"kind":"minimum-on","appliance":"pump","seconds":600}"#),
            ("hegctl rule add pump minimum-off 90s", r#"{"kind":"minimum-off","appliance":"pump","seconds":90}"#),
            // What is out of bounds the gateway names.
            ("hegctl rule add pump start-cost -1", r#"{"kind":"start-cost","appliance":"pump","price":-1.0}"#),
            ("hegctl rule add pump start-cost 0.05", r#"{"kind":"start-cost","appliance":"pump","price":0.05}"#),
            (
                "hegctl rule add tv opt-out --for 7d",
                r#"{"kind":"opt-out","appliance":"tv","of":"all","until":"2026-12-04T12:00:00Z"}"#,
            ),
            (
                "hegctl rule add washer run --from 22:00 --until 2026-11-28T06:00",
                r#"{"kind":"run","appliance":"washer","from":"2026-11-27T22:00:00Z","until":"2026-11-28T06:00:00Z"}"#,
            ),
        ] {
            assert_eq!(form(line).unwrap(), want, "{line}");
        }
        for (line, want) in [
            ("hegctl rule add tv plan perhaps", "invalid value 'perhaps'"),
            ("hegctl rule add tv on --for 2h --until 07:00", "cannot be used with"),
            ("hegctl rule add tv on --until soon", "expected 07:30, 30m, 2h"),
            ("hegctl rule add tv importance low", "Critical"),
            ("hegctl rule add tv only 22:00 06:00 --days workdays", "expected days as mon, mon-fri"),
            ("hegctl rule add tv only 22:00 22:00", "end"),
            ("hegctl rule add tv kind Sometimes", "Curtailable"),
            ("hegctl rule add tv kind Deferrable 15m", "expected how long, in whole minutes, and the power in W"),
            ("hegctl rule add tv kind Deferrable 90s:100", "in whole minutes"),
            ("hegctl rule add tv kind Deferrable 15m:-3", "in whole minutes"),
            ("hegctl rule add car charge -5", "-5 is not in 1..=1000000"),
            ("hegctl rule add car every-day 22:00 06:00 --energy -5", "-5 is not in 1..=1000000"),
            ("hegctl rule add tv power 0", "0 is not in 1..=90000"),
            ("hegctl rule add tv rest-power -1", "-1 is not in 0..=90000"),
            ("hegctl rule add tv every-day 22:00", "<STOP>"),
            ("hegctl rule add tv", "Usage"),
        ] {
            let error = form(line).unwrap_err();
            assert!(error.contains(want), "{line}: {error}");
        }
    }
}
