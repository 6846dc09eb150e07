//! The planner by its public face: against every possible plan on small problems, what always holds on large ones, and what people expect.

#[path = "plan_tests/brute.rs"]
mod brute;
#[path = "plan_tests/home.rs"]
mod home;
#[path = "plan_tests/invariants.rs"]
mod invariants;
#[path = "plan_tests/rules.rs"]
mod rules;
#[path = "plan_tests/slots.rs"]
mod slots;
