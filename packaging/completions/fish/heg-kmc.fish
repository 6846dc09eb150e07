# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_heg_kmc_global_optspecs
    string join \n config= check socket= json h/help V/version
end

function __fish_heg_kmc_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_heg_kmc_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_heg_kmc_using_subcommand
    set -l cmd (__fish_heg_kmc_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c heg-kmc -n "__fish_heg_kmc_needs_command" -l config -d 'Configuration file [default: /etc/heg/heg-kmc.toml, if it is there]' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_needs_command" -l socket -d 'Control socket of the daemon [default: the configuration\'s]' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_needs_command" -l check -d 'Check the configuration and exit'
complete -c heg-kmc -n "__fish_heg_kmc_needs_command" -l json -d 'Print JSON'
complete -c heg-kmc -n "__fish_heg_kmc_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c heg-kmc -n "__fish_heg_kmc_needs_command" -s V -l version -d 'Print version'
complete -c heg-kmc -n "__fish_heg_kmc_needs_command" -f -a "init" -d 'Make a new centre: its keys, statements and first policy'
complete -c heg-kmc -n "__fish_heg_kmc_needs_command" -f -a "root" -d 'Take the root key away, bring it back, use it'
complete -c heg-kmc -n "__fish_heg_kmc_needs_command" -f -a "token" -d 'One-time tokens that enrol a gateway or a utility'
complete -c heg-kmc -n "__fish_heg_kmc_needs_command" -f -a "statements" -d 'What was stated'
complete -c heg-kmc -n "__fish_heg_kmc_needs_command" -f -a "revoke" -d 'Revoke a statement: its keys are worth nothing from now on'
complete -c heg-kmc -n "__fish_heg_kmc_needs_command" -f -a "policy" -d 'The policy that everybody follows'
complete -c heg-kmc -n "__fish_heg_kmc_needs_command" -f -a "audit" -d 'Show the audit log and check that nobody edited it'
complete -c heg-kmc -n "__fish_heg_kmc_needs_command" -f -a "status" -d 'Show the daemon: addresses, keys, numbers, troubles'
complete -c heg-kmc -n "__fish_heg_kmc_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand init" -l id -d 'Its UUID; a random one if none is given' -r
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand init" -l days -d 'Lifetime of the first issuing key' -r
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand init" -l config -d 'Configuration file [default: /etc/heg/heg-kmc.toml, if it is there]' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand init" -l socket -d 'Control socket of the daemon [default: the configuration\'s]' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand init" -l json -d 'Print JSON'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand init" -s h -l help -d 'Print help'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand root; and not __fish_seen_subcommand_from export import sign-issuing recover help" -l config -d 'Configuration file [default: /etc/heg/heg-kmc.toml, if it is there]' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand root; and not __fish_seen_subcommand_from export import sign-issuing recover help" -l socket -d 'Control socket of the daemon [default: the configuration\'s]' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand root; and not __fish_seen_subcommand_from export import sign-issuing recover help" -l json -d 'Print JSON'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand root; and not __fish_seen_subcommand_from export import sign-issuing recover help" -s h -l help -d 'Print help'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand root; and not __fish_seen_subcommand_from export import sign-issuing recover help" -f -a "export" -d 'Copy the root key into a file under a passphrase'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand root; and not __fish_seen_subcommand_from export import sign-issuing recover help" -f -a "import" -d 'Put an exported root key back'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand root; and not __fish_seen_subcommand_from export import sign-issuing recover help" -f -a "sign-issuing" -d 'Make a new issuing key and state it with the root key'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand root; and not __fish_seen_subcommand_from export import sign-issuing recover help" -f -a "recover" -d 'Have peers take the new keys of a party that lost its old ones'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand root; and not __fish_seen_subcommand_from export import sign-issuing recover help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand root; and __fish_seen_subcommand_from export" -l passphrase-file -d 'File with the passphrase, - for standard input' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand root; and __fish_seen_subcommand_from export" -l config -d 'Configuration file [default: /etc/heg/heg-kmc.toml, if it is there]' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand root; and __fish_seen_subcommand_from export" -l socket -d 'Control socket of the daemon [default: the configuration\'s]' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand root; and __fish_seen_subcommand_from export" -l remove -d 'Remove it here once the copy has been read back'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand root; and __fish_seen_subcommand_from export" -l json -d 'Print JSON'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand root; and __fish_seen_subcommand_from export" -s h -l help -d 'Print help'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand root; and __fish_seen_subcommand_from import" -l passphrase-file -d 'File with its passphrase, - for standard input' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand root; and __fish_seen_subcommand_from import" -l config -d 'Configuration file [default: /etc/heg/heg-kmc.toml, if it is there]' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand root; and __fish_seen_subcommand_from import" -l socket -d 'Control socket of the daemon [default: the configuration\'s]' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand root; and __fish_seen_subcommand_from import" -l json -d 'Print JSON'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand root; and __fish_seen_subcommand_from import" -s h -l help -d 'Print help'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand root; and __fish_seen_subcommand_from sign-issuing" -l root -d 'Use the root key in this exported file, without putting it back' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand root; and __fish_seen_subcommand_from sign-issuing" -l passphrase-file -d 'File with its passphrase, - for standard input' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand root; and __fish_seen_subcommand_from sign-issuing" -l days -d 'Lifetime of the issuing key' -r
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand root; and __fish_seen_subcommand_from sign-issuing" -l config -d 'Configuration file [default: /etc/heg/heg-kmc.toml, if it is there]' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand root; and __fish_seen_subcommand_from sign-issuing" -l socket -d 'Control socket of the daemon [default: the configuration\'s]' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand root; and __fish_seen_subcommand_from sign-issuing" -l json -d 'Print JSON'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand root; and __fish_seen_subcommand_from sign-issuing" -s h -l help -d 'Print help'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand root; and __fish_seen_subcommand_from recover" -l root -d 'Use the root key in this exported file, without putting it back' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand root; and __fish_seen_subcommand_from recover" -l passphrase-file -d 'File with its passphrase, - for standard input' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand root; and __fish_seen_subcommand_from recover" -l config -d 'Configuration file [default: /etc/heg/heg-kmc.toml, if it is there]' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand root; and __fish_seen_subcommand_from recover" -l socket -d 'Control socket of the daemon [default: the configuration\'s]' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand root; and __fish_seen_subcommand_from recover" -l json -d 'Print JSON'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand root; and __fish_seen_subcommand_from recover" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand root; and __fish_seen_subcommand_from help" -f -a "export" -d 'Copy the root key into a file under a passphrase'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand root; and __fish_seen_subcommand_from help" -f -a "import" -d 'Put an exported root key back'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand root; and __fish_seen_subcommand_from help" -f -a "sign-issuing" -d 'Make a new issuing key and state it with the root key'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand root; and __fish_seen_subcommand_from help" -f -a "recover" -d 'Have peers take the new keys of a party that lost its old ones'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand root; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand token; and not __fish_seen_subcommand_from new list revoke help" -l config -d 'Configuration file [default: /etc/heg/heg-kmc.toml, if it is there]' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand token; and not __fish_seen_subcommand_from new list revoke help" -l socket -d 'Control socket of the daemon [default: the configuration\'s]' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand token; and not __fish_seen_subcommand_from new list revoke help" -l json -d 'Print JSON'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand token; and not __fish_seen_subcommand_from new list revoke help" -s h -l help -d 'Print help'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand token; and not __fish_seen_subcommand_from new list revoke help" -f -a "new" -d 'Make a token and print it, as text and as QR code'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand token; and not __fish_seen_subcommand_from new list revoke help" -f -a "list" -d 'List the newest tokens'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand token; and not __fish_seen_subcommand_from new list revoke help" -f -a "revoke" -d 'Make an open token worthless'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand token; and not __fish_seen_subcommand_from new list revoke help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand token; and __fish_seen_subcommand_from new" -l role -d 'What it enrols' -r -f -a "heg\t'A home\'s gateway'
utility\t'A utility'"
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand token; and __fish_seen_subcommand_from new" -l uuid -d 'Only for this party; takes the place of its statement in force, which is then revoked' -r
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand token; and __fish_seen_subcommand_from new" -l utility -d 'The utility that the gateway is to belong to [default: the only one]' -r
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand token; and __fish_seen_subcommand_from new" -l premises -d 'Where, for people' -r
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand token; and __fish_seen_subcommand_from new" -l valid -d 'Days that it can be used' -r
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand token; and __fish_seen_subcommand_from new" -l config -d 'Configuration file [default: /etc/heg/heg-kmc.toml, if it is there]' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand token; and __fish_seen_subcommand_from new" -l socket -d 'Control socket of the daemon [default: the configuration\'s]' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand token; and __fish_seen_subcommand_from new" -l no-qr -d 'Print the text only'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand token; and __fish_seen_subcommand_from new" -l json -d 'Print JSON'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand token; and __fish_seen_subcommand_from new" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand token; and __fish_seen_subcommand_from list" -l config -d 'Configuration file [default: /etc/heg/heg-kmc.toml, if it is there]' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand token; and __fish_seen_subcommand_from list" -l socket -d 'Control socket of the daemon [default: the configuration\'s]' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand token; and __fish_seen_subcommand_from list" -l json -d 'Print JSON'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand token; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand token; and __fish_seen_subcommand_from revoke" -l config -d 'Configuration file [default: /etc/heg/heg-kmc.toml, if it is there]' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand token; and __fish_seen_subcommand_from revoke" -l socket -d 'Control socket of the daemon [default: the configuration\'s]' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand token; and __fish_seen_subcommand_from revoke" -l json -d 'Print JSON'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand token; and __fish_seen_subcommand_from revoke" -s h -l help -d 'Print help'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand token; and __fish_seen_subcommand_from help" -f -a "new" -d 'Make a token and print it, as text and as QR code'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand token; and __fish_seen_subcommand_from help" -f -a "list" -d 'List the newest tokens'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand token; and __fish_seen_subcommand_from help" -f -a "revoke" -d 'Make an open token worthless'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand token; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand statements; and not __fish_seen_subcommand_from list show help" -l config -d 'Configuration file [default: /etc/heg/heg-kmc.toml, if it is there]' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand statements; and not __fish_seen_subcommand_from list show help" -l socket -d 'Control socket of the daemon [default: the configuration\'s]' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand statements; and not __fish_seen_subcommand_from list show help" -l json -d 'Print JSON'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand statements; and not __fish_seen_subcommand_from list show help" -s h -l help -d 'Print help'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand statements; and not __fish_seen_subcommand_from list show help" -f -a "list" -d 'List the newest statements'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand statements; and not __fish_seen_subcommand_from list show help" -f -a "show" -d 'Show one'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand statements; and not __fish_seen_subcommand_from list show help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand statements; and __fish_seen_subcommand_from list" -l config -d 'Configuration file [default: /etc/heg/heg-kmc.toml, if it is there]' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand statements; and __fish_seen_subcommand_from list" -l socket -d 'Control socket of the daemon [default: the configuration\'s]' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand statements; and __fish_seen_subcommand_from list" -l json -d 'Print JSON'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand statements; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand statements; and __fish_seen_subcommand_from show" -l config -d 'Configuration file [default: /etc/heg/heg-kmc.toml, if it is there]' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand statements; and __fish_seen_subcommand_from show" -l socket -d 'Control socket of the daemon [default: the configuration\'s]' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand statements; and __fish_seen_subcommand_from show" -l json -d 'Print JSON'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand statements; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand statements; and __fish_seen_subcommand_from help" -f -a "list" -d 'List the newest statements'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand statements; and __fish_seen_subcommand_from help" -f -a "show" -d 'Show one'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand statements; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand revoke" -l reason -d 'Why, for list and audit log' -r
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand revoke" -l config -d 'Configuration file [default: /etc/heg/heg-kmc.toml, if it is there]' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand revoke" -l socket -d 'Control socket of the daemon [default: the configuration\'s]' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand revoke" -l json -d 'Print JSON'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand revoke" -s h -l help -d 'Print help'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand policy; and not __fish_seen_subcommand_from show set help" -l config -d 'Configuration file [default: /etc/heg/heg-kmc.toml, if it is there]' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand policy; and not __fish_seen_subcommand_from show set help" -l socket -d 'Control socket of the daemon [default: the configuration\'s]' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand policy; and not __fish_seen_subcommand_from show set help" -l json -d 'Print JSON'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand policy; and not __fish_seen_subcommand_from show set help" -s h -l help -d 'Print help'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand policy; and not __fish_seen_subcommand_from show set help" -f -a "show" -d 'Show the policy in force'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand policy; and not __fish_seen_subcommand_from show set help" -f -a "set" -d 'Sign the rules in a TOML file as the next version'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand policy; and not __fish_seen_subcommand_from show set help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand policy; and __fish_seen_subcommand_from show" -l config -d 'Configuration file [default: /etc/heg/heg-kmc.toml, if it is there]' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand policy; and __fish_seen_subcommand_from show" -l socket -d 'Control socket of the daemon [default: the configuration\'s]' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand policy; and __fish_seen_subcommand_from show" -l json -d 'Print JSON'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand policy; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand policy; and __fish_seen_subcommand_from set" -l config -d 'Configuration file [default: /etc/heg/heg-kmc.toml, if it is there]' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand policy; and __fish_seen_subcommand_from set" -l socket -d 'Control socket of the daemon [default: the configuration\'s]' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand policy; and __fish_seen_subcommand_from set" -l json -d 'Print JSON'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand policy; and __fish_seen_subcommand_from set" -s h -l help -d 'Print help'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand policy; and __fish_seen_subcommand_from help" -f -a "show" -d 'Show the policy in force'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand policy; and __fish_seen_subcommand_from help" -f -a "set" -d 'Sign the rules in a TOML file as the next version'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand policy; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand audit" -l since -d 'From then on, in RFC 3339 (2026-11-22T07:30:00Z)' -r
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand audit" -l config -d 'Configuration file [default: /etc/heg/heg-kmc.toml, if it is there]' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand audit" -l socket -d 'Control socket of the daemon [default: the configuration\'s]' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand audit" -l json -d 'Print JSON'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand audit" -s h -l help -d 'Print help'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand status" -l config -d 'Configuration file [default: /etc/heg/heg-kmc.toml, if it is there]' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand status" -l socket -d 'Control socket of the daemon [default: the configuration\'s]' -r -F
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand status" -l json -d 'Print JSON'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand status" -s h -l help -d 'Print help'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand help; and not __fish_seen_subcommand_from init root token statements revoke policy audit status help" -f -a "init" -d 'Make a new centre: its keys, statements and first policy'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand help; and not __fish_seen_subcommand_from init root token statements revoke policy audit status help" -f -a "root" -d 'Take the root key away, bring it back, use it'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand help; and not __fish_seen_subcommand_from init root token statements revoke policy audit status help" -f -a "token" -d 'One-time tokens that enrol a gateway or a utility'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand help; and not __fish_seen_subcommand_from init root token statements revoke policy audit status help" -f -a "statements" -d 'What was stated'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand help; and not __fish_seen_subcommand_from init root token statements revoke policy audit status help" -f -a "revoke" -d 'Revoke a statement: its keys are worth nothing from now on'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand help; and not __fish_seen_subcommand_from init root token statements revoke policy audit status help" -f -a "policy" -d 'The policy that everybody follows'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand help; and not __fish_seen_subcommand_from init root token statements revoke policy audit status help" -f -a "audit" -d 'Show the audit log and check that nobody edited it'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand help; and not __fish_seen_subcommand_from init root token statements revoke policy audit status help" -f -a "status" -d 'Show the daemon: addresses, keys, numbers, troubles'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand help; and not __fish_seen_subcommand_from init root token statements revoke policy audit status help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand help; and __fish_seen_subcommand_from root" -f -a "export" -d 'Copy the root key into a file under a passphrase'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand help; and __fish_seen_subcommand_from root" -f -a "import" -d 'Put an exported root key back'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand help; and __fish_seen_subcommand_from root" -f -a "sign-issuing" -d 'Make a new issuing key and state it with the root key'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand help; and __fish_seen_subcommand_from root" -f -a "recover" -d 'Have peers take the new keys of a party that lost its old ones'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand help; and __fish_seen_subcommand_from token" -f -a "new" -d 'Make a token and print it, as text and as QR code'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand help; and __fish_seen_subcommand_from token" -f -a "list" -d 'List the newest tokens'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand help; and __fish_seen_subcommand_from token" -f -a "revoke" -d 'Make an open token worthless'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand help; and __fish_seen_subcommand_from statements" -f -a "list" -d 'List the newest statements'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand help; and __fish_seen_subcommand_from statements" -f -a "show" -d 'Show one'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand help; and __fish_seen_subcommand_from policy" -f -a "show" -d 'Show the policy in force'
complete -c heg-kmc -n "__fish_heg_kmc_using_subcommand help; and __fish_seen_subcommand_from policy" -f -a "set" -d 'Sign the rules in a TOML file as the next version'
