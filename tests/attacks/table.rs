//! The table: a row is a test, and the last to end prints all of them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// All rows, in the order of the table.
const ATTACKS: [&str; 12] = [
    "Reconnaissance",
    "Authentication",
    "Sybil",
    "Man in the middle: key management",
    "Man in the middle: utility",
    "Replay and reflection",
    "Tampering",
    "Delay",
    "Downgrade of policy",
    "Stolen old keys",
    "Revoked gateway",
    "Denial of service",
];

/// What an attack came to.
pub(crate) struct Findings {
    /// What it achieved where messages go unsealed.
    pub(crate) plain: String,
    /// What is left of it where they are sealed.
    pub(crate) sealed: String,
    /// Attacker's effort against defender's, as measured.
    pub(crate) cost: String,
}

static DONE: Mutex<BTreeMap<usize, Option<Findings>>> = Mutex::new(BTreeMap::new());
/// Rows measure processor time, so that one runs at a time.
static TURN: Mutex<()> = Mutex::new(());

/// Runs a row. It panics where an attack that must not succeed does, and where one that must succeed, unsealed, does not: then the row
/// says nothing.
pub(crate) fn row(attack: &str, run: impl AsyncFnOnce() -> Findings) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let number = ATTACKS.iter().position(|name| *name == attack).expect("a row of the table");
    let mut entry = Entry { number, findings: None };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    entry.findings = Some(runtime.block_on(run()));
}

/// Enters the row when it goes, however the test ended.
struct Entry {
    number: usize,
    findings: Option<Findings>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut done = DONE.lock().unwrap_or_else(PoisonError::into_inner);
        done.insert(self.number, self.findings.take());
        if done.len() == ATTACKS.len() {
            println!("{}", table(&done));
        }
    }
}

fn table(done: &BTreeMap<usize, Option<Findings>>) -> String {
    let mut out = String::from("\n| attack | plain HTTP | sealed | measured |\n|---|---|---|---|\n");
    for (number, findings) in done {
        let name = ATTACKS[*number];
        let line = match findings {
            Some(Findings { plain, sealed, cost }) => {
                format!("| {name} | {plain} | **Protected**: {sealed} | {cost} |\n")
            }
            None => format!("| {name} | | **FAILED**, see above | |\n"),
        };
        out.push_str(&line);
    }
    out
}
