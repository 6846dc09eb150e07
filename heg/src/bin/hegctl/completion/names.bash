
# Where an appliance is meant, the names that the gateway knows.
_hegctl_names() {
    local before="" socket="" option="" word
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case $option$word in
            --socket=) ;;
            --socket?*) socket=${word/#\~/$HOME} option="" ;;
            --socket) option=--socket ;;
            -*) ;;
            *) before+="$word " ;;
        esac
    done
    case $before in
        "show " | "on " | "off " | "standby " | "wake " | "schedule " | "forget " | "why " | "consent " | "rule add ") ;;
        *) [[ $3 == --appliance ]] || return 1 ;;
    esac
    [[ $2 != -* ]] || return 1
    local name start=${2//\\/}
    while read -r name; do
        [[ ${name,,} != "${start,,}"* ]] || COMPREPLY+=("$(printf %q "$name")")
    done < <("$1" ${socket:+--socket "$socket"} appliances --names 2>/dev/null)
}

_hegctl_or_name() {
    COMPREPLY=()
    _hegctl_names "$@" || _hegctl "$@"
}

complete -F _hegctl_or_name -o nosort -o bashdefault -o default hegctl
