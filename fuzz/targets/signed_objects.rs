//! Statements, policies and revocation lists, which anybody may pass on; what is taken is kept byte for byte.
#![no_main]
use libfuzzer_sys::fuzz_target;
use secure_http::{Policy, RevocationList, Statement};

fuzz_target!(|data: &[u8]| {
    if let Ok(statement) = Statement::from_store(data) {
        assert_eq!(statement.raw(), data);
    }
    if let Ok(policy) = Policy::from_store(data) {
        assert_eq!(policy.raw(), data);
        assert!(policy.rules().message_s > 0 && policy.version() > 0);
    }
    if let Ok(list) = RevocationList::from_store(data) {
        assert_eq!(list.raw(), data);
    }
});
