//! The built program's command line.

#[cfg(test)]
mod tests {
    use std::process::{Command, Output};

    use serde_json::Value;

    fn run(line: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_psm-agent")).args(line.split(' ')).output().unwrap()
    }

    #[test]
    fn errors_are_json_too_where_json_is_asked_for() {
        for (line, exit, code) in [
            ("status --json now", 64, "usage"),
            ("request wake-up-time --json", 64, "usage"),
            ("--json", 64, "usage"),
            ("status --json --socket /nonexistent/control.sock", 69, "no-answer"),
        ] {
            let out = run(line);
            assert_eq!(out.status.code(), Some(exit), "{line}: {out:?}");
            let body: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{line}: {e}: {out:?}"));
            assert_eq!(body["code"], code, "{line}");
            assert!(body["error"].as_str().is_some_and(|error| !error.is_empty()), "{line}");
            assert!(!out.stderr.is_empty(), "{line}: people are told as ever");
        }
        assert!(run("status now").stdout.is_empty());
    }
}
