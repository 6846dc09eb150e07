//! `hegctl completion`: a shell's completion script. For bash, zsh and fish it also completes the names of appliances, by asking
//! the gateway.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Args;

/// Where zsh completes an appliance: as arguments are described in [`crate::args`].
const ZSH_IDS: &[&str] = &[
    ":id -- Name, UDN or its beginning:_default",
    ":id -- Name, UDN or its beginning; `all` for every appliance:_default",
    "(none\\: all appliances), then yes or no:_default",
    ":ID:_default",
];

/// What a shell reads to complete the command line of `hegctl`.
pub(crate) fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "hegctl", &mut script);
    let mut script = String::from_utf8_lossy(&script).into_owned();
    match shell {
        Shell::Bash => script += include_str!("completion/names.bash"),
        Shell::Fish => script += include_str!("completion/names.fish"),
        Shell::Zsh => {
            for id in ZSH_IDS {
                script = script.replace(id, &id.replace("_default", "_hegctl_names"));
            }
            // Before the last lines, which call the first function.
            let end = script.find("\nif [ \"$funcstack[1]\"").unwrap_or(script.len());
            script.insert_str(end, include_str!("completion/names.zsh"));
        }
        _ => {}
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zsh_completes_names_wherever_an_appliance_is_meant() {
        let script = script(Shell::Zsh);
        // show, on, off, standby, wake, schedule, forget, why, consent and rule add; --appliance of withdraw, journal and rule list.
        assert_eq!(script.matches(":_hegctl_names'").count(), 13, "{script}");
        assert!(script.find("\n_hegctl_names() {") < script.find("\nif [ \"$funcstack[1]\""));
    }
}
