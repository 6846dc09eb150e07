//! Whole-system tests: the lab's logind, appliances and gateways made of lab hosts, and what the demo and the
//! end-to-end tests share.

pub mod attacker;
pub mod completions;
pub mod hardware;
pub mod house;
pub mod kernel;
pub mod limits;
pub mod logind;
pub mod machine;
pub mod man;
pub mod traffic;
pub mod wan;
