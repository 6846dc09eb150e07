//! Records of the kernel probe, one after another, into the state machine: it tells each change once and from where it was.
#![no_main]
use energy_model::PowerState;
use libfuzzer_sys::fuzz_target;
use psm_agent::kernel;
use psm_agent::state::StateMachine;
use psm_event::{RECORD_BYTES, Record};
use upnp::time::BootTime;

fuzz_target!(|data: &[u8]| {
    let mut machine = StateMachine::new(BootTime::ZERO);
    for bytes in data.chunks(RECORD_BYTES) {
        let Ok(record) = Record::from_bytes(bytes) else { continue };
        if let Some(fact) = kernel::fact(&record) {
            machine.handle_fact(fact);
        }
    }
    let mut state = PowerState::On;
    while let Some(change) = machine.poll_change() {
        assert!(change.from == state && change.to != state);
        assert!(!change.cause.to_string().contains(|c: char| c.is_control()));
        state = change.to;
    }
    assert_eq!(state, machine.state());
});
