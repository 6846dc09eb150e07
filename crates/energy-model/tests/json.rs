//! Values in state files and JSON: the form is kept from version to version, and what is wrong is refused there too.

use std::fmt::Debug;

use energy_model::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn is_written_as<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T, form: Value) {
    assert_eq!(serde_json::to_value(&value).expect("has a JSON form"), form);
    assert_eq!(serde_json::from_value::<T>(form).expect("reads back"), value);
}

#[test]
fn every_value_has_its_wire_text_as_json() {
    let window: DailyWindow = "22:00:00-06:00:00".parse().unwrap();
    is_written_as(PowerState::Standby, json!("Standby"));
    is_written_as(WakeMethod::WoWlan, json!("WoWLAN"));
    is_written_as(Importance::High, json!("High"));
    is_written_as(Flexibility::StandbyAble, json!("StandbyAble"));
    is_written_as(window.start(), json!("22:00:00"));
    is_written_as(window, json!({ "start": "22:00:00", "end": "06:00:00" }));
    is_written_as(RegId::new(7).unwrap(), json!(7));
    is_written_as(Watts::new(55), json!(55));
    is_written_as(WattHours::new(56), json!(56));
    is_written_as("52:54:00:ab:cd:0f".parse::<MacAddress>().unwrap(), json!("52:54:00:ab:cd:0f"));
    is_written_as("7".parse::<CallerId>().unwrap(), json!("7"));
    is_written_as("fe80::1%eth0".parse::<CallerAddress>().unwrap(), json!("fe80::1%eth0"));
    is_written_as(RefusalKind::BusyUnit, json!("BusyUnit"));
    is_written_as(RefusalKind::Unlisted(877), json!("Unlisted(877)"));
}

fn refused<T: DeserializeOwned + Debug>(form: Value) -> String {
    serde_json::from_value::<T>(form).expect_err("is wrong").to_string()
}

#[test]
fn a_wrong_value_is_refused_with_words_that_help() {
    assert_eq!(refused::<RegId>(json!(0)).split(',').next(), Some("invalid value: integer `0`"));
    assert_eq!(refused::<PowerState>(json!("on")), "expected one of ON, OFF, Standby");
    assert_eq!(refused::<TimeOfDay>(json!("24:00:00")), "a time of day runs from 00:00:00 to 23:59:59");
    let same = json!({ "start": "01:00:00", "end": "01:00:00" });
    assert_eq!(refused::<DailyWindow>(same), "a daily window needs an end other than its start");
    assert!(
        refused::<DailyWindow>(json!({ "start": "01:00:00", "end": "02:00:00", "x": 1 })).contains("unknown field")
    );
    assert_eq!(refused::<MacAddress>(json!("x")), "expected a MAC address as aa:bb:cc:dd:ee:ff");
}
