//! General Event Notification Architecture (UDA 1.1, 4): who subscribes to a service is told its changes.

pub mod propertyset;
pub mod publisher;
pub mod subscriber;
