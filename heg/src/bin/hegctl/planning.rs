//! Rules, plan, reasons and savings, for people.

use std::io;

use heg::api::planning::{DecisionView, LoadView, PlanView, RuleView, SavingsView, SumsView, WhyView};

use crate::output::{Output, Pairs, clean, line, print, table};

impl Output {
    pub(crate) fn rules(&self, rules: &Vec<RuleView>) -> io::Result<()> {
        let mut table = table(["RULE", "ABOUT", "SAYS", "FROM", "UNTIL", "BY"]);
        for r in rules {
            let at = |moment: &Option<String>| moment.as_deref().map_or_else(|| "-".to_owned(), |at| self.local(at));
            let about = r.name.as_deref().map_or_else(|| "all".to_owned(), clean);
            table.add_row([r.id.clone(), about, r.words.clone(), at(&r.rule.from), at(&r.rule.until), r.by.clone()]);
        }
        print(&table)
    }

    pub(crate) fn plan(&self, p: &PlanView) -> io::Result<()> {
        let mut pairs = Pairs::default();
        let none = match p.loads.is_empty() {
            true => "no plan: nobody has said that anything may be planned",
            false => "no plan: nothing can be planned now",
        };
        pairs.add("Made", p.made.as_deref().map_or_else(|| none.into(), |at| self.local(at)));
        pairs.maybe("Limit", p.limit.as_ref().map(|(watts, why)| format!("{watts} W, {why}")));
        if p.made.is_some() {
            let gap =
                p.gap_percent.map(|gap| format!(", at most {gap:.1} % above the least possible")).unwrap_or_default();
            pairs.add("Cost", format!("{:.4} {}{gap}", p.cost, p.currency));
        }
        for span in &p.unpriced {
            let (from, to) = (self.local(&span.start), self.local(&span.end));
            pairs.add("No price", format!("{from} to {to}: counted as the dearest that is known"));
        }
        for trouble in &p.troubles {
            pairs.add("TROUBLE", clean(trouble));
        }
        pairs.print()?;
        let mut table = table(["APPLIANCE", "ON FROM", "TO", "WHY"]);
        for load in &p.loads {
            if let Some(by) = &load.ruler {
                table.add_row([clean(&load.name), "now".into(), "-".into(), format!("not by the plan: {}", clean(by))]);
            }
            for [from, to, why] in self.runs(load) {
                table.add_row([clean(&load.name), from, to, why]);
            }
        }
        if p.loads.is_empty() { Ok(()) } else { print(&table) }
    }

    /// A plan of `watch`: one line, and one for each appliance.
    pub(crate) fn plan_changed(&self, p: &PlanView) -> io::Result<()> {
        let made = p.made.as_deref().map(|at| self.local(at)).unwrap_or_default();
        let limit = p.limit.as_ref().map(|(watts, why)| format!(", {watts} W, {why}")).unwrap_or_default();
        line(&format!("{made}  plan: {} appliances, cost {:.4} {}{limit}", p.loads.len(), p.cost, p.currency))?;
        p.loads.iter().try_for_each(|load| {
            let rows = self.runs(load);
            let words: Vec<_> = rows.iter().map(|[from, to, why]| stretch(from, to, why)).collect();
            line(&format!("    {}  {}", clean(&load.name), words.join("; ")))
        })
    }

    /// Runs, pauses and what is left undone, in order.
    fn runs(&self, load: &LoadView) -> Vec<[String; 3]> {
        let runs = load.runs.iter().map(|run| (run, ""));
        let mut all: Vec<_> = runs.chain(load.pauses.iter().map(|pause| (pause, "off: "))).collect();
        all.sort_by(|a, b| a.0.start.cmp(&b.0.start));
        let rows = all
            .into_iter()
            .map(|(run, off)| [self.local(&run.start), self.local(&run.end), format!("{off}{}", run.why)]);
        let dropped =
            load.dropped.iter().map(|(percent, why)| ["-".into(), "-".into(), format!("without {percent} %: {why}")]);
        let later = load.unwilling.iter().map(|(until, why)| {
            let why = format!("not asked again before {}: {}", self.local(until), clean(why));
            ["-".into(), "-".into(), why]
        });
        let rows: Vec<_> = rows.chain(dropped).chain(later).collect();
        if rows.is_empty() { vec![["-".into(), "-".into(), "not in the time that is planned".into()]] } else { rows }
    }

    pub(crate) fn why(&self, w: &WhyView) -> io::Result<()> {
        let mut pairs = Pairs::default();
        let state = w.on.map_or("unknown", |on| if on { "on" } else { "off" });
        let wanted = if w.wanted == "as-it-is" { "left as it is".to_owned() } else { format!("to be {}", w.wanted) };
        pairs.add("Now", format!("{state}, {wanted}"));
        let until = w.until.as_deref().map(|at| format!(", until {}", self.local(at))).unwrap_or_default();
        pairs.add("Decides", format!("{}{until}", w.ruler));
        pairs.add("Because", clean(&w.because));
        pairs.maybe("Kind", w.kind.as_ref().map(|(kind, says)| format!("{kind} (says {says})")));
        pairs.add("May plan", format!("{} (says {})", w.consent.0, w.consent.1));
        pairs.add("Importance", format!("{} (says {})", w.importance.0, w.importance.1));
        pairs.maybe("Not planned", w.obstacle.as_ref());
        pairs.maybe(
            "Left alone",
            w.unwilling.as_ref().map(|(until, why)| format!("until {}: {}", self.local(until), clean(why))),
        );
        for [from, to, why] in w.plan.iter().flat_map(|load| self.runs(load)) {
            pairs.add("Plan", stretch(&from, &to, &why));
        }
        for rule in &w.rules {
            let idle =
                rule.no_effect.as_deref().map(|why| format!("; no effect here: {}", clean(why))).unwrap_or_default();
            pairs.add("Rule", format!("{}: {} (by {}){idle}", rule.id, rule.words, rule.by));
        }
        for decision in &w.decisions {
            pairs.add("Decided", self.decision(decision));
        }
        pairs.print()
    }

    /// `2026-11-27 02:00:00 on, price: 0.12 EUR/kWh now; done`.
    pub(crate) fn decision(&self, d: &DecisionView) -> String {
        let start = d.start.as_deref().map(|at| format!(" at {}", self.local(at))).unwrap_or_default();
        let saves = d.saves.filter(|saves| *saves != 0.0).map(|saves| format!("; saves {saves:.4} {}", d.currency));
        let saves = saves.unwrap_or_default();
        let by = d.refused_by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
        let reason = d.reason.as_deref().map(|why| format!(" ({})", clean(why))).unwrap_or_default();
        let outcome = d.outcome.as_deref().map(|outcome| format!("; {outcome}{by}{reason}")).unwrap_or_default();
        format!("{}  {}{start}, {}: {}{saves}{outcome}", self.local(&d.time), d.act, d.cause, clean(&d.because))
    }

    pub(crate) fn savings(&self, s: &SavingsView) -> io::Result<()> {
        let header = |what: &str| {
            [
                what.to_owned(),
                "APPLIANCE".into(),
                "kWh".into(),
                format!("COST {}", s.currency),
                "AT ONCE".into(),
                "SAVED".into(),
                "NOT USED".into(),
            ]
        };
        let row = |sums: &SumsView| {
            let name = sums.name.as_deref().map_or_else(|| "all".to_owned(), clean);
            let money = |amount: f64| format!("{amount:.2}");
            [
                sums.when.clone(),
                name,
                format!("{:.1}", sums.energy_kwh),
                money(sums.cost),
                money(sums.at_once),
                money(sums.saved),
                money(sums.not_used),
            ]
        };
        for (what, sums) in [("DAY", &s.days), ("MONTH", &s.months)] {
            let words = header(what);
            let mut table = table(words.each_ref().map(String::as_str));
            for sums in sums {
                table.add_row(row(sums));
            }
            print(&table)?;
            if what == "DAY" {
                line("")?;
            }
        }
        Ok(())
    }
}

/// What is left undone has no time.
fn stretch(from: &str, to: &str, why: &str) -> String {
    if from == "-" { why.to_owned() } else { format!("{from} to {to}: {why}") }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    #[test]
    fn what_is_left_undone_has_no_times_and_a_run_has_both() {
        let run = serde_json::json!({"start": "2026-11-27T02:00:00Z", "end": "2026-11-27T03:00:00Z", "why": "price"});
        let load = serde_json::json!({
            "udn": "uuid:car", "name": "Car", "runs": [run], "pauses": [], "cost": 0.5, "dropped": [8, "not enough time"]
        });
        let rows = Output::new(false, TimeZone::UTC).runs(&serde_json::from_value(load).unwrap());
        let lines: Vec<_> = rows.iter().map(|[from, to, why]| stretch(from, to, why)).collect();
        assert_eq!(lines, ["2026-11-27 02:00:00 to 2026-11-27 03:00:00: price", "without 8 %: not enough time"]);
    }
}
