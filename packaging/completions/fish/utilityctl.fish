# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_utilityctl_global_optspecs
    string join \n server= token-file= json h/help V/version
end

function __fish_utilityctl_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_utilityctl_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_utilityctl_using_subcommand
    set -l cmd (__fish_utilityctl_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c utilityctl -n "__fish_utilityctl_needs_command" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_needs_command" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_needs_command" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c utilityctl -n "__fish_utilityctl_needs_command" -s V -l version -d 'Print version'
complete -c utilityctl -n "__fish_utilityctl_needs_command" -f -a "init" -d 'Set up this utility and its key management centre on this machine, and say what comes next; as root'
complete -c utilityctl -n "__fish_utilityctl_needs_command" -f -a "status" -d 'Show the server: sites, rules, what is not well'
complete -c utilityctl -n "__fish_utilityctl_needs_command" -f -a "sites" -d 'List sites'
complete -c utilityctl -n "__fish_utilityctl_needs_command" -f -a "site" -d 'Take up, change or show one site'
complete -c utilityctl -n "__fish_utilityctl_needs_command" -f -a "enrol" -d 'Enrol this utility at its KMC'
complete -c utilityctl -n "__fish_utilityctl_needs_command" -f -a "keys" -d 'Show and renew keys, and revoke a home\'s'
complete -c utilityctl -n "__fish_utilityctl_needs_command" -f -a "policy" -d 'Show or set the security policy that all follow'
complete -c utilityctl -n "__fish_utilityctl_needs_command" -f -a "evidence" -d 'Hand over what shows who said what'
complete -c utilityctl -n "__fish_utilityctl_needs_command" -f -a "price" -d 'Publish or show prices'
complete -c utilityctl -n "__fish_utilityctl_needs_command" -f -a "limit" -d 'Limit what homes draw'
complete -c utilityctl -n "__fish_utilityctl_needs_command" -f -a "control" -d 'Control an appliance whose people allow it'
complete -c utilityctl -n "__fish_utilityctl_needs_command" -f -a "rules" -d 'Show, check and try behavioural rules'
complete -c utilityctl -n "__fish_utilityctl_needs_command" -f -a "watch" -d 'Show changes as they happen, until interrupted'
complete -c utilityctl -n "__fish_utilityctl_needs_command" -f -a "audit" -d 'Show who changed what'
complete -c utilityctl -n "__fish_utilityctl_needs_command" -f -a "operator" -d 'Make, list and remove operators'
complete -c utilityctl -n "__fish_utilityctl_needs_command" -f -a "completion" -d 'Print a shell\'s completion script'
complete -c utilityctl -n "__fish_utilityctl_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand init" -l host -d 'Name or address under which homes reach this machine [default: its address on its way out]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand init" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand init" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand init" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand init" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand status" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand status" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand status" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand status" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand sites" -l group -d 'In this group or below' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand sites" -l after -d 'Behind this UUID' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand sites" -l limit -d 'At most so many' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand sites" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand sites" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand sites" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand sites" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and not __fish_seen_subcommand_from add token change show consumption help" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and not __fish_seen_subcommand_from add token change show consumption help" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and not __fish_seen_subcommand_from add token change show consumption help" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and not __fish_seen_subcommand_from add token change show consumption help" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and not __fish_seen_subcommand_from add token change show consumption help" -f -a "add" -d 'Take up a site, and print the token its gateway enrols with'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and not __fish_seen_subcommand_from add token change show consumption help" -f -a "token" -d 'Print a new token for a gateway that enrols again, and let its new keys in'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and not __fish_seen_subcommand_from add token change show consumption help" -f -a "change" -d 'Change a site\'s name, zone and group'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and not __fish_seen_subcommand_from add token change show consumption help" -f -a "show" -d 'Show a site and its appliances'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and not __fish_seen_subcommand_from add token change show consumption help" -f -a "consumption" -d 'Show what a site or one of its appliances used'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and not __fish_seen_subcommand_from add token change show consumption help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and __fish_seen_subcommand_from add" -l zone -d 'Price zone' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and __fish_seen_subcommand_from add" -l group -d 'Place in the grid, as north/feeder-7/t3' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and __fish_seen_subcommand_from add" -l name -d 'Name for people' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and __fish_seen_subcommand_from add" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and __fish_seen_subcommand_from add" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and __fish_seen_subcommand_from add" -l no-token -d 'Make no token'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and __fish_seen_subcommand_from add" -l no-qr -d 'Print the token without its QR code'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and __fish_seen_subcommand_from add" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and __fish_seen_subcommand_from token" -l days -d 'How long it is good, days' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and __fish_seen_subcommand_from token" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and __fish_seen_subcommand_from token" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and __fish_seen_subcommand_from token" -l no-qr -d 'Print it without its QR code'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and __fish_seen_subcommand_from token" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and __fish_seen_subcommand_from token" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and __fish_seen_subcommand_from change" -l zone -d 'Price zone' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and __fish_seen_subcommand_from change" -l group -d 'Place in the grid, as north/feeder-7/t3' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and __fish_seen_subcommand_from change" -l name -d 'Name for people' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and __fish_seen_subcommand_from change" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and __fish_seen_subcommand_from change" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and __fish_seen_subcommand_from change" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and __fish_seen_subcommand_from change" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and __fish_seen_subcommand_from show" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and __fish_seen_subcommand_from show" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and __fish_seen_subcommand_from show" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and __fish_seen_subcommand_from consumption" -l appliance -d 'Of one appliance' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and __fish_seen_subcommand_from consumption" -l from -d 'From then on [default: a day ago]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and __fish_seen_subcommand_from consumption" -l to -d 'Until then [default: now]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and __fish_seen_subcommand_from consumption" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and __fish_seen_subcommand_from consumption" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and __fish_seen_subcommand_from consumption" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and __fish_seen_subcommand_from consumption" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and __fish_seen_subcommand_from help" -f -a "add" -d 'Take up a site, and print the token its gateway enrols with'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and __fish_seen_subcommand_from help" -f -a "token" -d 'Print a new token for a gateway that enrols again, and let its new keys in'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and __fish_seen_subcommand_from help" -f -a "change" -d 'Change a site\'s name, zone and group'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and __fish_seen_subcommand_from help" -f -a "show" -d 'Show a site and its appliances'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and __fish_seen_subcommand_from help" -f -a "consumption" -d 'Show what a site or one of its appliances used'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand site; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand enrol" -l id -d 'UUID of the utility [default: a new one]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand enrol" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand enrol" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand enrol" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand enrol" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand keys; and not __fish_seen_subcommand_from show roll-over revoke help" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand keys; and not __fish_seen_subcommand_from show roll-over revoke help" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand keys; and not __fish_seen_subcommand_from show roll-over revoke help" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand keys; and not __fish_seen_subcommand_from show roll-over revoke help" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand keys; and not __fish_seen_subcommand_from show roll-over revoke help" -f -a "show" -d 'Show this utility\'s keys, or a home\'s'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand keys; and not __fish_seen_subcommand_from show roll-over revoke help" -f -a "roll-over" -d 'Make new keys for this utility now'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand keys; and not __fish_seen_subcommand_from show roll-over revoke help" -f -a "revoke" -d 'Have a home\'s keys revoked'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand keys; and not __fish_seen_subcommand_from show roll-over revoke help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand keys; and __fish_seen_subcommand_from show" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand keys; and __fish_seen_subcommand_from show" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand keys; and __fish_seen_subcommand_from show" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand keys; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand keys; and __fish_seen_subcommand_from roll-over" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand keys; and __fish_seen_subcommand_from roll-over" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand keys; and __fish_seen_subcommand_from roll-over" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand keys; and __fish_seen_subcommand_from roll-over" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand keys; and __fish_seen_subcommand_from revoke" -l reason -d 'Why' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand keys; and __fish_seen_subcommand_from revoke" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand keys; and __fish_seen_subcommand_from revoke" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand keys; and __fish_seen_subcommand_from revoke" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand keys; and __fish_seen_subcommand_from revoke" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand keys; and __fish_seen_subcommand_from help" -f -a "show" -d 'Show this utility\'s keys, or a home\'s'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand keys; and __fish_seen_subcommand_from help" -f -a "roll-over" -d 'Make new keys for this utility now'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand keys; and __fish_seen_subcommand_from help" -f -a "revoke" -d 'Have a home\'s keys revoked'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand keys; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand policy; and not __fish_seen_subcommand_from show set help" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand policy; and not __fish_seen_subcommand_from show set help" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand policy; and not __fish_seen_subcommand_from show set help" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand policy; and not __fish_seen_subcommand_from show set help" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand policy; and not __fish_seen_subcommand_from show set help" -f -a "show" -d 'Show the policy that is followed'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand policy; and not __fish_seen_subcommand_from show set help" -f -a "set" -d 'Have the KMC sign the policy of a file'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand policy; and not __fish_seen_subcommand_from show set help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand policy; and __fish_seen_subcommand_from show" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand policy; and __fish_seen_subcommand_from show" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand policy; and __fish_seen_subcommand_from show" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand policy; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand policy; and __fish_seen_subcommand_from set" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand policy; and __fish_seen_subcommand_from set" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand policy; and __fish_seen_subcommand_from set" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand policy; and __fish_seen_subcommand_from set" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand policy; and __fish_seen_subcommand_from help" -f -a "show" -d 'Show the policy that is followed'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand policy; and __fish_seen_subcommand_from help" -f -a "set" -d 'Have the KMC sign the policy of a file'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand policy; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand evidence; and not __fish_seen_subcommand_from export help" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand evidence; and not __fish_seen_subcommand_from export help" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand evidence; and not __fish_seen_subcommand_from export help" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand evidence; and not __fish_seen_subcommand_from export help" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand evidence; and not __fish_seen_subcommand_from export help" -f -a "export" -d 'Write a home\'s signed messages, and the statements that show whose they are, as JSON'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand evidence; and not __fish_seen_subcommand_from export help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand evidence; and __fish_seen_subcommand_from export" -l since -d 'Only those taken from then on' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand evidence; and __fish_seen_subcommand_from export" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand evidence; and __fish_seen_subcommand_from export" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand evidence; and __fish_seen_subcommand_from export" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand evidence; and __fish_seen_subcommand_from export" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand evidence; and __fish_seen_subcommand_from help" -f -a "export" -d 'Write a home\'s signed messages, and the statements that show whose they are, as JSON'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand evidence; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand price; and not __fish_seen_subcommand_from publish show help" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand price; and not __fish_seen_subcommand_from publish show help" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand price; and not __fish_seen_subcommand_from publish show help" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand price; and not __fish_seen_subcommand_from publish show help" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand price; and not __fish_seen_subcommand_from publish show help" -f -a "publish" -d 'Publish the prices of a file'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand price; and not __fish_seen_subcommand_from publish show help" -f -a "show" -d 'Show the prices of a zone that are not over'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand price; and not __fish_seen_subcommand_from publish show help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand price; and __fish_seen_subcommand_from publish" -l zone -d 'Price zone' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand price; and __fish_seen_subcommand_from publish" -l time-zone -d 'The zone\'s clock, as Europe/Stockholm [default: as configured at the server]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand price; and __fish_seen_subcommand_from publish" -l currency -d 'Currency, for a file that does not say' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand price; and __fish_seen_subcommand_from publish" -l per -d 'MWh or kWh, for a file that does not say' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand price; and __fish_seen_subcommand_from publish" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand price; and __fish_seen_subcommand_from publish" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand price; and __fish_seen_subcommand_from publish" -l part-of-day -d 'The file need not cover whole days'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand price; and __fish_seen_subcommand_from publish" -l dry-run -d 'Only look whether it would be taken'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand price; and __fish_seen_subcommand_from publish" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand price; and __fish_seen_subcommand_from publish" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand price; and __fish_seen_subcommand_from show" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand price; and __fish_seen_subcommand_from show" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand price; and __fish_seen_subcommand_from show" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand price; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand price; and __fish_seen_subcommand_from help" -f -a "publish" -d 'Publish the prices of a file'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand price; and __fish_seen_subcommand_from help" -f -a "show" -d 'Show the prices of a zone that are not over'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand price; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand limit; and not __fish_seen_subcommand_from list make cancel responses help" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand limit; and not __fish_seen_subcommand_from list make cancel responses help" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand limit; and not __fish_seen_subcommand_from list make cancel responses help" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand limit; and not __fish_seen_subcommand_from list make cancel responses help" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand limit; and not __fish_seen_subcommand_from list make cancel responses help" -f -a "list" -d 'List limits, the latest first'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand limit; and not __fish_seen_subcommand_from list make cancel responses help" -f -a "make" -d 'Limit a group or a site'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand limit; and not __fish_seen_subcommand_from list make cancel responses help" -f -a "cancel" -d 'Call a limit off'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand limit; and not __fish_seen_subcommand_from list make cancel responses help" -f -a "responses" -d 'Show what homes answered'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand limit; and not __fish_seen_subcommand_from list make cancel responses help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand limit; and __fish_seen_subcommand_from list" -l target -d 'Of one target only' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand limit; and __fish_seen_subcommand_from list" -l limit -d 'At most so many' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand limit; and __fish_seen_subcommand_from list" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand limit; and __fish_seen_subcommand_from list" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand limit; and __fish_seen_subcommand_from list" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand limit; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand limit; and __fish_seen_subcommand_from make" -l duration -d 'How long; without it until it is cancelled' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand limit; and __fish_seen_subcommand_from make" -l start -d 'When it begins [default: now]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand limit; and __fish_seen_subcommand_from make" -l priority -d 'Among limits in force the greatest goes' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand limit; and __fish_seen_subcommand_from make" -l randomise -d 'Each home begins later by its own share of this' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand limit; and __fish_seen_subcommand_from make" -l supersedes -d 'The limit it takes the place of' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand limit; and __fish_seen_subcommand_from make" -l reason -d 'Why' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand limit; and __fish_seen_subcommand_from make" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand limit; and __fish_seen_subcommand_from make" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand limit; and __fish_seen_subcommand_from make" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand limit; and __fish_seen_subcommand_from make" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand limit; and __fish_seen_subcommand_from cancel" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand limit; and __fish_seen_subcommand_from cancel" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand limit; and __fish_seen_subcommand_from cancel" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand limit; and __fish_seen_subcommand_from cancel" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand limit; and __fish_seen_subcommand_from responses" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand limit; and __fish_seen_subcommand_from responses" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand limit; and __fish_seen_subcommand_from responses" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand limit; and __fish_seen_subcommand_from responses" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand limit; and __fish_seen_subcommand_from help" -f -a "list" -d 'List limits, the latest first'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand limit; and __fish_seen_subcommand_from help" -f -a "make" -d 'Limit a group or a site'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand limit; and __fish_seen_subcommand_from help" -f -a "cancel" -d 'Call a limit off'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand limit; and __fish_seen_subcommand_from help" -f -a "responses" -d 'Show what homes answered'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand limit; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and not __fish_seen_subcommand_from list on off standby cancel help" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and not __fish_seen_subcommand_from list on off standby cancel help" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and not __fish_seen_subcommand_from list on off standby cancel help" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and not __fish_seen_subcommand_from list on off standby cancel help" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and not __fish_seen_subcommand_from list on off standby cancel help" -f -a "list" -d 'List controls, the latest first'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and not __fish_seen_subcommand_from list on off standby cancel help" -f -a "on" -d 'Switch an appliance on'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and not __fish_seen_subcommand_from list on off standby cancel help" -f -a "off" -d 'Switch an appliance off'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and not __fish_seen_subcommand_from list on off standby cancel help" -f -a "standby" -d 'Send an appliance to standby'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and not __fish_seen_subcommand_from list on off standby cancel help" -f -a "cancel" -d 'Call a control off'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and not __fish_seen_subcommand_from list on off standby cancel help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and __fish_seen_subcommand_from list" -l site -d 'Of one site only' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and __fish_seen_subcommand_from list" -l limit -d 'At most so many' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and __fish_seen_subcommand_from list" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and __fish_seen_subcommand_from list" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and __fish_seen_subcommand_from list" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and __fish_seen_subcommand_from on" -l within -d 'It must be begun within this' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and __fish_seen_subcommand_from on" -l reason -d 'Why' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and __fish_seen_subcommand_from on" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and __fish_seen_subcommand_from on" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and __fish_seen_subcommand_from on" -l no-wait -d 'Print its number and do not wait for what comes of it'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and __fish_seen_subcommand_from on" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and __fish_seen_subcommand_from on" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and __fish_seen_subcommand_from off" -l within -d 'It must be begun within this' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and __fish_seen_subcommand_from off" -l reason -d 'Why' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and __fish_seen_subcommand_from off" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and __fish_seen_subcommand_from off" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and __fish_seen_subcommand_from off" -l no-wait -d 'Print its number and do not wait for what comes of it'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and __fish_seen_subcommand_from off" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and __fish_seen_subcommand_from off" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and __fish_seen_subcommand_from standby" -l within -d 'It must be begun within this' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and __fish_seen_subcommand_from standby" -l reason -d 'Why' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and __fish_seen_subcommand_from standby" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and __fish_seen_subcommand_from standby" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and __fish_seen_subcommand_from standby" -l no-wait -d 'Print its number and do not wait for what comes of it'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and __fish_seen_subcommand_from standby" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and __fish_seen_subcommand_from standby" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and __fish_seen_subcommand_from cancel" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and __fish_seen_subcommand_from cancel" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and __fish_seen_subcommand_from cancel" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and __fish_seen_subcommand_from cancel" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and __fish_seen_subcommand_from help" -f -a "list" -d 'List controls, the latest first'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and __fish_seen_subcommand_from help" -f -a "on" -d 'Switch an appliance on'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and __fish_seen_subcommand_from help" -f -a "off" -d 'Switch an appliance off'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and __fish_seen_subcommand_from help" -f -a "standby" -d 'Send an appliance to standby'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and __fish_seen_subcommand_from help" -f -a "cancel" -d 'Call a control off'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand control; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand rules; and not __fish_seen_subcommand_from list check dry-run help" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand rules; and not __fish_seen_subcommand_from list check dry-run help" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand rules; and not __fish_seen_subcommand_from list check dry-run help" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand rules; and not __fish_seen_subcommand_from list check dry-run help" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand rules; and not __fish_seen_subcommand_from list check dry-run help" -f -a "list" -d 'List the rules in use, and what they last did'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand rules; and not __fish_seen_subcommand_from list check dry-run help" -f -a "check" -d 'Look whether a rules file is sound, without a server'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand rules; and not __fish_seen_subcommand_from list check dry-run help" -f -a "dry-run" -d 'Show what rules would do with readings, without a server'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand rules; and not __fish_seen_subcommand_from list check dry-run help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand rules; and __fish_seen_subcommand_from list" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand rules; and __fish_seen_subcommand_from list" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand rules; and __fish_seen_subcommand_from list" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand rules; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand rules; and __fish_seen_subcommand_from check" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand rules; and __fish_seen_subcommand_from check" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand rules; and __fish_seen_subcommand_from check" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand rules; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand rules; and __fish_seen_subcommand_from dry-run" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand rules; and __fish_seen_subcommand_from dry-run" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand rules; and __fish_seen_subcommand_from dry-run" -l all -d 'Also steps that do nothing'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand rules; and __fish_seen_subcommand_from dry-run" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand rules; and __fish_seen_subcommand_from dry-run" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand rules; and __fish_seen_subcommand_from help" -f -a "list" -d 'List the rules in use, and what they last did'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand rules; and __fish_seen_subcommand_from help" -f -a "check" -d 'Look whether a rules file is sound, without a server'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand rules; and __fish_seen_subcommand_from help" -f -a "dry-run" -d 'Show what rules would do with readings, without a server'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand rules; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand watch" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand watch" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand watch" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand watch" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand audit" -l since -d 'Only behind this number' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand audit" -l limit -d 'At most so many' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand audit" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand audit" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand audit" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand audit" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand operator; and not __fish_seen_subcommand_from list add remove help" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand operator; and not __fish_seen_subcommand_from list add remove help" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand operator; and not __fish_seen_subcommand_from list add remove help" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand operator; and not __fish_seen_subcommand_from list add remove help" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand operator; and not __fish_seen_subcommand_from list add remove help" -f -a "list" -d 'List operators'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand operator; and not __fish_seen_subcommand_from list add remove help" -f -a "add" -d 'Make an operator and print the token, which is shown only now'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand operator; and not __fish_seen_subcommand_from list add remove help" -f -a "remove" -d 'Take an operator\'s access away'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand operator; and not __fish_seen_subcommand_from list add remove help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand operator; and __fish_seen_subcommand_from list" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand operator; and __fish_seen_subcommand_from list" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand operator; and __fish_seen_subcommand_from list" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand operator; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand operator; and __fish_seen_subcommand_from add" -l role -d 'viewer, operator or admin' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand operator; and __fish_seen_subcommand_from add" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand operator; and __fish_seen_subcommand_from add" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand operator; and __fish_seen_subcommand_from add" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand operator; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand operator; and __fish_seen_subcommand_from remove" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand operator; and __fish_seen_subcommand_from remove" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand operator; and __fish_seen_subcommand_from remove" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand operator; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand operator; and __fish_seen_subcommand_from help" -f -a "list" -d 'List operators'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand operator; and __fish_seen_subcommand_from help" -f -a "add" -d 'Make an operator and print the token, which is shown only now'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand operator; and __fish_seen_subcommand_from help" -f -a "remove" -d 'Take an operator\'s access away'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand operator; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand completion" -l server -d 'Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]' -r
complete -c utilityctl -n "__fish_utilityctl_using_subcommand completion" -l token-file -d 'File with the operator\'s token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]' -r -F
complete -c utilityctl -n "__fish_utilityctl_using_subcommand completion" -l json -d 'Print JSON instead of tables'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand completion" -s h -l help -d 'Print help'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and not __fish_seen_subcommand_from init status sites site enrol keys policy evidence price limit control rules watch audit operator completion help" -f -a "init" -d 'Set up this utility and its key management centre on this machine, and say what comes next; as root'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and not __fish_seen_subcommand_from init status sites site enrol keys policy evidence price limit control rules watch audit operator completion help" -f -a "status" -d 'Show the server: sites, rules, what is not well'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and not __fish_seen_subcommand_from init status sites site enrol keys policy evidence price limit control rules watch audit operator completion help" -f -a "sites" -d 'List sites'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and not __fish_seen_subcommand_from init status sites site enrol keys policy evidence price limit control rules watch audit operator completion help" -f -a "site" -d 'Take up, change or show one site'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and not __fish_seen_subcommand_from init status sites site enrol keys policy evidence price limit control rules watch audit operator completion help" -f -a "enrol" -d 'Enrol this utility at its KMC'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and not __fish_seen_subcommand_from init status sites site enrol keys policy evidence price limit control rules watch audit operator completion help" -f -a "keys" -d 'Show and renew keys, and revoke a home\'s'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and not __fish_seen_subcommand_from init status sites site enrol keys policy evidence price limit control rules watch audit operator completion help" -f -a "policy" -d 'Show or set the security policy that all follow'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and not __fish_seen_subcommand_from init status sites site enrol keys policy evidence price limit control rules watch audit operator completion help" -f -a "evidence" -d 'Hand over what shows who said what'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and not __fish_seen_subcommand_from init status sites site enrol keys policy evidence price limit control rules watch audit operator completion help" -f -a "price" -d 'Publish or show prices'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and not __fish_seen_subcommand_from init status sites site enrol keys policy evidence price limit control rules watch audit operator completion help" -f -a "limit" -d 'Limit what homes draw'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and not __fish_seen_subcommand_from init status sites site enrol keys policy evidence price limit control rules watch audit operator completion help" -f -a "control" -d 'Control an appliance whose people allow it'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and not __fish_seen_subcommand_from init status sites site enrol keys policy evidence price limit control rules watch audit operator completion help" -f -a "rules" -d 'Show, check and try behavioural rules'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and not __fish_seen_subcommand_from init status sites site enrol keys policy evidence price limit control rules watch audit operator completion help" -f -a "watch" -d 'Show changes as they happen, until interrupted'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and not __fish_seen_subcommand_from init status sites site enrol keys policy evidence price limit control rules watch audit operator completion help" -f -a "audit" -d 'Show who changed what'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and not __fish_seen_subcommand_from init status sites site enrol keys policy evidence price limit control rules watch audit operator completion help" -f -a "operator" -d 'Make, list and remove operators'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and not __fish_seen_subcommand_from init status sites site enrol keys policy evidence price limit control rules watch audit operator completion help" -f -a "completion" -d 'Print a shell\'s completion script'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and not __fish_seen_subcommand_from init status sites site enrol keys policy evidence price limit control rules watch audit operator completion help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and __fish_seen_subcommand_from site" -f -a "add" -d 'Take up a site, and print the token its gateway enrols with'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and __fish_seen_subcommand_from site" -f -a "token" -d 'Print a new token for a gateway that enrols again, and let its new keys in'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and __fish_seen_subcommand_from site" -f -a "change" -d 'Change a site\'s name, zone and group'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and __fish_seen_subcommand_from site" -f -a "show" -d 'Show a site and its appliances'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and __fish_seen_subcommand_from site" -f -a "consumption" -d 'Show what a site or one of its appliances used'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and __fish_seen_subcommand_from keys" -f -a "show" -d 'Show this utility\'s keys, or a home\'s'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and __fish_seen_subcommand_from keys" -f -a "roll-over" -d 'Make new keys for this utility now'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and __fish_seen_subcommand_from keys" -f -a "revoke" -d 'Have a home\'s keys revoked'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and __fish_seen_subcommand_from policy" -f -a "show" -d 'Show the policy that is followed'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and __fish_seen_subcommand_from policy" -f -a "set" -d 'Have the KMC sign the policy of a file'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and __fish_seen_subcommand_from evidence" -f -a "export" -d 'Write a home\'s signed messages, and the statements that show whose they are, as JSON'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and __fish_seen_subcommand_from price" -f -a "publish" -d 'Publish the prices of a file'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and __fish_seen_subcommand_from price" -f -a "show" -d 'Show the prices of a zone that are not over'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and __fish_seen_subcommand_from limit" -f -a "list" -d 'List limits, the latest first'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and __fish_seen_subcommand_from limit" -f -a "make" -d 'Limit a group or a site'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and __fish_seen_subcommand_from limit" -f -a "cancel" -d 'Call a limit off'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and __fish_seen_subcommand_from limit" -f -a "responses" -d 'Show what homes answered'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and __fish_seen_subcommand_from control" -f -a "list" -d 'List controls, the latest first'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and __fish_seen_subcommand_from control" -f -a "on" -d 'Switch an appliance on'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and __fish_seen_subcommand_from control" -f -a "off" -d 'Switch an appliance off'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and __fish_seen_subcommand_from control" -f -a "standby" -d 'Send an appliance to standby'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and __fish_seen_subcommand_from control" -f -a "cancel" -d 'Call a control off'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and __fish_seen_subcommand_from rules" -f -a "list" -d 'List the rules in use, and what they last did'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and __fish_seen_subcommand_from rules" -f -a "check" -d 'Look whether a rules file is sound, without a server'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and __fish_seen_subcommand_from rules" -f -a "dry-run" -d 'Show what rules would do with readings, without a server'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and __fish_seen_subcommand_from operator" -f -a "list" -d 'List operators'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and __fish_seen_subcommand_from operator" -f -a "add" -d 'Make an operator and print the token, which is shown only now'
complete -c utilityctl -n "__fish_utilityctl_using_subcommand help; and __fish_seen_subcommand_from operator" -f -a "remove" -d 'Take an operator\'s access away'
