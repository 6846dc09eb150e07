//! `ApplianceInfo:1`, offered by appliances: what the appliance is, what it draws, and its last refusal. Ours; the paper
//! has nothing like it.

use core::fmt;
use core::str::FromStr;

use energy_model::RefusalKind;
use upnp::error::ErrorCode;
use upnp::service::DataType;

use crate::errors::{self, Refusal};
use crate::limits::TEXT_BYTES_MAX;
use crate::wire::{Wire, WireError};

service! {
    service "urn:heg-energy-org:service:ApplianceInfo:1" id "urn:heg-energy-org:serviceId:ApplianceInfo";

    events {
        /// The last refusal as `CODE ACTION reason`; empty when nothing was refused since the start.
        LastRefusal: Option<crate::appliance_info::LastRefusal>, Unicast;
        /// Power drawn now, in watts.
        Power: energy_model::Watts, Unicast, max_rate = crate::limits::POWER_EVENT_INTERVAL;
    }

    #[expect(non_camel_case_types, reason = "the standard's names (UDA 1.1, 2.5)")]
    variables {
        /// Power drawn at work, in watts.
        RatedPower: energy_model::Watts;
        /// How much its work matters.
        Importance: energy_model::Importance;
        /// What a plan may do with its work.
        Flexibility: energy_model::Flexibility;
        /// Hardware address for the magic packet; empty when it has none.
        MACAddress: Option<energy_model::MacAddress>;
        /// Least time it stays on once on, in seconds.
        MinimumOnTime: u32;
        /// Least time it stays off once off, in seconds.
        MinimumOffTime: u32;
        /// How it can be woken.
        WakeMethod: energy_model::WakeMethod;
        /// Energy drawn since its counter began, in watt-hours.
        Energy: energy_model::WattHours;
        /// Code of a refusal, 800-899; 0 for none.
        A_ARG_TYPE_RefusalCode: u32;
        /// A refusal's reason, for people; empty for none.
        A_ARG_TYPE_RefusalReason: String;
        /// Name of an action; empty for none.
        A_ARG_TYPE_Action: String;
        /// An instant in UTC as `YYYY-MM-DDTHH:MM:SSZ`; empty for none.
        A_ARG_TYPE_DateTime: String;
    }

    actions {
        /// Asks what the appliance is.
        GetApplianceInfo() -> GetApplianceInfoReply(
            rated_power: RatedPower of RatedPower,
            importance: Importance of Importance,
            flexibility: Flexibility of Flexibility,
            mac_address: MACAddress of MACAddress,
            minimum_on_time_s: MinimumOnTime of MinimumOnTime,
            minimum_off_time_s: MinimumOffTime of MinimumOffTime,
            wake_method: WakeMethod of WakeMethod,
        );

        /// Asks what the appliance draws.
        GetPowerUsage() -> GetPowerUsageReply(power: Power of Power, energy: Energy of Energy);

        /// Asks for the last refusal.
        GetLastRefusal() -> GetLastRefusalReply(
            refusal_code: RefusalCode of A_ARG_TYPE_RefusalCode,
            refusal_reason: RefusalReason of A_ARG_TYPE_RefusalReason,
            refused_action: RefusedAction of A_ARG_TYPE_Action,
            refused_at: RefusedAt of A_ARG_TYPE_DateTime,
        );
    }
}

/// The last refusal as its variable carries it: `CODE ACTION reason`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastRefusal {
    /// The action refused; no spaces.
    pub action: String,
    /// Why.
    pub refusal: Refusal,
}

impl fmt::Display for LastRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.refusal.code(), self.action, self.refusal.reason)
    }
}

impl FromStr for LastRefusal {
    type Err = WireError;
    fn from_str(s: &str) -> Result<Self, WireError> {
        let wrong = || WireError::Malformed("expected CODE ACTION reason".to_owned());
        let mut parts = s.splitn(3, ' ');
        let code = parts.next().and_then(|code| code.parse().ok()).map(ErrorCode).ok_or_else(wrong)?;
        let action = parts.next().filter(|action| !action.is_empty()).ok_or_else(wrong)?;
        let kind = if code.is_vendor() { errors::kind(code) } else { RefusalKind::Unlisted(code.0) };
        Ok(Self { action: action.to_owned(), refusal: Refusal::new(kind, parts.next().unwrap_or_default()) })
    }
}

impl Wire for Option<LastRefusal> {
    const DATA_TYPE: DataType = DataType::String;

    fn to_wire(&self) -> String {
        self.as_ref().map(LastRefusal::to_string).unwrap_or_default()
    }

    fn from_wire(text: &str) -> Result<Self, WireError> {
        match text.len() {
            0 => Ok(None),
            1..=TEXT_BYTES_MAX => text.parse().map(Some),
            _ => Err(WireError::TooLong(TEXT_BYTES_MAX)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_refusal_reads_back_as_evented() {
        let refusal = Refusal::new(RefusalKind::BusyUnit, "backup.service is running");
        let last = Some(LastRefusal { action: "GoToStandby".to_owned(), refusal });
        assert_eq!(last.to_wire(), "806 GoToStandby backup.service is running");
        assert_eq!(Option::from_wire(&last.to_wire()), Ok(last));
        assert_eq!(Option::<LastRefusal>::from_wire(""), Ok(None));
        for wrong in ["806", "x y z", "806  z"] {
            assert!(Option::<LastRefusal>::from_wire(wrong).is_err(), "{wrong}");
        }
    }
}
