//! Holds what a reader of ARCHITECTURE.md may rely on: who uses whom, what pure crates may not call, that every shipped example
//! configuration is accepted, and that manuals, completion scripts (`manuals`), dashboard and alerts (`monitoring`) are what the programs are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{DependencyKind, MetadataCommand};

#[path = "tidy/manuals.rs"]
mod manuals;
#[path = "tidy/monitoring.rs"]
mod monitoring;

/// Who may use whom among our own crates. Anything absent is forbidden. The same table stands in ARCHITECTURE.md.
const ARROWS: &[(&str, &[&str])] = &[
    ("energy-model", &[]),
    ("psm-event", &[]),
    ("upnp", &[]),
    ("energy-services", &["upnp", "energy-model"]),
    ("upnp-net", &["upnp"]),
    ("daemon-kit", &[]),
    ("secure-http", &[]),
    ("utility-wire", &["energy-model"]),
    ("tariff", &["energy-model", "utility-wire"]),
    ("secure-link", &["secure-http"]),
    ("psm-ebpf", &["psm-event"]),
    ("psm-agent", &["psm-event", "energy-model", "energy-services", "upnp", "upnp-net", "daemon-kit"]),
    (
        "heg",
        &[
            "energy-model",
            "energy-services",
            "upnp",
            "upnp-net",
            "utility-wire",
            "tariff",
            "secure-http",
            "secure-link",
            "daemon-kit",
        ],
    ),
    // Its tests enrol at a centre of their own.
    ("utility", &["energy-model", "utility-wire", "tariff", "secure-http", "secure-link", "daemon-kit", "kmc"]),
    // Its tests play the gateway's side with the link.
    ("kmc", &["secure-http", "daemon-kit", "secure-link"]),
];

/// Unpublished packages for development: they may use everything, nothing may use them but each other.
const DEVELOPMENT: &[&str] = &["testkit", "house-tests", "house-bench", "home-bench", "sealed-bench"];

/// Crates that may not do IO or read a clock, with what they may not depend on, directly or through others.
const PURE: &[&str] = &["psm-event", "energy-model", "upnp", "energy-services", "secure-http", "utility-wire"];
const IO_CRATES: &[&str] = &["tokio", "mio", "socket2", "nix", "hyper", "zbus", "rtnetlink", "rusqlite", "jiff"];

/// Modules of the daemons that decide or only reckon.
const PURE_MODULES: &[&str] = &[
    // The crate tariff is listed here by its modules, as it asks jiff for the clocks of zones; what reads the time is banned there too.
    "crates/tariff/src/lib.rs",
    "crates/tariff/src/price.rs",
    "crates/tariff/src/price_file.rs",
    "crates/tariff/src/prices.rs",
    "crates/tariff/src/time.rs",
    "crates/tariff/src/time_of_use.rs",
    "psm-agent/src/agent.rs",
    "psm-agent/src/commands.rs",
    "psm-agent/src/device.rs",
    "psm-agent/src/gateway_link.rs",
    "psm-agent/src/kernel.rs",
    "psm-agent/src/meter.rs",
    "psm-agent/src/page.rs",
    "psm-agent/src/safety.rs",
    "psm-agent/src/schedule.rs",
    "psm-agent/src/state.rs",
    "psm-agent/src/state/fact.rs",
    "psm-agent/src/state/registers.rs",
    "heg/src/api/access.rs",
    "heg/src/commands.rs",
    "heg/src/control_point.rs",
    "heg/src/device.rs",
    "heg/src/envelope.rs",
    "heg/src/firewall/deadman.rs",
    "heg/src/firewall/describe.rs",
    "heg/src/firewall/prefix.rs",
    "heg/src/firewall/ruleset.rs",
    "heg/src/firewall/settings.rs",
    "heg/src/firewall/shape.rs",
    "heg/src/gateway.rs",
    "heg/src/gateway/exchange.rs",
    "heg/src/home.rs",
    "heg/src/home/minds.rs",
    "heg/src/home/planning.rs",
    "heg/src/journal.rs",
    "heg/src/metrics.rs",
    "heg/src/now.rs",
    "heg/src/page.rs",
    "heg/src/planner.rs",
    "heg/src/planner/because.rs",
    "heg/src/planner/build.rs",
    "heg/src/planner/changes.rs",
    "heg/src/planner/control.rs",
    "heg/src/planner/daily.rs",
    "heg/src/planner/decisions.rs",
    "heg/src/planner/exchange.rs",
    "heg/src/planner/observe.rs",
    "heg/src/planner/reconcile.rs",
    "heg/src/planner/savings.rs",
    "heg/src/planner/sight.rs",
    "heg/src/planner/slot.rs",
    "heg/src/planner/standing.rs",
    "heg/src/planner/tariff.rs",
    "heg/src/planner/work.rs",
    "heg/src/prices.rs",
    "heg/src/prices/kept.rs",
    "heg/src/plan/board.rs",
    "heg/src/plan/bound.rs",
    "heg/src/plan/cycle.rs",
    "heg/src/plan/energy.rs",
    "heg/src/plan/explain.rs",
    "heg/src/plan/greedy.rs",
    "heg/src/plan/grid.rs",
    "heg/src/plan/improve.rs",
    "heg/src/plan/job.rs",
    "heg/src/plan/keep.rs",
    "heg/src/plan/mod.rs",
    "heg/src/plan/outcome.rs",
    "heg/src/plan/pair.rs",
    "heg/src/plan/presence.rs",
    "heg/src/plan/problem.rs",
    "heg/src/plan/setup.rs",
    "heg/src/plan/slots.rs",
    "heg/src/registrations.rs",
    "heg/src/registry.rs",
    "heg/src/rules.rs",
    "heg/src/rules/book.rs",
    "heg/src/rules/form.rs",
    "heg/src/rules/load.rs",
    "heg/src/rules/precedence.rs",
    "heg/src/rules/window.rs",
    "heg/src/simulate.rs",
    "heg/src/simulate/judge.rs",
    "heg/src/simulate/known.rs",
    "heg/src/simulate/machine.rs",
    "heg/src/simulate/wire.rs",
    "heg/src/store/batch.rs",
    "heg/src/utility.rs",
    "heg/src/utility/consent.rs",
    "heg/src/utility/events.rs",
    "heg/src/utility/exchange.rs",
    "heg/src/utility/known.rs",
    "heg/src/utility/limits.rs",
    "heg/src/utility/meter.rs",
    "heg/src/utility/pace.rs",
    "heg/src/utility/reporting.rs",
    "heg/src/utility/reports.rs",
    "heg/src/utility/sight.rs",
    "heg/src/utility/slot.rs",
    "heg/src/utility_client/admission.rs",
    "utility/src/events.rs",
    "utility/src/quota.rs",
    "utility/src/readings.rs",
    "utility/src/rules.rs",
    "utility/src/sites.rs",
    "kmc/src/exchange.rs",
    "kmc/src/policy_file.rs",
];

/// Where tasks may be started: a daemon's one loop, the drivers, the control socket.
const SPAWNING: &[&str] = &[
    "psm-agent/src/app.rs",
    "heg/src/app.rs",
    "utility/src/app.rs",
    // A flow with the KMC outlives the request that asked for it.
    "utility/src/membership.rs",
    "utility/src/store/postgres.rs",
    "kmc/src/server.rs",
    "crates/upnp-net/src/",
    "crates/daemon-kit/src/control/",
];

/// Lines of a daemon's `main.rs`.
const MAIN_LINES_MAX: usize = 40;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_owned()
}

fn metadata() -> cargo_metadata::Metadata {
    // Only this machine's dependencies: others are never fetched.
    let rustc =
        Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into())).arg("-vV").output().expect("rustc -vV");
    let host = String::from_utf8_lossy(&rustc.stdout).lines().find_map(|l| l.strip_prefix("host: ").map(str::to_owned));
    let host = host.expect("rustc names its host");
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options(vec!["--locked".into(), "--offline".into(), "--filter-platform".into(), host])
        .exec()
        .expect("cargo metadata of the workspace")
}

#[test]
fn crates_use_only_what_the_arrow_table_allows() {
    let metadata = metadata();
    let ours: BTreeSet<String> = metadata.workspace_packages().iter().map(|p| p.name.to_string()).collect();
    let table: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut wrong = Vec::new();
    for package in metadata.workspace_packages() {
        let name = package.name.as_str();
        if DEVELOPMENT.contains(&name) {
            continue;
        }
        let Some(allowed) = table.get(name) else {
            wrong.push(format!("{name} is not in the arrow table"));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|d| ours.contains(&d.name)) {
            let development = dependency.kind == DependencyKind::Development;
            if DEVELOPMENT.contains(&dependency.name.as_str()) && development {
                continue;
            }
            if !allowed.contains(&dependency.name.as_str()) {
                wrong.push(format!("{name} -> {}", dependency.name));
            }
        }
    }
    assert!(wrong.is_empty(), "forbidden arrows: {wrong:#?}");
    let architecture = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    for (name, allowed) in ARROWS {
        let allowed = if allowed.is_empty() { "-".to_owned() } else { allowed.join(", ") };
        let row = format!("| {name} | {allowed} |");
        assert!(architecture.contains(&row), "ARCHITECTURE.md lacks the row {row}");
    }
}

#[test]
fn pure_crates_reach_no_io_crate() {
    let metadata = metadata();
    let resolve = metadata.resolve.as_ref().expect("a resolved graph");
    let name_of: BTreeMap<_, _> = metadata.packages.iter().map(|p| (&p.id, p.name.as_str())).collect();
    for package in metadata.workspace_packages().iter().filter(|p| PURE.contains(&p.name.as_str())) {
        let mut seen = BTreeSet::new();
        let mut queue = vec![&package.id];
        while let Some(id) = queue.pop() {
            let node = resolve.nodes.iter().find(|n| &n.id == id).expect("each package has a node");
            for dep in &node.deps {
                let normal = dep.dep_kinds.iter().any(|k| k.kind == DependencyKind::Normal);
                if normal && seen.insert(&dep.pkg) {
                    queue.push(&dep.pkg);
                }
            }
        }
        let bad: Vec<_> = seen.iter().map(|id| name_of[*id]).filter(|n| IO_CRATES.contains(n)).collect();
        assert!(bad.is_empty(), "{} reaches {bad:?}", package.name);
    }
}

#[test]
fn crates_that_decide_ban_the_clocks_and_pure_modules_forbid_unsafe() {
    let pure = PURE.iter().map(|name| format!("crates/{name}"));
    for dir in
        pure.chain(["crates/tariff", "crates/secure-link", "psm-agent", "heg", "utility", "kmc"].map(str::to_owned))
    {
        let text = std::fs::read_to_string(root().join(&dir).join("clippy.toml")).unwrap_or_default();
        for banned in ["std::time::Instant::now", "std::time::SystemTime::now"] {
            assert!(text.contains(banned), "{dir}/clippy.toml does not ban {banned}");
        }
    }
    for dir in PURE.iter().map(|name| format!("crates/{name}")) {
        let text = std::fs::read_to_string(root().join(&dir).join("src/lib.rs")).expect("lib.rs");
        assert!(text.contains("#![forbid(unsafe_code)]"), "{dir}");
    }
    for module in PURE_MODULES {
        let text = std::fs::read_to_string(root().join(module)).unwrap_or_else(|e| panic!("{module}: {e}"));
        assert!(text.contains("#![forbid(unsafe_code)]"), "{module}");
    }
}

/// Source files below `dir`, as paths from the root.
fn sources(dir: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root().join(dir)).unwrap_or_else(|e| panic!("{dir}: {e}")) {
        let entry = entry.expect("entry");
        let path = format!("{dir}/{}", entry.file_name().display());
        if entry.file_type().expect("file type").is_dir() {
            found.extend(sources(&path));
        } else if path.ends_with(".rs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn tasks_are_started_only_where_the_architecture_says() {
    let dirs = ARROWS.iter().map(|(name, _)| match *name {
        "psm-ebpf" | "psm-agent" | "heg" | "utility" | "kmc" => format!("{name}/src"),
        library => format!("crates/{library}/src"),
    });
    let mut seen = 0;
    for source in dirs.flat_map(|dir| sources(&dir)) {
        let text = std::fs::read_to_string(root().join(&source)).expect("source");
        let spawns = ["tokio::spawn", "tokio::task::spawn", "spawn_local("].iter().any(|word| text.contains(word));
        assert!(!spawns || SPAWNING.iter().any(|place| source.starts_with(place)), "{source} starts tasks");
        seen += usize::from(spawns);
    }
    assert!(seen > 0, "the words looked for are written differently now");
}

#[test]
fn the_primitives_of_sealed_messages_are_used_in_one_module_only() {
    // Beside it: key files at rest, which no message is made of.
    const ELSEWHERE: [&str; 2] = ["kmc/src/key_file.rs", "utility/src/membership/vault.rs"];
    const MODULE: &str = "crates/secure-http/src/crypto/";
    let primitives = ["p256::", "aes_gcm::", "sha2::", "hkdf::", "hmac::", "elliptic_curve::", "ecdsa::"];
    let dirs = ["crates/secure-http/src", "crates/secure-link/src", "heg/src", "utility/src", "kmc/src"];
    let using = |source: &String| {
        let text = std::fs::read_to_string(root().join(source)).expect("source");
        primitives.iter().any(|name| text.contains(name))
    };
    let found: Vec<_> = dirs.into_iter().flat_map(sources).filter(using).collect();
    let outside: Vec<_> = found.iter().filter(|s| !s.starts_with(MODULE) && !ELSEWHERE.contains(&&***s)).collect();
    assert!(outside.is_empty(), "{outside:?}");
    assert!(found.len() > ELSEWHERE.len(), "the words looked for are written differently now");
}

#[test]
fn every_fuzz_target_is_one_of_the_list_that_make_fuzz_goes_through() {
    let fuzz =
        MetadataCommand::new().manifest_path(root().join("fuzz/Cargo.toml")).no_deps().exec().expect("fuzz/Cargo.toml");
    let listed: BTreeSet<String> =
        fuzz.packages.iter().flat_map(|p| &p.targets).map(|t| format!("{}.rs", t.name)).collect();
    let files: BTreeSet<String> =
        sources("fuzz/targets").into_iter().map(|path| path.replace("fuzz/targets/", "")).collect();
    assert_eq!(listed, files);
}

#[test]
fn the_daemons_main_files_stay_short() {
    for main in ["psm-agent/src/main.rs", "heg/src/main.rs", "utility/src/main.rs", "kmc/src/main.rs"] {
        let lines = std::fs::read_to_string(root().join(main)).expect("main.rs").lines().count();
        assert!(lines < MAIN_LINES_MAX, "{main} has {lines} lines");
    }
}

/// The built program, or a failure that says how to get it.
fn program(name: &str) -> PathBuf {
    let me = std::env::current_exe().expect("a test has a path");
    let dir = me.ancestors().nth(2).expect("target/PROFILE/deps/test");
    let path = dir.join(name);
    assert!(path.exists(), "{name} is not built; run `make build`");
    path
}

#[test]
fn every_shipped_example_configuration_is_accepted_also_with_every_key_set() {
    let examples = root().join("packaging/examples");
    for name in ["psm-agent", "heg-gateway", "heg-utility", "heg-kmc"] {
        let file = &format!("{name}.toml");
        let path = examples.join(file);
        let text = std::fs::read_to_string(&path).expect("an example per daemon");
        let dir = tempfile::tempdir().expect("a temporary directory");
        // `#key = value` (no space after the #) is a commented default; prose has a space.
        let all = text
            .lines()
            .map(|l| match l.strip_prefix('#') {
                Some(rest) if rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '[') => rest,
                _ => l,
            })
            .collect::<Vec<_>>()
            .join("\n");
        let every_key = dir.path().join(file);
        std::fs::write(&every_key, all).expect("write");
        for config in [&path, &every_key] {
            let out = Command::new(program(name)).arg("--config").arg(config).arg("--check").output().expect("run");
            assert!(out.status.success(), "{} --check: {}", config.display(), String::from_utf8_lossy(&out.stderr));
        }
    }
    let shipped = std::fs::read_dir(&examples).expect("examples").count();
    assert_eq!(shipped, 4, "an example that no test checks");
}

#[test]
fn every_test_that_the_conformance_list_names_is_there() {
    let dirs = BTreeMap::from([
        ("ssdp", &["crates/upnp/tests/ssdp_tests"][..]),
        ("device", &["crates/upnp/tests/device"]),
        ("control", &["crates/upnp/tests/control_point"]),
        ("unit", &["crates/upnp/src", "crates/upnp/src/gena", "crates/energy-services/src"]),
        ("driver", &["crates/upnp-net/tests/driver"]),
        ("e2e", &["tests/e2e"]),
        (
            "heg",
            &[
                "heg/src",
                "heg/tests",
                "heg/tests/plan_tests",
                "heg/tests/daemon",
                "heg/tests/gateway",
                "heg/tests/utility",
            ],
        ),
        ("wire", &["crates/utility-wire/src", "crates/utility-wire/tests"]),
        ("tariff", &["crates/tariff/src"]),
        ("utility", &["utility/src", "utility/tests", "utility/tests/store", "utility/tests/store/cases"]),
    ]);
    let mut seen = 0;
    for doc in ["docs/conformance.md", "docs/protocol.md"] {
        let text = std::fs::read_to_string(root().join(doc)).expect(doc);
        for (place, test) in text.split('`').skip(1).step_by(2).filter_map(|name| name.split_once("::")) {
            let (kind, file) = place.split_once('/').unwrap_or_else(|| panic!("{place}::{test} names no place"));
            let dirs = dirs.get(kind).unwrap_or_else(|| panic!("{place}::{test} names no known place"));
            let sources = dirs.iter().map(|dir| root().join(dir).join(file).with_extension("rs"));
            let there = sources
                .filter_map(|source| std::fs::read_to_string(source).ok())
                .any(|s| s.contains(&format!("fn {test}(")));
            assert!(there, "{doc} names {place}::{test}, which is not there");
            seen += 1;
        }
    }
    let protocol = std::fs::read_to_string(root().join("docs/protocol.md")).expect("docs/protocol.md");
    for rule in ["906", "911", "913", "914", "916", "921"] {
        let row = protocol.lines().find(|line| line.starts_with(&format!("| LPC-{rule} |")));
        let named = row.is_some_and(|row| row.contains(&format!("::lpc_{rule}_")));
        assert!(named, "docs/protocol.md names no test of LPC-{rule} after it");
    }
    assert!(seen > 100, "only {seen} tests");
}
