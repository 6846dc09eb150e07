//! General Event Notification Architecture (UDA 1.1, 4): who subscribes to a service is told its changes.

mod evented;
pub mod propertyset;
pub mod publisher;
mod subscribe;
pub mod subscriber;
