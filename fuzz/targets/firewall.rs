//! What the firewall reads from outside: networks in settings, the kernel's list of TCP sockets, `nft`'s listing, its own state file.
#![no_main]
use heg::firewall::deadman::{DeadMan, Record};
use heg::firewall::nft::read_counts;
use heg::firewall::prefix::{Prefix, merged};
use heg::firewall::settings::Settings;
use heg::firewall::ssh::established;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let prefixes: Vec<Prefix> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    for prefix in &prefixes {
        assert_eq!(prefix.to_string().parse(), Ok(*prefix));
    }
    let kept = merged(prefixes.iter().copied());
    assert!(prefixes.iter().all(|p| kept.iter().any(|k| k.covers(*p))));
    for source in established(text, &[22]) {
        assert!(text.len() > source.to_string().len());
    }
    let _listing = read_counts(text);
    if let Ok(record) = serde_json::from_str::<Record>(text) {
        let dead_man = DeadMan::restore(record, &Settings::default());
        assert!(dead_man.record().waiting.is_none() && dead_man.record().confirmed.is_some());
    }
});
