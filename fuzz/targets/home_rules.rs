//! A person's rule as it comes over the control socket, and its name; what is taken is the same after it is written and read back.
#![no_main]
use heg::rules::form::RuleForm;
use heg::rules::{Author, RuleId};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(id) = text.parse::<RuleId>() {
        assert_eq!(id.to_string(), text);
    }
    let Ok(form) = serde_json::from_str::<RuleForm>(text) else { return };
    let _ = form.words();
    let Ok(rule) = form.rule(RuleId::Made(1), Author::Person(0), None) else { return };
    let again = RuleForm::from(&rule).rule(rule.id, rule.by, None);
    assert_eq!(again, Ok(rule));
});
