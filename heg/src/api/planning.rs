//! The control API's values about rules, plan, reasons and savings. Money is in the tariff's currency.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use upnp::ids::Udn;

use super::moment;
use crate::gateway::Gateway;
use crate::now::Now;
use crate::plan::{self, Span};
use crate::planner::{Act, Decision, PlannedLoad, Planner, Sums};
use crate::rules::form::RuleForm;
use crate::rules::precedence::Ruler;
use crate::rules::{Rule, units};

/// A rule.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RuleView {
    /// Its name: a number, or `c1` for the first of the configuration.
    pub id: String,
    /// The appliance's name; none where it is about all.
    pub name: Option<String>,
    /// What it says, as it is made by `POST /v1/rules`.
    pub rule: RuleForm,
    /// In words.
    pub words: String,
    /// Whether it holds now.
    pub holds: bool,
    /// Who made it: `config`, `person:UID`, or `hand` where it was switched by hand.
    pub by: String,
    /// When it was made; none of the configuration.
    pub made: Option<String>,
    /// In answers about one appliance: why it has no effect on that, where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_effect: Option<String>,
}

/// A stretch of time with what decided it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunView {
    /// From.
    pub start: String,
    /// To.
    pub end: String,
    /// What decided it.
    pub why: String,
}

/// A stretch of time.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SpanView {
    /// From.
    pub start: String,
    /// To.
    pub end: String,
}

/// One appliance in the plan.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LoadView {
    /// Its UDN.
    pub udn: String,
    /// Its name.
    pub name: String,
    /// When it is on.
    pub runs: Vec<RunView>,
    /// When it is off although wanted.
    pub pauses: Vec<RunView>,
    /// What that costs.
    pub cost: f64,
    /// What of its work is left undone, percent, and why.
    pub dropped: Option<(u32, String)>,
    /// Until when it is not asked again because it refused or did not answer, and what it said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unwilling: Option<(String, String)>,
    /// Who decides over it now, where that is not the plan, by docs/precedence.md.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ruler: Option<String>,
}

/// Answer of `GET /v1/plan`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlanView {
    /// When it was made; none while there is none.
    pub made: Option<String>,
    /// ISO 4217; empty while it is not known.
    pub currency: String,
    /// What all of it costs.
    pub cost: f64,
    /// How far above the least possible cost it is at most, percent; none where that is not known, as where work is left
    /// undone.
    pub gap_percent: Option<f64>,
    /// What the home may draw now, W, and why; none: no limit.
    pub limit: Option<(u32, String)>,
    /// Each appliance that is planned.
    pub loads: Vec<LoadView>,
    /// Time for which there is no price; it is planned, and counted in `cost`, as if it were the dearest that is known.
    #[serde(default)]
    pub unpriced: Vec<SpanView>,
    /// What is not well, each a sentence.
    pub troubles: Vec<String>,
}

/// A decision.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DecisionView {
    /// Its number since the daemon's start.
    pub id: u64,
    /// When.
    pub time: String,
    /// The appliance's UDN.
    pub udn: String,
    /// Its name.
    pub name: String,
    /// `on`, `off`, `start` or `drop`.
    pub act: String,
    /// For `start`: when it is to start.
    pub start: Option<String>,
    /// The kind of input that decided: `price`, `window`, `plan`, `limit`, `fuse`, `failsafe`, `rule`, `registration`, `control` (of the utility),
    /// `person`, `appliance` or `gateway`.
    pub kind: String,
    /// What decided: `price`, `window`, `rule:ID`, `utility:ID` and so on, as in the journal.
    pub cause: String,
    /// In a sentence.
    pub because: String,
    /// Against running at once, as reckoned then.
    pub saves: Option<f64>,
    /// What came of it, in one word; none while it is under way.
    pub outcome: Option<String>,
    /// Who refused: `the appliance` or `the gateway`.
    pub refused_by: Option<String>,
    /// Why, where the appliance or the gateway refused.
    pub reason: Option<String>,
    /// ISO 4217 of `saves`; empty while it is not known.
    pub currency: String,
}

/// Answer of `GET /v1/appliances/ID/why`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WhyView {
    /// Its UDN.
    pub udn: String,
    /// Its name.
    pub name: String,
    /// Whether it is on; none: unknown.
    pub on: Option<bool>,
    /// What it is to be now: `on`, `off` or `as-it-is`.
    pub wanted: String,
    /// Who decides, by docs/precedence.md.
    pub ruler: String,
    /// Why, in a sentence, and whose say ended before, where that is not long ago.
    pub because: String,
    /// Until when who decides has a say; none: not known, or without an end.
    pub until: Option<String>,
    /// What may be done with its work, and who says so; none: nobody says.
    pub kind: Option<(String, String)>,
    /// What the gateway may do on its own account: `no`, `limits` or `yes`, and who says so.
    pub consent: (String, String),
    /// Importance, and who says so.
    pub importance: (String, String),
    /// Power while on, W.
    pub power_w: u32,
    /// What keeps it from being planned.
    pub obstacle: Option<String>,
    /// Until when it is left alone because it refused or did not answer, and what it said.
    pub unwilling: Option<(String, String)>,
    /// Its place in the plan.
    pub plan: Option<LoadView>,
    /// Rules about it that hold now, the weightiest first.
    pub rules: Vec<RuleView>,
    /// The last decisions, the oldest first.
    pub decisions: Vec<DecisionView>,
}

/// Sums of a day, or of an appliance in a month.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SumsView {
    /// `2026-11-27`, or `2026-11`.
    pub when: String,
    /// The appliance's name; none for the whole home.
    pub name: Option<String>,
    /// Energy, kWh.
    pub energy_kwh: f64,
    /// What was paid.
    pub cost: f64,
    /// What it would have cost at once.
    pub at_once: f64,
    /// The difference.
    pub saved: f64,
    /// What was not used, because of the price or its hours, would have cost so much.
    pub not_used: f64,
}

/// Answer of `GET /v1/savings`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SavingsView {
    /// ISO 4217; empty while it is not known.
    pub currency: String,
    /// The home by day, the oldest first.
    pub days: Vec<SumsView>,
    /// Each appliance by month, the oldest month first.
    pub months: Vec<SumsView>,
}

fn name_of(gateway: &Gateway, udn: &Udn) -> String {
    match gateway.registry().get(udn) {
        Some(appliance) => gateway.name_of(appliance).to_owned(),
        None => udn.bare().to_owned(),
    }
}

fn instant(at: i64) -> String {
    moment(Timestamp::from_second(at).unwrap_or(Timestamp::UNIX_EPOCH))
}

impl RuleView {
    /// How a rule looks.
    pub fn new(gateway: &Gateway, rule: &Rule, now: Now) -> Self {
        let form = RuleForm::from(rule);
        Self {
            id: rule.id.to_string(),
            name: rule.appliance.as_ref().map(|udn| name_of(gateway, udn)),
            words: form.words(),
            rule: form,
            holds: rule.holds(now.wall),
            by: rule.by.to_string(),
            made: rule.made.map(moment),
            no_effect: None,
        }
    }
}

impl RunView {
    fn new(run: &plan::Run) -> Self {
        let Span { start, end } = run.span;
        Self { start: instant(start), end: instant(end), why: run.why.to_string() }
    }
}

impl SpanView {
    fn new(span: &Span) -> Self {
        Self { start: instant(span.start), end: instant(span.end) }
    }
}

impl LoadView {
    fn new(gateway: &Gateway, load: &PlannedLoad<'_>, by: Ruler) -> Self {
        Self {
            udn: load.udn.to_string(),
            name: name_of(gateway, load.udn),
            runs: load.runs.iter().map(RunView::new).collect(),
            pauses: load.pauses.iter().map(RunView::new).collect(),
            cost: units(load.cost),
            dropped: load.dropped.map(|d| (d.missing_ppm.div_ceil(10_000), d.reason.to_string())),
            unwilling: load.unwilling.map(|(until, why)| (instant(until), why.to_owned())),
            ruler: Some(by).filter(|by| !matches!(by, Ruler::Plan(_) | Ruler::Nobody)).map(|by| by.to_string()),
        }
    }
}

impl PlanView {
    /// The plan that is followed.
    pub fn new(planner: &Planner, gateway: &Gateway, now: Now) -> Self {
        let plan = planner.plan();
        let at = now.wall.as_second();
        let cap = planner.cap(at);
        let by = |udn: &Udn| planner.ruling(gateway, udn, at).by;
        Self {
            made: plan.map(|(_, made)| instant(made)),
            currency: planner.currency().to_owned(),
            cost: units(plan.map_or(0, |(plan, _)| plan.cost)),
            gap_percent: plan.and_then(|(plan, _)| plan.gap_ppm()).map(|ppm| ppm as f64 / 1e4),
            limit: cap.map(|cap| (cap.watts.count(), cap.cause.to_string())),
            loads: planner.planned().map(|load| LoadView::new(gateway, &load, by(load.udn))).collect(),
            unpriced: plan.map(|(plan, _)| plan.unpriced.iter().map(SpanView::new).collect()).unwrap_or_default(),
            troubles: planner.troubles(),
        }
    }
}

impl DecisionView {
    /// How a decision looks.
    pub fn new(planner: &Planner, gateway: &Gateway, decision: &Decision) -> Self {
        let (act, start) = match decision.act {
            Act::On => ("on", None),
            Act::Off => ("off", None),
            Act::Start(at) => ("start", Some(moment(at))),
            Act::Drop(_) => ("drop", None),
        };
        let outcome = decision.outcome.as_ref();
        Self {
            id: decision.id,
            time: moment(decision.at),
            udn: decision.udn.to_string(),
            name: name_of(gateway, &decision.udn),
            act: act.to_owned(),
            start,
            kind: decision.kind.to_owned(),
            cause: decision.cause.to_string(),
            because: decision.because.to_string(),
            saves: decision.saves.map(units),
            outcome: outcome.map(|(ending, _)| ending.to_string()),
            refused_by: decision.refused_by().map(str::to_owned),
            currency: planner.currency().to_owned(),
            reason: outcome.map(|(_, why)| why.to_string()).filter(|why| !why.is_empty()),
        }
    }
}

impl WhyView {
    /// Why an appliance is as it is; `None` while the planner has not seen it.
    pub fn new(planner: &Planner, gateway: &Gateway, udn: &Udn, now: Now) -> Option<Self> {
        let sight = planner.sight(gateway, udn, now.wall.as_second())?;
        let load = sight.load;
        let rule = |rule: &Rule| {
            let no_effect = load.kind.and_then(|(kind, _)| planner.misfit(udn, rule, kind));
            RuleView { no_effect, ..RuleView::new(gateway, rule, now) }
        };
        let wanted = match sight.ruling.on {
            Some(true) => "on",
            Some(false) => "off",
            None => "as-it-is",
        };
        Some(Self {
            udn: udn.to_string(),
            name: name_of(gateway, udn),
            on: sight.on,
            wanted: wanted.to_owned(),
            ruler: sight.ruling.by.to_string(),
            because: sight.because,
            until: sight.until.map(instant),
            kind: load.kind.map(|(kind, source)| (kind.to_string(), source.to_string())),
            consent: (load.consent.0.to_string(), load.consent.1.to_string()),
            importance: (load.importance.0.to_string(), load.importance.1.to_string()),
            power_w: load.power_w,
            obstacle: load.task.as_ref().err().map(ToString::to_string),
            unwilling: sight.unwilling.map(|(until, why)| (instant(until), why.to_owned())),
            plan: sight.plan.map(|plan| LoadView::new(gateway, &plan, sight.ruling.by)),
            rules: planner.book().of(udn, now.wall).map(rule).collect(),
            decisions: planner.decisions(udn).map(|decision| DecisionView::new(planner, gateway, decision)).collect(),
        })
    }
}

impl SavingsView {
    /// All sums that are kept.
    pub fn new(planner: &Planner, gateway: &Gateway) -> Self {
        let view = |when: &str, name, sums: &Sums| SumsView {
            when: when.to_owned(),
            name,
            energy_kwh: sums.energy_ws as f64 / 3.6e6,
            cost: units(sums.cost),
            at_once: units(sums.at_once),
            saved: units(sums.saved()),
            not_used: units(sums.not_used),
        };
        Self {
            currency: planner.currency().to_owned(),
            days: planner.days().map(|(day, sums)| view(day, None, sums)).collect(),
            months: planner.months().map(|(m, udn, sums)| view(m, Some(name_of(gateway, udn)), sums)).collect(),
        }
    }
}
