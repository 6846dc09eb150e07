//! The domain's words as they come from the network and the command line; what is taken is written and read back as the same.
#![no_main]
use energy_model::{MacAddress, PowerState, RegId, TimeOfDay, WakeMethod};
use libfuzzer_sys::fuzz_target;

macro_rules! round_trip {
    ($text:expr, $($kind:ty),*) => {$(
        if let Ok(value) = $text.parse::<$kind>() {
            assert!(value.to_string().parse::<$kind>().is_ok_and(|again| again == value), "{}", $text);
        }
    )*};
}

fuzz_target!(|text: &str| {
    round_trip!(text, TimeOfDay, MacAddress, PowerState, WakeMethod, RegId);
});
