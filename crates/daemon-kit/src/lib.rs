//! What every daemon shares: logging, configuration, clock, signals, sd_notify, control socket, exit codes.
