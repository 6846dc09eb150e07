# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_psm_agent_global_optspecs
    string join \n config= check socket= h/help V/version
end

function __fish_psm_agent_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_psm_agent_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_psm_agent_using_subcommand
    set -l cmd (__fish_psm_agent_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c psm-agent -n "__fish_psm_agent_needs_command" -l config -d 'Configuration file' -r -F
complete -c psm-agent -n "__fish_psm_agent_needs_command" -l socket -d 'Control socket' -r -F
complete -c psm-agent -n "__fish_psm_agent_needs_command" -l check -d 'Check the configuration and exit'
complete -c psm-agent -n "__fish_psm_agent_needs_command" -s h -l help -d 'Print help'
complete -c psm-agent -n "__fish_psm_agent_needs_command" -s V -l version -d 'Print version'
complete -c psm-agent -n "__fish_psm_agent_needs_command" -f -a "status" -d 'Show state, sources in use, gateways, last events and refusals'
complete -c psm-agent -n "__fish_psm_agent_needs_command" -f -a "request" -d 'Ask something of the gateway, every day until it is withdrawn'
complete -c psm-agent -n "__fish_psm_agent_needs_command" -f -a "wake-on-lan" -d 'Ask the network cards whether they wake this machine and arm them'
complete -c psm-agent -n "__fish_psm_agent_using_subcommand status" -l config -d 'Configuration file, which may name the socket' -r -F
complete -c psm-agent -n "__fish_psm_agent_using_subcommand status" -l socket -d 'Control socket' -r -F
complete -c psm-agent -n "__fish_psm_agent_using_subcommand status" -l json -d 'As JSON'
complete -c psm-agent -n "__fish_psm_agent_using_subcommand status" -s h -l help -d 'Print help'
complete -c psm-agent -n "__fish_psm_agent_using_subcommand request; and not __fish_seen_subcommand_from wake-up-time no-standby-period withdraw" -l config -d 'Configuration file, which may name the socket' -r -F
complete -c psm-agent -n "__fish_psm_agent_using_subcommand request; and not __fish_seen_subcommand_from wake-up-time no-standby-period withdraw" -l socket -d 'Control socket' -r -F
complete -c psm-agent -n "__fish_psm_agent_using_subcommand request; and not __fish_seen_subcommand_from wake-up-time no-standby-period withdraw" -l json -d 'As JSON'
complete -c psm-agent -n "__fish_psm_agent_using_subcommand request; and not __fish_seen_subcommand_from wake-up-time no-standby-period withdraw" -s h -l help -d 'Print help'
complete -c psm-agent -n "__fish_psm_agent_using_subcommand request; and not __fish_seen_subcommand_from wake-up-time no-standby-period withdraw" -f -a "wake-up-time" -d 'Be woken at that time'
complete -c psm-agent -n "__fish_psm_agent_using_subcommand request; and not __fish_seen_subcommand_from wake-up-time no-standby-period withdraw" -f -a "no-standby-period" -d 'Not be sent to standby between two times'
complete -c psm-agent -n "__fish_psm_agent_using_subcommand request; and not __fish_seen_subcommand_from wake-up-time no-standby-period withdraw" -f -a "withdraw" -d 'Withdraw a request'
complete -c psm-agent -n "__fish_psm_agent_using_subcommand request; and __fish_seen_subcommand_from wake-up-time" -s h -l help -d 'Print help'
complete -c psm-agent -n "__fish_psm_agent_using_subcommand request; and __fish_seen_subcommand_from no-standby-period" -s h -l help -d 'Print help'
complete -c psm-agent -n "__fish_psm_agent_using_subcommand request; and __fish_seen_subcommand_from withdraw" -s h -l help -d 'Print help'
complete -c psm-agent -n "__fish_psm_agent_using_subcommand wake-on-lan" -l config -d 'Configuration file' -r -F
complete -c psm-agent -n "__fish_psm_agent_using_subcommand wake-on-lan" -s h -l help -d 'Print help'
