# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_heg_gateway_global_optspecs
    string join \n config= check h/help V/version
end

function __fish_heg_gateway_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_heg_gateway_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_heg_gateway_using_subcommand
    set -l cmd (__fish_heg_gateway_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c heg-gateway -n "__fish_heg_gateway_needs_command" -l config -d 'Configuration file' -r -F
complete -c heg-gateway -n "__fish_heg_gateway_needs_command" -l check -d 'Check the configuration and exit'
complete -c heg-gateway -n "__fish_heg_gateway_needs_command" -s h -l help -d 'Print help'
complete -c heg-gateway -n "__fish_heg_gateway_needs_command" -s V -l version -d 'Print version'
complete -c heg-gateway -n "__fish_heg_gateway_needs_command" -f -a "self-test" -d 'See whether this build works on this machine'
complete -c heg-gateway -n "__fish_heg_gateway_needs_command" -f -a "simulate" -d 'Show what the planner would make of given prices'
complete -c heg-gateway -n "__fish_heg_gateway_needs_command" -f -a "firewall" -d 'Put the firewall\'s rules in place or take them away, without the daemon'
complete -c heg-gateway -n "__fish_heg_gateway_using_subcommand self-test" -s h -l help -d 'Print help'
complete -c heg-gateway -n "__fish_heg_gateway_using_subcommand simulate" -l prices -d 'A price file; several follow each other' -r -F
complete -c heg-gateway -n "__fish_heg_gateway_using_subcommand simulate" -l days -d 'How many days' -r
complete -c heg-gateway -n "__fish_heg_gateway_using_subcommand simulate" -l config -d 'Configuration file' -r -F
complete -c heg-gateway -n "__fish_heg_gateway_using_subcommand simulate" -s h -l help -d 'Print help'
complete -c heg-gateway -n "__fish_heg_gateway_using_subcommand firewall; and not __fish_seen_subcommand_from baseline take-back remove" -s h -l help -d 'Print help'
complete -c heg-gateway -n "__fish_heg_gateway_using_subcommand firewall; and not __fish_seen_subcommand_from baseline take-back remove" -f -a "baseline" -d 'Put the firewall\'s rules in place before the network is up'
complete -c heg-gateway -n "__fish_heg_gateway_using_subcommand firewall; and not __fish_seen_subcommand_from baseline take-back remove" -f -a "take-back" -d 'Take back a change of the firewall that nobody has confirmed'
complete -c heg-gateway -n "__fish_heg_gateway_using_subcommand firewall; and not __fish_seen_subcommand_from baseline take-back remove" -f -a "remove" -d 'Take the firewall\'s table away'
complete -c heg-gateway -n "__fish_heg_gateway_using_subcommand firewall; and __fish_seen_subcommand_from baseline" -s h -l help -d 'Print help'
complete -c heg-gateway -n "__fish_heg_gateway_using_subcommand firewall; and __fish_seen_subcommand_from take-back" -s h -l help -d 'Print help'
complete -c heg-gateway -n "__fish_heg_gateway_using_subcommand firewall; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
