
# The names of appliances that the gateway knows.
(( $+functions[_hegctl_names] )) ||
_hegctl_names() {
    local -a line socket names
    line=("${(@Q)${(z)BUFFER}}")
    local at=${line[(I)--socket*]}
    (( at )) && socket=(${line[at,at + (${#line[at]} == 8)]})
    names=(${(f)"$(_call_program appliances hegctl ${(q)socket} appliances --names 2>/dev/null)"})
    local expl
    _wanted appliances expl appliance compadd -M 'm:{[:lower:][:upper:]}={[:upper:][:lower:]}' -a names
}
