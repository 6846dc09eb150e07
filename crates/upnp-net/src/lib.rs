//! The tokio driver of the upnp crate: sockets per interface, HTTP server and client, netlink.
