//! Man pages and completion scripts are built from their sources, and name every option, command and configuration key that the programs
//! have.

use std::collections::BTreeSet;
use std::process::Command;

use house_tests::completions::{self, PROGRAMS, SHELLS};

use super::{program, root};

/// A command of a command of a command, and an argument between.
const COMMAND_WORDS_MAX: usize = 4;

#[test]
fn man_pages_are_built_from_their_sources() {
    let dir = root().join("docs/man");
    let mut seen = 0;
    for entry in std::fs::read_dir(&dir).expect("docs/man") {
        let source = entry.expect("entry").path();
        if source.extension().is_none_or(|e| e != "md") {
            continue;
        }
        seen += 1;
        let built = source.with_extension("");
        let text = std::fs::read_to_string(&source).expect("source");
        let want = house_tests::man::page(&source, &text).unwrap_or_else(|e| panic!("{}: {e}", source.display()));
        let have = std::fs::read_to_string(&built).unwrap_or_default();
        assert!(want == have, "{} is stale: run `make man`", built.display());
    }
    assert!(seen >= 10, "only {seen} man pages");
}

#[test]
fn man_pages_name_every_command_and_option_and_say_what_people_look_for() {
    for name in PROGRAMS {
        let section = if name.ends_with("ctl") { 1 } else { 8 };
        let page = std::fs::read_to_string(root().join(format!("docs/man/{name}.{section}.md"))).expect("man page");
        for heading in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES", "SEE ALSO"] {
            assert!(page.contains(&format!("# {heading}\n")), "{name}.{section}.md has no {heading}");
        }
        let daemon = section == 8;
        for heading in ["SIGNALS", "FILES", "ENVIRONMENT"] {
            assert!(!daemon || page.contains(&format!("# {heading}\n")), "{name}.{section}.md has no {heading}");
        }
        let words: BTreeSet<&str> = page.split(|c: char| c.is_whitespace() || "*[]`,.()=|".contains(c)).collect();
        let helps = helps(name);
        assert!(helps.len() > usize::from(name.ends_with("ctl")) * 20, "{name}: {helps:?}");
        for Help { command, options } in helps {
            assert!(page.contains(&command), "{name}.{section}.md lacks {command}");
            for option in options {
                assert!(words.contains(&*option), "{name}.{section}.md lacks {option} of {command:?}");
            }
        }
    }
}

#[test]
fn man_pages_name_every_configuration_key() {
    for name in ["psm-agent", "heg-gateway", "heg-utility", "heg-kmc"] {
        let page = std::fs::read_to_string(root().join(format!("docs/man/{name}.toml.5.md"))).expect("man page");
        let example = std::fs::read_to_string(root().join(format!("packaging/examples/{name}.toml"))).expect("example");
        let mut seen = 0;
        for line in example.lines() {
            let line = line.strip_prefix('#').unwrap_or(line);
            let key = match line.split_once('=') {
                Some((key, _)) if !line.starts_with(' ') => key.trim(),
                _ => continue,
            };
            assert!(page.contains(&format!("**{key}**")), "{name}.toml.5.md lacks the key {key}");
            seen += 1;
        }
        assert!(seen > 5, "only {seen} keys in the example of {name}");
    }
}

#[test]
fn completion_scripts_are_built_and_name_every_command_and_option() {
    let built = program("hegctl");
    let built = built.parent().expect("a directory of programs");
    for name in PROGRAMS {
        let helps = helps(name);
        for shell in SHELLS {
            let path = root().join(completions::path(name, shell));
            let have = std::fs::read_to_string(&path).unwrap_or_default();
            let want = completions::script(name, shell, built).unwrap_or_else(|e| panic!("{e:#}"));
            assert!(want == have, "{} is stale: run `make completions`", path.display());
            for Help { command, options } in &helps {
                let last = command.rsplit(' ').next().unwrap_or_default();
                assert!(have.contains(last), "{} lacks {command}", path.display());
                for option in options {
                    let fish = format!(" -l {}", option.trim_start_matches('-'));
                    assert!(have.contains(option) || have.contains(&fish), "{} lacks {option}", path.display());
                }
            }
        }
    }
}

/// A completion as bash makes it: the words it offers where the line ends.
fn bash_offers(name: &str, line: &str) -> BTreeSet<String> {
    let script = root().join(completions::path(name, clap_complete::Shell::Bash));
    let run = r#"
        source "$1"
        spec=$(complete -p "$2") && [[ $spec =~ -F\ ([^ ]+) ]] || exit 1
        IFS=' ' read -ra COMP_WORDS <<<"$3"
        [[ $3 != *' ' ]] || COMP_WORDS+=("")
        COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
        "${BASH_REMATCH[1]}" "$2" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let out = Command::new("bash").args(["--norc", "-c", run, "bash"]).arg(&script).args([name, line]).output();
    let out = out.expect("bash");
    assert!(out.status.success() && out.stderr.is_empty(), "{line}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_and_options_of_every_program() {
    for (line, wanted) in [
        ("heg-gateway ", &["--config", "--check", "simulate", "firewall"][..]),
        ("heg-gateway firewall ", &["baseline", "remove"]),
        ("heg-gateway simulate --", &["--prices", "--days"]),
        ("hegctl st", &["status", "standby"]),
        ("hegctl rule ", &["add", "list", "remove"]),
        ("psm-agent request ", &["wake-up-time", "no-standby-period", "withdraw"]),
        ("heg-utility --ch", &["--check"]),
        ("utilityctl limit make --", &["--duration", "--randomise"]),
        ("heg-kmc token new --role ", &["heg", "utility"]),
    ] {
        let name = line.split(' ').next().unwrap_or_default();
        let offers = bash_offers(name, line);
        for word in wanted {
            assert!(offers.contains(*word), "{line:?} lacks {word}: {offers:?}");
        }
    }
}

/// What `--help` of a command names.
#[derive(Debug)]
struct Help {
    /// The command, without the program and without arguments; empty for the program itself.
    command: String,
    /// Its options, as `--check`.
    options: BTreeSet<String>,
}

/// The helps of a program and of all its commands.
fn helps(name: &str) -> Vec<Help> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let mut queue = vec![Vec::new()];
    while let Some(words) = queue.pop() {
        if words.len() > COMMAND_WORDS_MAX || !seen.insert(words.clone()) {
            continue;
        }
        let out = Command::new(program(name)).args(&words).arg("--help").output().expect("run");
        assert!(out.status.success(), "{name} {words:?} --help");
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let options = text
            .split(|c: char| c.is_whitespace() || "[]<>,=.".contains(c))
            .filter(|word| word.starts_with("--") && word.len() > 2)
            .map(str::to_owned)
            .collect();
        // Behind an argument only the last word: the manual has the argument's name between.
        let named = words.iter().rposition(|w| w == ARGUMENT).map_or(&words[..], |at| &words[at + 1..]);
        found.push(Help { command: named.join(" "), options });
        let before = before_command(name, &text);
        queue.extend(commands(&text).map(|c| before.iter().cloned().chain(c.split(' ').map(str::to_owned)).collect()));
    }
    found
}

/// Stands for an argument that comes before a command.
const ARGUMENT: &str = "x";

/// The words between program and command, as the line of usage has them.
fn before_command(name: &str, help: &str) -> Vec<String> {
    let usage = help.lines().find_map(|l| l.strip_prefix("Usage: ")).unwrap_or_default();
    let Some((before, _)) = usage.split_once("COMMAND") else { return Vec::new() };
    let words = before.split_whitespace().filter(|w| *w != name && !w.starts_with('['));
    words.filter(|w| *w != "<").map(|w| if w.starts_with('<') { ARGUMENT } else { w }.to_owned()).collect()
}

/// The commands that a help lists.
fn commands(help: &str) -> impl Iterator<Item = &str> {
    let list = help.split_once("\nCommands:\n").map_or("", |(_, list)| list);
    let list = list.split("\n\n").next().unwrap_or_default();
    list.lines()
        .filter_map(|l| l.strip_prefix("  ")?.split("  ").next())
        .filter(|c| *c != "help" && !c.starts_with(' '))
}
