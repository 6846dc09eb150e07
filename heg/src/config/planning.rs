//! `[plan]`, `[[load]]` and `[[rule]]`: how the home is planned.

use std::time::Duration;

use energy_model::Watts;
use jiff::tz::TimeZone;
use serde::Deserialize;

use crate::envelope::Terms;
use crate::limits::{HOME_WATTS_LOW, NAMED_MAX, ORDER_S_MAX, PLAN_PRICE_MAX, PLAN_WATTS_MAX, RULES_MAX};
use crate::plan::slots::Comeback;
use crate::planner::Settings;
use crate::rules::book::Book;
use crate::rules::form::{Kind, RuleForm};
use crate::rules::load::LoadForm;

/// `[plan]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Plan {
    /// What the home draws beside the appliances the gateway knows, W.
    pub base_w: u32,
    /// What the home's fuse or contract allows, W; 0: not limited.
    pub fuse_w: u32,
    /// A plan is kept where another saves no more than this, in the tariff's currency.
    pub keep_unless_saves: f64,
    /// An appliance that was switched by hand is left so for this time, s.
    pub by_hand_s: u32,
    /// After a limit load comes back by so much a minute, W.
    pub comeback_w_per_minute: u32,
    /// For so long, s.
    pub comeback_s: u32,
    /// Whether the utility may limit what the home draws.
    pub limits: bool,
    /// What holds while the utility is not heard, where it has limited this home before, W.
    pub failsafe_w: u32,
    /// That is not given up for want of a word on limits before so long, s.
    pub failsafe_s: u32,
    /// No limit goes below this, W.
    pub floor_w: u32,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            base_w: 300,
            fuse_w: 0,
            keep_unless_saves: 0.02,
            by_hand_s: 7200,
            comeback_w_per_minute: 500,
            comeback_s: 900,
            limits: true,
            failsafe_w: HOME_WATTS_LOW,
            failsafe_s: 7200,
            floor_w: HOME_WATTS_LOW,
        }
    }
}

/// What is wrong: the key and why.
pub(super) type Wrong = (String, String);

/// Finds values out of range, loads and rules that make no sense, and what is there twice.
pub(super) fn check(plan: &Plan, loads: &[LoadForm], rules: &[RuleForm]) -> Result<(), Wrong> {
    let wrong = |key: &str, why: String| Err((key.to_owned(), why));
    if plan.base_w > PLAN_WATTS_MAX {
        return wrong("plan.base-w", format!("expected at most {PLAN_WATTS_MAX}"));
    }
    if !(0.0..=(PLAN_PRICE_MAX / 1_000_000) as f64).contains(&plan.keep_unless_saves) {
        return wrong("plan.keep-unless-saves", "expected 0 to 1000".into());
    }
    if !(60..=ORDER_S_MAX).contains(&i64::from(plan.by_hand_s)) {
        return wrong("plan.by-hand-s", format!("expected 60 to {ORDER_S_MAX}"));
    }
    if plan.comeback_w_per_minute == 0 || plan.comeback_s > 86_400 {
        return wrong("plan.comeback-w-per-minute", "expected at least 1 W, for at most 86400 s".into());
    }
    if !(7200..=86_400).contains(&plan.failsafe_s) {
        return wrong("plan.failsafe-s", "expected 7200 to 86400".into());
    }
    if loads.len() > NAMED_MAX {
        return wrong("load", format!("expected at most {NAMED_MAX}"));
    }
    let mut seen = Vec::with_capacity(loads.len());
    for load in loads {
        let settings = load.check().map_err(|e| ("load".to_owned(), format!("{}: {e}", load.udn)))?;
        if seen.contains(settings.udn()) {
            return wrong("load.udn", format!("{} is there twice", load.udn));
        }
        seen.push(settings.udn().clone());
    }
    if rules.len() > RULES_MAX {
        return wrong("rule", format!("expected at most {RULES_MAX}"));
    }
    let once = |rule: &RuleForm| matches!(rule.kind, Kind::Run | Kind::Charge | Kind::On | Kind::Off);
    if let Some(rule) = rules.iter().find(|rule| once(rule)) {
        return wrong(
            "rule.kind",
            format!("{} is said once, with hegctl; every day is `every-day` of [[load]]", rule.kind),
        );
    }
    Book::read(rules).map_err(|(place, e)| ("rule".to_owned(), format!("the {place}. one: {e}")))?;
    Ok(())
}

impl super::Config {
    /// What is allowed and seldom meant, each in a sentence that names its key.
    pub fn notes(&self) -> Vec<String> {
        let Plan { limits, floor_w, failsafe_w, .. } = self.plan;
        let mut notes = Vec::new();
        if limits && floor_w < HOME_WATTS_LOW {
            notes.push(format!(
                "plan.floor-w is {floor_w}: the utility may leave the whole home less than {HOME_WATTS_LOW} W, which many appliances \
                 need by themselves"
            ));
        }
        if limits && failsafe_w < floor_w {
            notes.push(format!("plan.failsafe-w is {failsafe_w}, below plan.floor-w: {floor_w} W hold instead"));
        } else if limits && failsafe_w < HOME_WATTS_LOW {
            notes.push(format!(
                "plan.failsafe-w is {failsafe_w}: while the utility is not heard the whole home has less than {HOME_WATTS_LOW} W"
            ));
        }
        notes
    }

    /// What the planner is told.
    pub fn planning(&self, zone: TimeZone) -> Settings {
        // The configuration was checked when it was read.
        let loads = self.load.iter().filter_map(|load| load.check().ok()).map(|load| (load.udn().clone(), load));
        Settings {
            loads: loads.collect(),
            rules: Book::read(&self.rule).unwrap_or_default(),
            base_w: self.plan.base_w,
            fuse_w: (self.plan.fuse_w > 0).then_some(self.plan.fuse_w),
            comeback: Comeback { watts_per_minute: self.plan.comeback_w_per_minute, for_s: self.plan.comeback_s },
            keep_unless_saves: (self.plan.keep_unless_saves * 1e6).round() as i64,
            by_hand_s: self.plan.by_hand_s.into(),
            terms: Terms {
                accepted: self.plan.limits,
                failsafe: Watts::new(self.plan.failsafe_w),
                failsafe_min: Duration::from_secs(self.plan.failsafe_s.into()),
                floor: Watts::new(self.plan.floor_w),
            },
            zone,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn a_home_that_may_be_left_less_than_one_large_appliance_needs_is_noted_and_not_refused() {
        let notes = |text: &str| {
            let path = std::path::Path::new("heg.toml");
            daemon_kit::config::parse::<Config>(text, path).unwrap().notes()
        };
        assert!(notes("").is_empty());
        assert!(notes("[plan]\nlimits = false\nfloor-w = 0\nfailsafe-w = 0").is_empty());
        let both = notes("[plan]\nfloor-w = 0\nfailsafe-w = 0");
        let [floor, failsafe] = &both[..] else { panic!("{both:?}") };
        assert!(floor.starts_with("plan.floor-w is 0: ") && floor.contains("less than 4200 W"), "{floor}");
        assert!(failsafe.starts_with("plan.failsafe-w is 0: ") && failsafe.contains("less than 4200 W"), "{failsafe}");
        let raised = notes("[plan]\nfailsafe-w = 4199");
        assert_eq!(raised, ["plan.failsafe-w is 4199, below plan.floor-w: 4200 W hold instead"]);
    }
}
