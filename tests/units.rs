//! What is installed beside the programs: the units are locked as tightly as promised, and everything is understood by the program that
//! will read it. That they run with all their locks is for `make nspawn` and `make vm`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use testkit::lab::sandbox::skip;

/// `systemd-analyze security`, at most; 0 is nothing, 10 all of the machine.
const EXPOSURE_MAX: [(&str, f64); 6] = [
    ("heg-gateway.service", 1.8),
    ("heg-firewall.service", 1.8),
    ("psm-agent.service", 1.8),
    ("psm-agent-wake.service", 1.8),
    ("heg-utility.service", 1.2),
    ("heg-kmc.service", 1.2),
];

fn packaging(directory: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging").join(directory)
}

fn files(directory: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(packaging(directory)).expect("the directory");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "nothing in {directory}");
    files
}

/// Those that run something.
fn services() -> Vec<PathBuf> {
    files("systemd").into_iter().filter(|file| file.extension().is_some_and(|e| e == "service")).collect()
}

/// A program's output, or none and a word about it where it is not here.
fn output(command: &mut Command) -> Option<Output> {
    match command.output() {
        Ok(output) => Some(output),
        Err(_) => {
            skip(&format!("{} is not installed", command.get_program().to_string_lossy()));
            None
        }
    }
}

#[test]
fn units_are_locked_as_tightly_as_promised() {
    let names: BTreeSet<_> = services().iter().filter_map(|f| Some(f.file_name()?.to_str()?.to_owned())).collect();
    assert_eq!(names, EXPOSURE_MAX.iter().map(|(name, _)| (*name).to_owned()).collect(), "each unit has its bound");
    for (name, max) in EXPOSURE_MAX {
        let mut command = Command::new("systemd-analyze");
        command.args(["security", "--offline=true", "--no-pager"]).arg(packaging("systemd").join(name));
        let Some(output) = output(command.env("SYSTEMD_COLORS", "0").env("LC_ALL", "C")) else { return };
        let text = String::from_utf8_lossy(&output.stdout);
        let overall = text.lines().find_map(|line| line.split_once("Overall exposure level for")).map(|(_, rest)| rest);
        let figure = overall.and_then(|rest| rest.split_once(": ")?.1.split(' ').next()?.parse::<f64>().ok());
        let figure = figure.unwrap_or_else(|| panic!("{name}: {text}{}", String::from_utf8_lossy(&output.stderr)));
        println!("{name}: {figure}, at most {max}");
        assert!(figure <= max, "{name} has {figure}, more than {max}:\n{text}");
    }
}

#[test]
fn units_name_no_setting_that_systemd_does_not_know() {
    for unit in services() {
        let mut command = Command::new("systemd-analyze");
        command.args(["security", "--offline=true", "--no-pager"]).arg(&unit);
        let Some(output) = output(&mut command) else { return };
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said, "", "{}", unit.display());
    }
}

#[test]
fn systemd_would_start_all_units_together_and_one_that_waits_for_itself_is_found() {
    let Some(said) = verified(&files("systemd")) else { return };
    assert_eq!(said, "", "systemd-analyze verify");
    let scratch = tempfile::tempdir().expect("a directory");
    let copies: Vec<_> = files("systemd")
        .iter()
        .map(|unit| {
            let text = fs::read_to_string(unit).expect("a unit");
            let copy = scratch.path().join(unit.file_name().expect("a name"));
            let text = if unit.ends_with("heg-firewall.service") {
                text.replacen("[Unit]", "[Unit]\nAfter=heg-gateway.service", 1)
            } else {
                text
            };
            fs::write(&copy, text).expect("a copy");
            copy
        })
        .collect();
    let said = verified(&copies).expect("it was there before");
    assert!(said.contains("ordering cycle"), "{said}");
}

/// What `systemd-analyze verify` says of units beside this machine's own, apart from programs that are not installed here.
fn verified(units: &[PathBuf]) -> Option<String> {
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", "--man=no"]).args(units).env("SYSTEMD_COLORS", "0").env("LC_ALL", "C");
    let output = output(&mut command)?;
    let said = [output.stdout, output.stderr].concat();
    let not_here = |line: &&str| !(line.contains(": Command /usr/bin/") && line.contains(" is not executable: "));
    Some(String::from_utf8_lossy(&said).lines().filter(not_here).collect::<Vec<_>>().join("\n"))
}

#[test]
fn apparmor_profiles_are_understood() {
    for profile in files("apparmor") {
        let mut command = Command::new("apparmor_parser");
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
        let Some(output) = output(command.args(["-Q", "-K", "-T"]).arg(&profile).env("PATH", path)) else { return };
        assert!(output.status.success(), "{}: {}", profile.display(), String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn every_user_of_a_unit_is_made_by_sysusers_and_has_a_unit() {
    let lines = |directory: &str| -> Vec<String> {
        let texts = files(directory).into_iter().map(|file| fs::read_to_string(file).expect("a text"));
        texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    };
    let made: BTreeSet<_> = lines("sysusers")
        .iter()
        .filter_map(|line| line.strip_prefix("u ")?.split(' ').next().map(str::to_owned))
        .collect();
    let used: BTreeSet<_> =
        lines("systemd").iter().filter_map(|line| line.strip_prefix("User=").map(str::to_owned)).collect();
    assert_eq!(made, used);
}
