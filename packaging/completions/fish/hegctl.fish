# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_hegctl_global_optspecs
    string join \n socket= json h/help V/version
end

function __fish_hegctl_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_hegctl_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_hegctl_using_subcommand
    set -l cmd (__fish_hegctl_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c hegctl -n "__fish_hegctl_needs_command" -l socket -d 'Control socket [default: $HEG_SOCKET, else /run/heg/control.sock]' -r -F
complete -c hegctl -n "__fish_hegctl_needs_command" -l json -d 'Print JSON instead of tables'
complete -c hegctl -n "__fish_hegctl_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hegctl -n "__fish_hegctl_needs_command" -s V -l version -d 'Print version'
complete -c hegctl -n "__fish_hegctl_needs_command" -f -a "status" -d 'Show the gateway: states, interfaces, commands under way, troubles, last events'
complete -c hegctl -n "__fish_hegctl_needs_command" -f -a "appliances" -d 'List the appliances'
complete -c hegctl -n "__fish_hegctl_needs_command" -f -a "show" -d 'Show everything known of an appliance'
complete -c hegctl -n "__fish_hegctl_needs_command" -f -a "on" -d 'Wake an appliance if it sleeps and switch its operation on'
complete -c hegctl -n "__fish_hegctl_needs_command" -f -a "off" -d 'Switch an appliance\'s operation off'
complete -c hegctl -n "__fish_hegctl_needs_command" -f -a "standby" -d 'Send an appliance to standby'
complete -c hegctl -n "__fish_hegctl_needs_command" -f -a "wake" -d 'Wake an appliance'
complete -c hegctl -n "__fish_hegctl_needs_command" -f -a "schedule" -d 'Show what is scheduled for an appliance every day, or schedule more'
complete -c hegctl -n "__fish_hegctl_needs_command" -f -a "withdraw" -d 'Withdraw a registration'
complete -c hegctl -n "__fish_hegctl_needs_command" -f -a "forget" -d 'Forget an appliance that is gone for good'
complete -c hegctl -n "__fish_hegctl_needs_command" -f -a "journal" -d 'Show what was done, seen and refused, and why'
complete -c hegctl -n "__fish_hegctl_needs_command" -f -a "prices" -d 'Show what energy costs today and tomorrow, where that is from, and what is missing or stale'
complete -c hegctl -n "__fish_hegctl_needs_command" -f -a "rule" -d 'List, make and remove rules: what may be planned, when it runs, at what price, what goes first'
complete -c hegctl -n "__fish_hegctl_needs_command" -f -a "plan" -d 'Show the plan: which appliance is on when, and why'
complete -c hegctl -n "__fish_hegctl_needs_command" -f -a "why" -d 'Show why an appliance is as it is: who decides, by which input, and the last decisions about it'
complete -c hegctl -n "__fish_hegctl_needs_command" -f -a "savings" -d 'Show what planned appliances cost, by day and by month, and what it would have been at once'
complete -c hegctl -n "__fish_hegctl_needs_command" -f -a "firewall" -d 'Show or change the gateway\'s firewall'
complete -c hegctl -n "__fish_hegctl_needs_command" -f -a "watch" -d 'Show changes as they happen, until interrupted'
complete -c hegctl -n "__fish_hegctl_needs_command" -f -a "enrol" -d 'Enrol this gateway at the utility\'s key management centre'
complete -c hegctl -n "__fish_hegctl_needs_command" -f -a "utility" -d 'Show the dealings with the utility: address, keys, policy, limits, prices, what is out of date'
complete -c hegctl -n "__fish_hegctl_needs_command" -f -a "consent" -d 'Say whether the utility may control an appliance, or all'
complete -c hegctl -n "__fish_hegctl_needs_command" -f -a "completion" -d 'Print a shell\'s completion script'
complete -c hegctl -n "__fish_hegctl_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c hegctl -n "__fish_hegctl_using_subcommand status" -l socket -d 'Control socket [default: $HEG_SOCKET, else /run/heg/control.sock]' -r -F
complete -c hegctl -n "__fish_hegctl_using_subcommand status" -l json -d 'Print JSON instead of tables'
complete -c hegctl -n "__fish_hegctl_using_subcommand status" -s h -l help -d 'Print help'
complete -c hegctl -n "__fish_hegctl_using_subcommand appliances" -l socket -d 'Control socket [default: $HEG_SOCKET, else /run/heg/control.sock]' -r -F
complete -c hegctl -n "__fish_hegctl_using_subcommand appliances" -l names -d 'Print their names only, one a line'
complete -c hegctl -n "__fish_hegctl_using_subcommand appliances" -l json -d 'Print JSON instead of tables'
complete -c hegctl -n "__fish_hegctl_using_subcommand appliances" -s h -l help -d 'Print help'
complete -c hegctl -n "__fish_hegctl_using_subcommand show" -l socket -d 'Control socket [default: $HEG_SOCKET, else /run/heg/control.sock]' -r -F
complete -c hegctl -n "__fish_hegctl_using_subcommand show" -l json -d 'Print JSON instead of tables'
complete -c hegctl -n "__fish_hegctl_using_subcommand show" -s h -l help -d 'Print help'
complete -c hegctl -n "__fish_hegctl_using_subcommand on" -l socket -d 'Control socket [default: $HEG_SOCKET, else /run/heg/control.sock]' -r -F
complete -c hegctl -n "__fish_hegctl_using_subcommand on" -l json -d 'Print JSON instead of tables'
complete -c hegctl -n "__fish_hegctl_using_subcommand on" -s h -l help -d 'Print help'
complete -c hegctl -n "__fish_hegctl_using_subcommand off" -l socket -d 'Control socket [default: $HEG_SOCKET, else /run/heg/control.sock]' -r -F
complete -c hegctl -n "__fish_hegctl_using_subcommand off" -l json -d 'Print JSON instead of tables'
complete -c hegctl -n "__fish_hegctl_using_subcommand off" -s h -l help -d 'Print help'
complete -c hegctl -n "__fish_hegctl_using_subcommand standby" -l socket -d 'Control socket [default: $HEG_SOCKET, else /run/heg/control.sock]' -r -F
complete -c hegctl -n "__fish_hegctl_using_subcommand standby" -l json -d 'Print JSON instead of tables'
complete -c hegctl -n "__fish_hegctl_using_subcommand standby" -s h -l help -d 'Print help'
complete -c hegctl -n "__fish_hegctl_using_subcommand wake" -l socket -d 'Control socket [default: $HEG_SOCKET, else /run/heg/control.sock]' -r -F
complete -c hegctl -n "__fish_hegctl_using_subcommand wake" -l json -d 'Print JSON instead of tables'
complete -c hegctl -n "__fish_hegctl_using_subcommand wake" -s h -l help -d 'Print help'
complete -c hegctl -n "__fish_hegctl_using_subcommand schedule; and not __fish_seen_subcommand_from standby wake no-standby help" -l socket -d 'Control socket [default: $HEG_SOCKET, else /run/heg/control.sock]' -r -F
complete -c hegctl -n "__fish_hegctl_using_subcommand schedule; and not __fish_seen_subcommand_from standby wake no-standby help" -l json -d 'Print JSON instead of tables'
complete -c hegctl -n "__fish_hegctl_using_subcommand schedule; and not __fish_seen_subcommand_from standby wake no-standby help" -s h -l help -d 'Print help'
complete -c hegctl -n "__fish_hegctl_using_subcommand schedule; and not __fish_seen_subcommand_from standby wake no-standby help" -a "standby" -d 'It sleeps every day from START to STOP (kept by the appliance)'
complete -c hegctl -n "__fish_hegctl_using_subcommand schedule; and not __fish_seen_subcommand_from standby wake no-standby help" -a "wake" -d 'The gateway wakes it every day'
complete -c hegctl -n "__fish_hegctl_using_subcommand schedule; and not __fish_seen_subcommand_from standby wake no-standby help" -a "no-standby" -d 'The gateway never sends it to standby between START and STOP'
complete -c hegctl -n "__fish_hegctl_using_subcommand schedule; and not __fish_seen_subcommand_from standby wake no-standby help" -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c hegctl -n "__fish_hegctl_using_subcommand schedule; and __fish_seen_subcommand_from standby" -l socket -d 'Control socket [default: $HEG_SOCKET, else /run/heg/control.sock]' -r -F
complete -c hegctl -n "__fish_hegctl_using_subcommand schedule; and __fish_seen_subcommand_from standby" -l json -d 'Print JSON instead of tables'
complete -c hegctl -n "__fish_hegctl_using_subcommand schedule; and __fish_seen_subcommand_from standby" -s h -l help -d 'Print help'
complete -c hegctl -n "__fish_hegctl_using_subcommand schedule; and __fish_seen_subcommand_from wake" -l socket -d 'Control socket [default: $HEG_SOCKET, else /run/heg/control.sock]' -r -F
complete -c hegctl -n "__fish_hegctl_using_subcommand schedule; and __fish_seen_subcommand_from wake" -l json -d 'Print JSON instead of tables'
complete -c hegctl -n "__fish_hegctl_using_subcommand schedule; and __fish_seen_subcommand_from wake" -s h -l help -d 'Print help'
complete -c hegctl -n "__fish_hegctl_using_subcommand schedule; and __fish_seen_subcommand_from no-standby" -l socket -d 'Control socket [default: $HEG_SOCKET, else /run/heg/control.sock]' -r -F
complete -c hegctl -n "__fish_hegctl_using_subcommand schedule; and __fish_seen_subcommand_from no-standby" -l json -d 'Print JSON instead of tables'
complete -c hegctl -n "__fish_hegctl_using_subcommand schedule; and __fish_seen_subcommand_from no-standby" -s h -l help -d 'Print help'
complete -c hegctl -n "__fish_hegctl_using_subcommand schedule; and __fish_seen_subcommand_from help" -f -a "standby" -d 'It sleeps every day from START to STOP (kept by the appliance)'
complete -c hegctl -n "__fish_hegctl_using_subcommand schedule; and __fish_seen_subcommand_from help" -f -a "wake" -d 'The gateway wakes it every day'
complete -c hegctl -n "__fish_hegctl_using_subcommand schedule; and __fish_seen_subcommand_from help" -f -a "no-standby" -d 'The gateway never sends it to standby between START and STOP'
complete -c hegctl -n "__fish_hegctl_using_subcommand schedule; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c hegctl -n "__fish_hegctl_using_subcommand withdraw" -l appliance -d 'Whose, where several use that number' -r
complete -c hegctl -n "__fish_hegctl_using_subcommand withdraw" -l socket -d 'Control socket [default: $HEG_SOCKET, else /run/heg/control.sock]' -r -F
complete -c hegctl -n "__fish_hegctl_using_subcommand withdraw" -l json -d 'Print JSON instead of tables'
complete -c hegctl -n "__fish_hegctl_using_subcommand withdraw" -s h -l help -d 'Print help'
complete -c hegctl -n "__fish_hegctl_using_subcommand forget" -l socket -d 'Control socket [default: $HEG_SOCKET, else /run/heg/control.sock]' -r -F
complete -c hegctl -n "__fish_hegctl_using_subcommand forget" -l json -d 'Print JSON instead of tables'
complete -c hegctl -n "__fish_hegctl_using_subcommand forget" -s h -l help -d 'Print help'
complete -c hegctl -n "__fish_hegctl_using_subcommand journal" -l since -d 'From then on: 90s, 30m, 2h, 7d, a date, or a date with a time' -r
complete -c hegctl -n "__fish_hegctl_using_subcommand journal" -l limit -d 'The latest so many entries' -r
complete -c hegctl -n "__fish_hegctl_using_subcommand journal" -l appliance -d 'Of one appliance only' -r
complete -c hegctl -n "__fish_hegctl_using_subcommand journal" -l socket -d 'Control socket [default: $HEG_SOCKET, else /run/heg/control.sock]' -r -F
complete -c hegctl -n "__fish_hegctl_using_subcommand journal" -l json -d 'Print JSON instead of tables'
complete -c hegctl -n "__fish_hegctl_using_subcommand journal" -s h -l help -d 'Print help'
complete -c hegctl -n "__fish_hegctl_using_subcommand prices" -l socket -d 'Control socket [default: $HEG_SOCKET, else /run/heg/control.sock]' -r -F
complete -c hegctl -n "__fish_hegctl_using_subcommand prices" -l json -d 'Print JSON instead of tables'
complete -c hegctl -n "__fish_hegctl_using_subcommand prices" -s h -l help -d 'Print help'
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and not __fish_seen_subcommand_from list add remove help" -l socket -d 'Control socket [default: $HEG_SOCKET, else /run/heg/control.sock]' -r -F
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and not __fish_seen_subcommand_from list add remove help" -l json -d 'Print JSON instead of tables'
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and not __fish_seen_subcommand_from list add remove help" -s h -l help -d 'Print help'
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and not __fish_seen_subcommand_from list add remove help" -f -a "list" -d 'List the rules'
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and not __fish_seen_subcommand_from list add remove help" -f -a "add" -d 'Make a rule about an appliance, or about `all`'
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and not __fish_seen_subcommand_from list add remove help" -f -a "remove" -d 'Remove a rule'
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and not __fish_seen_subcommand_from list add remove help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and __fish_seen_subcommand_from list" -l appliance -d 'Only those about this appliance' -r
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and __fish_seen_subcommand_from list" -l socket -d 'Control socket [default: $HEG_SOCKET, else /run/heg/control.sock]' -r -F
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and __fish_seen_subcommand_from list" -l json -d 'Print JSON instead of tables'
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and __fish_seen_subcommand_from add" -l for -d 'It ends after this: 90s, 30m, 2h, 7d' -r
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and __fish_seen_subcommand_from add" -l until -d 'It ends then: 07:30, 2h, a date, or a date with a time' -r
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and __fish_seen_subcommand_from add" -l from -d 'It begins then' -r
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and __fish_seen_subcommand_from add" -l socket -d 'Control socket [default: $HEG_SOCKET, else /run/heg/control.sock]' -r -F
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and __fish_seen_subcommand_from add" -l json -d 'Print JSON instead of tables'
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help'
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and __fish_seen_subcommand_from add" -a "plan" -d 'What the gateway may do on its own account'
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and __fish_seen_subcommand_from add" -a "kind" -d 'What may be done with its work, instead of what it says itself'
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and __fish_seen_subcommand_from add" -a "every-day" -d 'Its cycle runs, or its energy is taken, once a day between START and STOP'
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and __fish_seen_subcommand_from add" -a "importance" -d 'How important it is: Critical, High, Normal or Low'
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and __fish_seen_subcommand_from add" -a "price-max" -d 'It does not run above this price'
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and __fish_seen_subcommand_from add" -a "only" -d 'It runs every day from START to STOP and not outside'
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and __fish_seen_subcommand_from add" -a "keep-on" -d 'It is not switched off between START and STOP'
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and __fish_seen_subcommand_from add" -a "power" -d 'It draws so much while on, instead of what it says itself'
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and __fish_seen_subcommand_from add" -a "rest-power" -d 'It draws so much while off or in standby'
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and __fish_seen_subcommand_from add" -a "minimum-on" -d 'Once on it stays on for so long, instead of what it says itself'
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and __fish_seen_subcommand_from add" -a "minimum-off" -d 'Once off it stays off for so long, instead of what it says itself'
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and __fish_seen_subcommand_from add" -a "start-cost" -d 'A start costs so much: it is not switched on and off for less'
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and __fish_seen_subcommand_from add" -a "run" -d 'Its cycle runs once, and is over at --until'
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and __fish_seen_subcommand_from add" -a "charge" -d 'It takes so much energy once, until --until'
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and __fish_seen_subcommand_from add" -a "opt-out" -d 'It is left out of the plan, of the utility\'s orders, or of both'
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and __fish_seen_subcommand_from add" -a "on" -d 'It is on, whatever the plan says (two hours if no end is given)'
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and __fish_seen_subcommand_from add" -a "off" -d 'It is off, whatever the plan says (two hours if no end is given)'
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and __fish_seen_subcommand_from add" -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and __fish_seen_subcommand_from remove" -l socket -d 'Control socket [default: $HEG_SOCKET, else /run/heg/control.sock]' -r -F
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and __fish_seen_subcommand_from remove" -l json -d 'Print JSON instead of tables'
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and __fish_seen_subcommand_from help" -f -a "list" -d 'List the rules'
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and __fish_seen_subcommand_from help" -f -a "add" -d 'Make a rule about an appliance, or about `all`'
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and __fish_seen_subcommand_from help" -f -a "remove" -d 'Remove a rule'
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c hegctl -n "__fish_hegctl_using_subcommand plan" -l socket -d 'Control socket [default: $HEG_SOCKET, else /run/heg/control.sock]' -r -F
complete -c hegctl -n "__fish_hegctl_using_subcommand plan" -l json -d 'Print JSON instead of tables'
complete -c hegctl -n "__fish_hegctl_using_subcommand plan" -s h -l help -d 'Print help'
complete -c hegctl -n "__fish_hegctl_using_subcommand why" -l socket -d 'Control socket [default: $HEG_SOCKET, else /run/heg/control.sock]' -r -F
complete -c hegctl -n "__fish_hegctl_using_subcommand why" -l json -d 'Print JSON instead of tables'
complete -c hegctl -n "__fish_hegctl_using_subcommand why" -s h -l help -d 'Print help'
complete -c hegctl -n "__fish_hegctl_using_subcommand savings" -l socket -d 'Control socket [default: $HEG_SOCKET, else /run/heg/control.sock]' -r -F
complete -c hegctl -n "__fish_hegctl_using_subcommand savings" -l json -d 'Print JSON instead of tables'
complete -c hegctl -n "__fish_hegctl_using_subcommand savings" -s h -l help -d 'Print help'
complete -c hegctl -n "__fish_hegctl_using_subcommand firewall; and not __fish_seen_subcommand_from status plan apply confirm off help" -l socket -d 'Control socket [default: $HEG_SOCKET, else /run/heg/control.sock]' -r -F
complete -c hegctl -n "__fish_hegctl_using_subcommand firewall; and not __fish_seen_subcommand_from status plan apply confirm off help" -l json -d 'Print JSON instead of tables'
complete -c hegctl -n "__fish_hegctl_using_subcommand firewall; and not __fish_seen_subcommand_from status plan apply confirm off help" -s h -l help -d 'Print help'
complete -c hegctl -n "__fish_hegctl_using_subcommand firewall; and not __fish_seen_subcommand_from status plan apply confirm off help" -f -a "status" -d 'Show the rules in place, what they dropped, and whether a change waits (also without a word)'
complete -c hegctl -n "__fish_hegctl_using_subcommand firewall; and not __fish_seen_subcommand_from status plan apply confirm off help" -f -a "plan" -d 'Show what applying the configuration file would do, changing nothing'
complete -c hegctl -n "__fish_hegctl_using_subcommand firewall; and not __fish_seen_subcommand_from status plan apply confirm off help" -f -a "apply" -d 'Put the configuration file\'s firewall section in force; taken back after a minute unless confirmed'
complete -c hegctl -n "__fish_hegctl_using_subcommand firewall; and not __fish_seen_subcommand_from status plan apply confirm off help" -f -a "confirm" -d 'Let a change stay'
complete -c hegctl -n "__fish_hegctl_using_subcommand firewall; and not __fish_seen_subcommand_from status plan apply confirm off help" -f -a "off" -d 'Take all rules of the gateway\'s away, until they are applied again; back after a minute unless confirmed'
complete -c hegctl -n "__fish_hegctl_using_subcommand firewall; and not __fish_seen_subcommand_from status plan apply confirm off help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c hegctl -n "__fish_hegctl_using_subcommand firewall; and __fish_seen_subcommand_from status" -l socket -d 'Control socket [default: $HEG_SOCKET, else /run/heg/control.sock]' -r -F
complete -c hegctl -n "__fish_hegctl_using_subcommand firewall; and __fish_seen_subcommand_from status" -l json -d 'Print JSON instead of tables'
complete -c hegctl -n "__fish_hegctl_using_subcommand firewall; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help'
complete -c hegctl -n "__fish_hegctl_using_subcommand firewall; and __fish_seen_subcommand_from plan" -l socket -d 'Control socket [default: $HEG_SOCKET, else /run/heg/control.sock]' -r -F
complete -c hegctl -n "__fish_hegctl_using_subcommand firewall; and __fish_seen_subcommand_from plan" -l json -d 'Print JSON instead of tables'
complete -c hegctl -n "__fish_hegctl_using_subcommand firewall; and __fish_seen_subcommand_from plan" -s h -l help -d 'Print help'
complete -c hegctl -n "__fish_hegctl_using_subcommand firewall; and __fish_seen_subcommand_from apply" -l socket -d 'Control socket [default: $HEG_SOCKET, else /run/heg/control.sock]' -r -F
complete -c hegctl -n "__fish_hegctl_using_subcommand firewall; and __fish_seen_subcommand_from apply" -l confirmed -d 'Confirm it at once, as a script that can\'t be cut off does'
complete -c hegctl -n "__fish_hegctl_using_subcommand firewall; and __fish_seen_subcommand_from apply" -l json -d 'Print JSON instead of tables'
complete -c hegctl -n "__fish_hegctl_using_subcommand firewall; and __fish_seen_subcommand_from apply" -s h -l help -d 'Print help'
complete -c hegctl -n "__fish_hegctl_using_subcommand firewall; and __fish_seen_subcommand_from confirm" -l socket -d 'Control socket [default: $HEG_SOCKET, else /run/heg/control.sock]' -r -F
complete -c hegctl -n "__fish_hegctl_using_subcommand firewall; and __fish_seen_subcommand_from confirm" -l json -d 'Print JSON instead of tables'
complete -c hegctl -n "__fish_hegctl_using_subcommand firewall; and __fish_seen_subcommand_from confirm" -s h -l help -d 'Print help'
complete -c hegctl -n "__fish_hegctl_using_subcommand firewall; and __fish_seen_subcommand_from off" -l socket -d 'Control socket [default: $HEG_SOCKET, else /run/heg/control.sock]' -r -F
complete -c hegctl -n "__fish_hegctl_using_subcommand firewall; and __fish_seen_subcommand_from off" -l confirmed -d 'Confirm it at once, whatever else waits to be confirmed'
complete -c hegctl -n "__fish_hegctl_using_subcommand firewall; and __fish_seen_subcommand_from off" -l json -d 'Print JSON instead of tables'
complete -c hegctl -n "__fish_hegctl_using_subcommand firewall; and __fish_seen_subcommand_from off" -s h -l help -d 'Print help'
complete -c hegctl -n "__fish_hegctl_using_subcommand firewall; and __fish_seen_subcommand_from help" -f -a "status" -d 'Show the rules in place, what they dropped, and whether a change waits (also without a word)'
complete -c hegctl -n "__fish_hegctl_using_subcommand firewall; and __fish_seen_subcommand_from help" -f -a "plan" -d 'Show what applying the configuration file would do, changing nothing'
complete -c hegctl -n "__fish_hegctl_using_subcommand firewall; and __fish_seen_subcommand_from help" -f -a "apply" -d 'Put the configuration file\'s firewall section in force; taken back after a minute unless confirmed'
complete -c hegctl -n "__fish_hegctl_using_subcommand firewall; and __fish_seen_subcommand_from help" -f -a "confirm" -d 'Let a change stay'
complete -c hegctl -n "__fish_hegctl_using_subcommand firewall; and __fish_seen_subcommand_from help" -f -a "off" -d 'Take all rules of the gateway\'s away, until they are applied again; back after a minute unless confirmed'
complete -c hegctl -n "__fish_hegctl_using_subcommand firewall; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c hegctl -n "__fish_hegctl_using_subcommand watch" -l socket -d 'Control socket [default: $HEG_SOCKET, else /run/heg/control.sock]' -r -F
complete -c hegctl -n "__fish_hegctl_using_subcommand watch" -l json -d 'Print JSON instead of tables'
complete -c hegctl -n "__fish_hegctl_using_subcommand watch" -s h -l help -d 'Print help'
complete -c hegctl -n "__fish_hegctl_using_subcommand enrol" -l socket -d 'Control socket [default: $HEG_SOCKET, else /run/heg/control.sock]' -r -F
complete -c hegctl -n "__fish_hegctl_using_subcommand enrol" -l replace -d 'Enrol anew though it is enrolled'
complete -c hegctl -n "__fish_hegctl_using_subcommand enrol" -l json -d 'Print JSON instead of tables'
complete -c hegctl -n "__fish_hegctl_using_subcommand enrol" -s h -l help -d 'Print help'
complete -c hegctl -n "__fish_hegctl_using_subcommand utility" -l socket -d 'Control socket [default: $HEG_SOCKET, else /run/heg/control.sock]' -r -F
complete -c hegctl -n "__fish_hegctl_using_subcommand utility" -l json -d 'Print JSON instead of tables'
complete -c hegctl -n "__fish_hegctl_using_subcommand utility" -s h -l help -d 'Print help'
complete -c hegctl -n "__fish_hegctl_using_subcommand consent" -l socket -d 'Control socket [default: $HEG_SOCKET, else /run/heg/control.sock]' -r -F
complete -c hegctl -n "__fish_hegctl_using_subcommand consent" -l json -d 'Print JSON instead of tables'
complete -c hegctl -n "__fish_hegctl_using_subcommand consent" -s h -l help -d 'Print help'
complete -c hegctl -n "__fish_hegctl_using_subcommand completion" -l socket -d 'Control socket [default: $HEG_SOCKET, else /run/heg/control.sock]' -r -F
complete -c hegctl -n "__fish_hegctl_using_subcommand completion" -l json -d 'Print JSON instead of tables'
complete -c hegctl -n "__fish_hegctl_using_subcommand completion" -s h -l help -d 'Print help'
complete -c hegctl -n "__fish_hegctl_using_subcommand help; and not __fish_seen_subcommand_from status appliances show on off standby wake schedule withdraw forget journal prices rule plan why savings firewall watch enrol utility consent completion help" -f -a "status" -d 'Show the gateway: states, interfaces, commands under way, troubles, last events'
complete -c hegctl -n "__fish_hegctl_using_subcommand help; and not __fish_seen_subcommand_from status appliances show on off standby wake schedule withdraw forget journal prices rule plan why savings firewall watch enrol utility consent completion help" -f -a "appliances" -d 'List the appliances'
complete -c hegctl -n "__fish_hegctl_using_subcommand help; and not __fish_seen_subcommand_from status appliances show on off standby wake schedule withdraw forget journal prices rule plan why savings firewall watch enrol utility consent completion help" -f -a "show" -d 'Show everything known of an appliance'
complete -c hegctl -n "__fish_hegctl_using_subcommand help; and not __fish_seen_subcommand_from status appliances show on off standby wake schedule withdraw forget journal prices rule plan why savings firewall watch enrol utility consent completion help" -f -a "on" -d 'Wake an appliance if it sleeps and switch its operation on'
complete -c hegctl -n "__fish_hegctl_using_subcommand help; and not __fish_seen_subcommand_from status appliances show on off standby wake schedule withdraw forget journal prices rule plan why savings firewall watch enrol utility consent completion help" -f -a "off" -d 'Switch an appliance\'s operation off'
complete -c hegctl -n "__fish_hegctl_using_subcommand help; and not __fish_seen_subcommand_from status appliances show on off standby wake schedule withdraw forget journal prices rule plan why savings firewall watch enrol utility consent completion help" -f -a "standby" -d 'Send an appliance to standby'
complete -c hegctl -n "__fish_hegctl_using_subcommand help; and not __fish_seen_subcommand_from status appliances show on off standby wake schedule withdraw forget journal prices rule plan why savings firewall watch enrol utility consent completion help" -f -a "wake" -d 'Wake an appliance'
complete -c hegctl -n "__fish_hegctl_using_subcommand help; and not __fish_seen_subcommand_from status appliances show on off standby wake schedule withdraw forget journal prices rule plan why savings firewall watch enrol utility consent completion help" -f -a "schedule" -d 'Show what is scheduled for an appliance every day, or schedule more'
complete -c hegctl -n "__fish_hegctl_using_subcommand help; and not __fish_seen_subcommand_from status appliances show on off standby wake schedule withdraw forget journal prices rule plan why savings firewall watch enrol utility consent completion help" -f -a "withdraw" -d 'Withdraw a registration'
complete -c hegctl -n "__fish_hegctl_using_subcommand help; and not __fish_seen_subcommand_from status appliances show on off standby wake schedule withdraw forget journal prices rule plan why savings firewall watch enrol utility consent completion help" -f -a "forget" -d 'Forget an appliance that is gone for good'
complete -c hegctl -n "__fish_hegctl_using_subcommand help; and not __fish_seen_subcommand_from status appliances show on off standby wake schedule withdraw forget journal prices rule plan why savings firewall watch enrol utility consent completion help" -f -a "journal" -d 'Show what was done, seen and refused, and why'
complete -c hegctl -n "__fish_hegctl_using_subcommand help; and not __fish_seen_subcommand_from status appliances show on off standby wake schedule withdraw forget journal prices rule plan why savings firewall watch enrol utility consent completion help" -f -a "prices" -d 'Show what energy costs today and tomorrow, where that is from, and what is missing or stale'
complete -c hegctl -n "__fish_hegctl_using_subcommand help; and not __fish_seen_subcommand_from status appliances show on off standby wake schedule withdraw forget journal prices rule plan why savings firewall watch enrol utility consent completion help" -f -a "rule" -d 'List, make and remove rules: what may be planned, when it runs, at what price, what goes first'
complete -c hegctl -n "__fish_hegctl_using_subcommand help; and not __fish_seen_subcommand_from status appliances show on off standby wake schedule withdraw forget journal prices rule plan why savings firewall watch enrol utility consent completion help" -f -a "plan" -d 'Show the plan: which appliance is on when, and why'
complete -c hegctl -n "__fish_hegctl_using_subcommand help; and not __fish_seen_subcommand_from status appliances show on off standby wake schedule withdraw forget journal prices rule plan why savings firewall watch enrol utility consent completion help" -f -a "why" -d 'Show why an appliance is as it is: who decides, by which input, and the last decisions about it'
complete -c hegctl -n "__fish_hegctl_using_subcommand help; and not __fish_seen_subcommand_from status appliances show on off standby wake schedule withdraw forget journal prices rule plan why savings firewall watch enrol utility consent completion help" -f -a "savings" -d 'Show what planned appliances cost, by day and by month, and what it would have been at once'
complete -c hegctl -n "__fish_hegctl_using_subcommand help; and not __fish_seen_subcommand_from status appliances show on off standby wake schedule withdraw forget journal prices rule plan why savings firewall watch enrol utility consent completion help" -f -a "firewall" -d 'Show or change the gateway\'s firewall'
complete -c hegctl -n "__fish_hegctl_using_subcommand help; and not __fish_seen_subcommand_from status appliances show on off standby wake schedule withdraw forget journal prices rule plan why savings firewall watch enrol utility consent completion help" -f -a "watch" -d 'Show changes as they happen, until interrupted'
complete -c hegctl -n "__fish_hegctl_using_subcommand help; and not __fish_seen_subcommand_from status appliances show on off standby wake schedule withdraw forget journal prices rule plan why savings firewall watch enrol utility consent completion help" -f -a "enrol" -d 'Enrol this gateway at the utility\'s key management centre'
complete -c hegctl -n "__fish_hegctl_using_subcommand help; and not __fish_seen_subcommand_from status appliances show on off standby wake schedule withdraw forget journal prices rule plan why savings firewall watch enrol utility consent completion help" -f -a "utility" -d 'Show the dealings with the utility: address, keys, policy, limits, prices, what is out of date'
complete -c hegctl -n "__fish_hegctl_using_subcommand help; and not __fish_seen_subcommand_from status appliances show on off standby wake schedule withdraw forget journal prices rule plan why savings firewall watch enrol utility consent completion help" -f -a "consent" -d 'Say whether the utility may control an appliance, or all'
complete -c hegctl -n "__fish_hegctl_using_subcommand help; and not __fish_seen_subcommand_from status appliances show on off standby wake schedule withdraw forget journal prices rule plan why savings firewall watch enrol utility consent completion help" -f -a "completion" -d 'Print a shell\'s completion script'
complete -c hegctl -n "__fish_hegctl_using_subcommand help; and not __fish_seen_subcommand_from status appliances show on off standby wake schedule withdraw forget journal prices rule plan why savings firewall watch enrol utility consent completion help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c hegctl -n "__fish_hegctl_using_subcommand help; and __fish_seen_subcommand_from schedule" -f -a "standby" -d 'It sleeps every day from START to STOP (kept by the appliance)'
complete -c hegctl -n "__fish_hegctl_using_subcommand help; and __fish_seen_subcommand_from schedule" -f -a "wake" -d 'The gateway wakes it every day'
complete -c hegctl -n "__fish_hegctl_using_subcommand help; and __fish_seen_subcommand_from schedule" -f -a "no-standby" -d 'The gateway never sends it to standby between START and STOP'
complete -c hegctl -n "__fish_hegctl_using_subcommand help; and __fish_seen_subcommand_from rule" -f -a "list" -d 'List the rules'
complete -c hegctl -n "__fish_hegctl_using_subcommand help; and __fish_seen_subcommand_from rule" -f -a "add" -d 'Make a rule about an appliance, or about `all`'
complete -c hegctl -n "__fish_hegctl_using_subcommand help; and __fish_seen_subcommand_from rule" -f -a "remove" -d 'Remove a rule'
complete -c hegctl -n "__fish_hegctl_using_subcommand help; and __fish_seen_subcommand_from firewall" -f -a "status" -d 'Show the rules in place, what they dropped, and whether a change waits (also without a word)'
complete -c hegctl -n "__fish_hegctl_using_subcommand help; and __fish_seen_subcommand_from firewall" -f -a "plan" -d 'Show what applying the configuration file would do, changing nothing'
complete -c hegctl -n "__fish_hegctl_using_subcommand help; and __fish_seen_subcommand_from firewall" -f -a "apply" -d 'Put the configuration file\'s firewall section in force; taken back after a minute unless confirmed'
complete -c hegctl -n "__fish_hegctl_using_subcommand help; and __fish_seen_subcommand_from firewall" -f -a "confirm" -d 'Let a change stay'
complete -c hegctl -n "__fish_hegctl_using_subcommand help; and __fish_seen_subcommand_from firewall" -f -a "off" -d 'Take all rules of the gateway\'s away, until they are applied again; back after a minute unless confirmed'

# Where an appliance is meant, the names that the gateway knows.
function __fish_hegctl_names
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -i 'socket=' -- $cmd 2>/dev/null
    hegctl (set -q _flag_socket; and echo --socket=$_flag_socket) appliances --names 2>/dev/null
end

function __fish_hegctl_wants_name
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_hegctl_global_optspecs) -- $cmd 2>/dev/null
    or return
    switch "$argv"
        case show on off standby wake schedule forget why consent 'rule add'
            return 0
    end
    return 1
end

complete -c hegctl -n "__fish_hegctl_wants_name" -f -a "(__fish_hegctl_names)"
complete -c hegctl -n "__fish_hegctl_using_subcommand journal withdraw rule" -l appliance -x -a "(__fish_hegctl_names)"

# The generator stops at the second command.
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and __fish_seen_subcommand_from only keep-on every-day" -l days -x -a "mon-fri sat,sun" -d 'On these days, by when it begins'
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and __fish_seen_subcommand_from every-day" -l energy -x -d 'How much it takes, Wh'
complete -c hegctl -n "__fish_hegctl_using_subcommand rule; and __fish_seen_subcommand_from kind" -f -a "Fixed Curtailable StandbyAble Interruptible Deferrable"
