//! The driver against real sockets: on the loopback interface, and between hosts in network namespaces.

// `cfg(test)` tells the lints that these are tests throughout.
#[cfg(test)]
mod datagrams;
#[cfg(test)]
mod dialogue;
#[cfg(test)]
mod hosts;
#[cfg(test)]
mod http_client;
#[cfg(test)]
mod http_server;
#[cfg(test)]
mod interfaces;
#[cfg(test)]
mod last_event;
#[cfg(test)]
mod probes;
#[cfg(test)]
mod standing;
