//! The tokio driver of the [`upnp`] crate: sockets per interface, HTTP server and client, interface watch.
//!
//! In: the kernel's datagrams, connections and netlink messages. Out: [`NetEvent`]s for the state machines; and their
//! [`upnp::net::Effect`]s carried out. The driver decides nothing: what a datagram means, who may ask for what and what is
//! answered is the state machines' business. What it owns is every bound on what a peer can make this host hold or wait for.
//!
//! One daemon has one [`Net`] on a tokio current-thread runtime; its loop awaits [`Net::next`] and hands effects to
//! [`Net::apply`].

mod client;
mod config;
mod connection;
mod interfaces;
pub mod limits;
mod links;
mod net;
mod netlink;
mod pool;
mod route;
mod server;
mod sockets;

pub use client::ClientLimits;
pub use config::{InterfaceFilter, NetConfig};
pub use links::{NetworkLink, NetworkWatch, TablesWatch, network_links};
pub use net::{Net, NetError, NetEvent};
pub use route::route_source;
pub use server::{Responder, ServerLimits};
