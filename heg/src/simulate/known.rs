//! What a running gateway says of its home, as far as it makes sense in another time: what appliances are and ask for every day, and the
//! rules that hold for good. PURE.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use energy_model::{DailyWindow, Importance, Watts};
use jiff::Timestamp;
use upnp::ids::Udn;

use crate::api::planning::RuleView;
use crate::api::{ApplianceView, RegistrationView};
use crate::gateway::Request;
use crate::registry::Facts;
use crate::rules::book::Book;
use crate::rules::form::RuleForm;
use crate::rules::{Author, RuleId};

/// See the module. Nothing at all is what is known without a gateway.
#[derive(Clone, Debug, Default)]
pub struct Known {
    pub(super) appliances: BTreeMap<Udn, Told>,
    pub(super) rules: Vec<RuleForm>,
    /// What is left out, each with why.
    pub(super) left_out: Vec<(String, String)>,
}

/// What is known of one appliance.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) name: String,
    pub(super) facts: Option<Facts>,
    /// What it is woken at and not sent to standby in.
    pub(super) requests: Vec<Request>,
    /// When it sleeps by itself.
    pub(super) periods: Vec<DailyWindow>,
}

impl Known {
    /// From the answers of `GET /v1/appliances` and `GET /v1/rules`. The configuration's rules are not taken from there.
    pub fn new(appliances: &[ApplianceView], rules: &[RuleView]) -> Self {
        let told = |view: &ApplianceView| Some((Udn::parse(&view.udn).ok()?, Told::new(view)));
        let mut known = Self { appliances: appliances.iter().filter_map(told).collect(), ..Self::default() };
        let made = |view: &&RuleView| view.id.parse::<RuleId>().is_ok_and(|id| matches!(id, RuleId::Made(_)));
        for view in rules.iter().filter(made) {
            // The days that are simulated are not those for which it was said.
            if view.rule.from.is_some() || view.rule.until.is_some() {
                let what = format!("rule {}: {}", view.id, view.words);
                known.left_out.push((what, "it is for a time of its own".to_owned()));
            } else {
                known.rules.push(view.rule.clone());
            }
        }
        known
    }

    /// How many appliances and rules.
    pub fn counts(&self) -> (usize, usize) {
        (self.appliances.len(), self.rules.len())
    }

    /// Enters the rules as people say them, in order. One that is not taken is left out, and said.
    pub(super) fn enter(&mut self, book: &mut Book, now: Timestamp) {
        for form in std::mem::take(&mut self.rules) {
            match book.add(&form, Author::Person(super::UID), now) {
                Ok(_) => self.rules.push(form),
                Err(error) => self.left_out.push((format!("rule {}", form.words()), error.to_string())),
            }
        }
    }
}

impl Told {
    fn new(view: &ApplianceView) -> Self {
        let facts = || {
            Some(Facts {
                rated_power: Watts::new(view.rated_power_w?),
                importance: view.importance.as_deref().and_then(|word| word.parse().ok()).unwrap_or(Importance::Normal),
                flexibility: view.flexibility.as_deref()?.parse().ok()?,
                minimum_on_s: view.minimum_on_s.unwrap_or(0),
                minimum_off_s: view.minimum_off_s.unwrap_or(0),
            })
        };
        let window = |r: &RegistrationView| DailyWindow::new(r.start, r.stop?).ok();
        let request = |r: &RegistrationView| match r.action.as_str() {
            "WakeUpTime" => Some(Request::WakeUpTime(r.start)),
            "NoStandbyPeriod" => window(r).map(Request::NoStandbyPeriod),
            _ => None,
        };
        let period = |r: &RegistrationView| window(r).filter(|_| r.action == "StandbyPeriod");
        Self {
            name: view.name.clone(),
            facts: facts(),
            requests: view.registrations.iter().filter_map(request).collect(),
            periods: view.registrations.iter().filter_map(period).collect(),
        }
    }
}
