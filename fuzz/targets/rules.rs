//! Rules and readings: no step panics, and a rule never asks for more than a limit may be.
#![no_main]
use libfuzzer_sys::fuzz_target;
use utility::readings;
use utility::rules::{Memory, Order, Rules};

// Rules, and behind a line of three dashes readings.
fuzz_target!(|text: &str| {
    let (rules, table) = text.split_once("\n---\n").unwrap_or((text, text));
    let readings = readings::read(table).unwrap_or_default();
    let Ok(rules) = Rules::parse(rules) else { return };
    for rule in rules.iter() {
        let mut memory = Memory::default();
        for reading in &readings {
            let Some(step) = rule.step(&memory, reading) else { continue };
            if let Some(Order::Make(draft)) = &step.order {
                assert_eq!(draft.check(None, reading.at), Ok(()));
            }
            memory = step.memory;
        }
        assert!(!rule.words().is_empty() && memory.limit().is_none_or(|id| id.number() > 0));
    }
});
