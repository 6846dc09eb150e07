//! Figures of docs/benchmarks.md about planning. `home-bench plan` compares the planner with the optimum, `home-bench cases` with the test cases of
//! evcc's optimizer, `home-bench year` lets a home live through a year; each prints its section and writes its plots.
//!
//! Options: `--plots DIR`; of plan `--oracle PYTHON` (one that has highspy), `--oracle-s SECONDS`; of cases `--of DIR`; of year `--prices FILE`,
//! `--days N`, `--disk DIR`.

mod cases;
mod memory;
mod plan;
mod svg;
mod year_report;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

const USAGE: &str = "usage: home-bench plan [--plots DIR] [--oracle PYTHON] [--oracle-s SECONDS]
       home-bench cases --of DIR
       home-bench year [--plots DIR] [--prices FILE] [--days N] [--disk DIR]";
/// HiGHS may take so long of the processor for each home.
const ORACLE_S: u64 = 120;

fn main() -> Result<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_default();
    let mut options = BTreeMap::new();
    while let Some(name) = arguments.next() {
        options.insert(name, arguments.next().context(USAGE)?);
    }
    let mut option = |name: &str| options.remove(name);
    let plots = option("--plots");
    let plots = plots.as_deref().map(Path::new);
    match what.as_str() {
        "plan" => {
            let oracle = option("--oracle");
            let seconds = option("--oracle-s").map_or(Ok(ORACLE_S), |s| s.parse())?;
            done(&options)?;
            plan::print(oracle.as_deref().map(Path::new), seconds, plots)?;
        }
        "cases" => {
            let cases = option("--of").context(USAGE)?;
            done(&options)?;
            cases::print(Path::new(&cases))?;
        }
        "year" => {
            let (prices, disk) = (option("--prices"), option("--disk").unwrap_or_else(|| "target".into()));
            let days = option("--days").map(|days| days.parse()).transpose()?;
            done(&options)?;
            let prices = prices.as_deref().map(Path::new);
            year_report::print(&year_report::Wanted { prices, days, plots, disk: Path::new(&disk) })?;
        }
        _ => bail!(USAGE),
    }
    Ok(ExitCode::SUCCESS)
}

fn done(options: &BTreeMap<String, String>) -> Result<()> {
    if options.is_empty() { Ok(()) } else { bail!(USAGE) }
}
