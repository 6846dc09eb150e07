//! `LowPowerDevice:1` of the UPnP Forum (ISO/IEC 29341-16-11), offered by appliances so that foreign control points
//! understand them. Names after two independent implementations; the values of `PowerState` follow one of them.

use core::fmt;
use core::str::FromStr;

use upnp::service::{Allowed, DataType};

use crate::wire::{Wire, WireError};

service! {
    service "urn:schemas-upnp-org:service:LowPowerDevice:1" id "urn:upnp-org:serviceId:LowPowerDevice";

    events {
        /// Where its power comes from.
        ExternalPowerSupplySource: crate::low_power_device::PowerSource, Unicast;
        /// Whether its battery is low.
        BatteryLow: bool, Unicast;
    }

    variables {
        /// State of the power supply, for people.
        PowerSupplyStatus: String;
        /// How long it sleeps.
        SleepPeriod: crate::low_power_device::SleepPeriod;
        /// How deeply it sleeps.
        PowerState: crate::low_power_device::SleepState;
        /// How it can be woken. The standard has XML here whose schema we could not confirm; ours is the word of
        /// `WakeMethod`.
        WakeupMethod: String;
    }

    actions {
        /// Asks how it is woken and supplied.
        GetPowerManagementInfo() -> GetPowerManagementInfoReply(
            wakeup_method: WakeupMethod of WakeupMethod,
            power_supply_status: PowerSupplyStatus of PowerSupplyStatus,
        );

        /// Sends it to sleep.
        GoToSleep(
            recommended_sleep_period: RecommendedSleepPeriod of SleepPeriod,
            recommended_power_state: RecommendedPowerState of PowerState,
        ) -> GoToSleepReply(sleep_period: SleepPeriod of SleepPeriod, power_state: PowerState of PowerState);

        /// Ends its sleep.
        Wakeup() -> WakeupReply();
    }
}

/// Where the power comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerSource {
    /// Its battery: `0`.
    Internal,
    /// The mains: `1`.
    Mains,
}

impl Wire for PowerSource {
    const DATA_TYPE: DataType = DataType::I4;
    const ALLOWED: Allowed = Allowed::Range(0, 1, 1);

    fn to_wire(&self) -> String {
        match self {
            Self::Internal => "0".to_owned(),
            Self::Mains => "1".to_owned(),
        }
    }

    fn from_wire(text: &str) -> Result<Self, WireError> {
        match text {
            "0" => Ok(Self::Internal),
            "1" => Ok(Self::Mains),
            _ => Err(WireError::OutOfRange("expected 0 or 1".to_owned())),
        }
    }
}

/// How long it sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SleepPeriod {
    /// Until it is woken: `-1`.
    Infinite,
    /// So many seconds, at most 2^31-1.
    Seconds(u32),
}

impl Wire for SleepPeriod {
    const DATA_TYPE: DataType = DataType::I4;
    const ALLOWED: Allowed = Allowed::Range(-1, i32::MAX as i64, 1);

    fn to_wire(&self) -> String {
        match self {
            Self::Infinite => "-1".to_owned(),
            Self::Seconds(seconds) => (*seconds).min(i32::MAX as u32).to_string(),
        }
    }

    fn from_wire(text: &str) -> Result<Self, WireError> {
        match text.parse::<i32>() {
            Ok(-1) => Ok(Self::Infinite),
            Ok(seconds) => {
                let wrong = |_| WireError::OutOfRange("expected seconds, or -1 for no end".to_owned());
                u32::try_from(seconds).map(Self::Seconds).map_err(wrong)
            }
            Err(error) => Err(WireError::Malformed(error.to_string())),
        }
    }
}

/// How deeply a device sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SleepState {
    /// Awake.
    Active,
    /// Asleep and still answering on the network.
    TransparentSleep,
    /// Asleep, silent, wakeable over the network.
    DeepSleepOnline,
    /// Asleep and out of the network's reach.
    DeepSleepOffline,
}

impl SleepState {
    const WORDS: &'static [&'static str] = &["0", "1", "2", "4"];
    const ALL: [Self; 4] = [Self::Active, Self::TransparentSleep, Self::DeepSleepOnline, Self::DeepSleepOffline];
}

impl fmt::Display for SleepState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Active => "0",
            Self::TransparentSleep => "1",
            Self::DeepSleepOnline => "2",
            Self::DeepSleepOffline => "4",
        })
    }
}

impl FromStr for SleepState {
    type Err = WireError;
    fn from_str(s: &str) -> Result<Self, WireError> {
        let place = Self::WORDS.iter().position(|word| *word == s);
        place.map(|i| Self::ALL[i]).ok_or_else(|| WireError::OutOfRange("expected 0, 1, 2 or 4".to_owned()))
    }
}

impl Wire for SleepState {
    const DATA_TYPE: DataType = DataType::String;
    const ALLOWED: Allowed = Allowed::List(Self::WORDS);

    fn to_wire(&self) -> String {
        self.to_string()
    }

    fn from_wire(text: &str) -> Result<Self, WireError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleep_periods_and_states_read_back_as_written() {
        for period in [SleepPeriod::Infinite, SleepPeriod::Seconds(0), SleepPeriod::Seconds(i32::MAX as u32)] {
            assert_eq!(SleepPeriod::from_wire(&period.to_wire()), Ok(period));
        }
        assert!(matches!(SleepPeriod::from_wire("-2"), Err(WireError::OutOfRange(_))));
        for state in SleepState::ALL {
            assert_eq!(SleepState::from_wire(&state.to_wire()), Ok(state));
        }
        assert!(SleepState::from_wire("3").is_err());
    }
}
