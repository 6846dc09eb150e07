# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_heg_utility_global_optspecs
    string join \n config= check h/help V/version
end

function __fish_heg_utility_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_heg_utility_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_heg_utility_using_subcommand
    set -l cmd (__fish_heg_utility_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c heg-utility -n "__fish_heg_utility_needs_command" -l config -d 'Configuration file' -r -F
complete -c heg-utility -n "__fish_heg_utility_needs_command" -l check -d 'Check the configuration and exit'
complete -c heg-utility -n "__fish_heg_utility_needs_command" -s h -l help -d 'Print help'
complete -c heg-utility -n "__fish_heg_utility_needs_command" -s V -l version -d 'Print version'
complete -c heg-utility -n "__fish_heg_utility_needs_command" -f -a "self-test" -d 'See whether this build works on this machine'
complete -c heg-utility -n "__fish_heg_utility_using_subcommand self-test" -s h -l help -d 'Print help'
