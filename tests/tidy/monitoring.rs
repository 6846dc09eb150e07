//! Dashboard and alerts ask for numbers that the programs give.

use std::collections::BTreeSet;

use serde_json::Value;

use super::root;

const DASHBOARD: &str = "packaging/grafana/home-energy-gateway.json";
const ALERTS: &str = "packaging/prometheus/home-energy-gateway.rules.yml";

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Words of a text that are metrics of ours.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("heg_")).map(str::to_owned).collect()
}

/// What the programs have is in docs/metrics.md: each program's own test compares its list with it.
#[test]
fn dashboard_and_alerts_name_only_metrics_that_the_programs_have_and_the_documents_explain() {
    let docs = read("docs/metrics.md");
    let rows = docs.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let known: BTreeSet<_> = rows.map(|(name, _)| name.to_owned()).filter(|name| name.starts_with("heg_")).collect();
    assert!(known.len() > 80, "only {} metrics in docs/metrics.md", known.len());
    for path in [DASHBOARD, ALERTS] {
        let named = metrics(&read(path));
        let unknown: Vec<_> = named.difference(&known).collect();
        assert!(unknown.is_empty(), "{path}: {unknown:?}");
        for program in ["heg_kmc_", "heg_utility_s", "heg_firewall_"] {
            assert!(named.iter().any(|name| name.starts_with(program)), "{path} has nothing of {program}");
        }
    }
}

#[test]
fn the_dashboard_is_json_whose_panels_each_ask_for_something_in_a_place_of_their_own() {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels {
        let title = panel["title"].as_str().expect("a title");
        assert!(ids.insert(panel["id"].as_u64()), "{title}: another panel has its number");
        let at = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
        for (x, y) in (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y))) {
            assert!(x < 24 && places.insert((x, y)), "{title} lies over another panel or beside the grid");
        }
        if panel["type"] != "row" {
            let targets = panel["targets"].as_array().expect("targets");
            let asks = |t: &Value| t["expr"].as_str().is_some_and(|expr| !metrics(expr).is_empty());
            assert!(!targets.is_empty() && targets.iter().all(asks), "{title} asks for nothing of ours");
        }
    }
    assert!(panels.len() > 20, "only {} panels", panels.len());
}
