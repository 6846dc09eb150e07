
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
