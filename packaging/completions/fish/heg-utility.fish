complete -c heg-utility -l config -d 'Configuration file' -r -F
complete -c heg-utility -l check -d 'Check the configuration and exit'
complete -c heg-utility -s h -l help -d 'Print help'
complete -c heg-utility -s V -l version -d 'Print version'
