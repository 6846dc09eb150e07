//! `EnergyGateway:1`, offered by the gateway and called by appliances: the paper's Table II.
//!
//! `UUID` and `Address` are the caller's.

use energy_model::DailyWindow;
use upnp::error::UpnpError;

service! {
    service "urn:heg-energy-org:service:EnergyGateway:1" id "urn:heg-energy-org:serviceId:EnergyGateway";

    events {}

    #[expect(non_camel_case_types, reason = "the standard's names (UDA 1.1, 2.5)")]
    variables {
        /// The caller's UUID.
        A_ARG_TYPE_UUID: energy_model::CallerId;
        /// The caller's address.
        A_ARG_TYPE_Address: energy_model::CallerAddress;
        /// A local time of day.
        A_ARG_TYPE_Time: energy_model::TimeOfDay;
        /// A registration.
        A_ARG_TYPE_RegID: energy_model::RegId;
    }

    actions {
        /// Asks to be woken every day at that time.
        WakeUpTime(
            uuid: UUID of A_ARG_TYPE_UUID,
            address: Address of A_ARG_TYPE_Address,
            time: Time of A_ARG_TYPE_Time,
        ) -> WakeUpTimeReply(reg_id: RegID of A_ARG_TYPE_RegID);

        /// Asks not to be sent to standby on any day from one time to the other.
        NoStandbyPeriod(
            uuid: UUID of A_ARG_TYPE_UUID,
            address: Address of A_ARG_TYPE_Address,
            start_time: StartTime of A_ARG_TYPE_Time,
            stop_time: StopTime of A_ARG_TYPE_Time,
        ) -> NoStandbyPeriodReply(reg_id: RegID of A_ARG_TYPE_RegID);

        /// Ends a registration of the caller's own.
        Withdraw(
            uuid: UUID of A_ARG_TYPE_UUID,
            address: Address of A_ARG_TYPE_Address,
            reg_id: RegID of A_ARG_TYPE_RegID,
        ) -> WithdrawReply();
    }
}

impl NoStandbyPeriod {
    /// The window from `StartTime` to `StopTime`; 600 where they are equal.
    pub fn window(&self) -> Result<DailyWindow, UpnpError> {
        crate::errors::window(self.start_time, self.stop_time)
    }
}
