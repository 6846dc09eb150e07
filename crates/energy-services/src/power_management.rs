//! `PowerManagement:1`, offered by appliances and called by the gateway: the paper's Table I.
//!
//! `UUID` and `Address` are the caller's. Every action but `Withdraw` returns a `RegID`; see docs/protocol.md.

use energy_model::DailyWindow;
use upnp::error::UpnpError;

service! {
    service "urn:heg-energy-org:service:PowerManagement:1" id "urn:heg-energy-org:serviceId:PowerManagement";

    events {
        /// The state of the appliance's operation. Also sent by multicast, as a second chance before it sleeps.
        PowerState: energy_model::PowerState, Multicast;
    }

    #[expect(non_camel_case_types, reason = "the standard's names (UDA 1.1, 2.5)")]
    variables {
        /// The caller's UUID.
        A_ARG_TYPE_UUID: energy_model::CallerId;
        /// The caller's address.
        A_ARG_TYPE_Address: energy_model::CallerAddress;
        /// How it can be woken.
        A_ARG_TYPE_WakeMethod: energy_model::WakeMethod;
        /// A local time of day.
        A_ARG_TYPE_Time: energy_model::TimeOfDay;
        /// A registration.
        A_ARG_TYPE_RegID: energy_model::RegId;
    }

    actions {
        /// Asks for the present state.
        GetPowerState(uuid: UUID of A_ARG_TYPE_UUID, address: Address of A_ARG_TYPE_Address)
            -> GetPowerStateReply(power_state: PowerState of PowerState, reg_id: RegID of A_ARG_TYPE_RegID);

        /// Asks how the appliance can be woken from standby.
        WakeUpMethod(uuid: UUID of A_ARG_TYPE_UUID, address: Address of A_ARG_TYPE_Address)
            -> WakeUpMethodReply(wake_method: WakeMethod of A_ARG_TYPE_WakeMethod, reg_id: RegID of A_ARG_TYPE_RegID);

        /// Starts the appliance's operation.
        OperationOn(uuid: UUID of A_ARG_TYPE_UUID, address: Address of A_ARG_TYPE_Address)
            -> OperationOnReply(reg_id: RegID of A_ARG_TYPE_RegID);

        /// Stops the appliance's operation.
        OperationOff(uuid: UUID of A_ARG_TYPE_UUID, address: Address of A_ARG_TYPE_Address)
            -> OperationOffReply(reg_id: RegID of A_ARG_TYPE_RegID);

        /// Sends the appliance to standby.
        GoToStandby(uuid: UUID of A_ARG_TYPE_UUID, address: Address of A_ARG_TYPE_Address)
            -> GoToStandbyReply(reg_id: RegID of A_ARG_TYPE_RegID);

        /// Asks for standby every day from one time to the other.
        StandbyPeriod(
            uuid: UUID of A_ARG_TYPE_UUID,
            address: Address of A_ARG_TYPE_Address,
            start_time: StartTime of A_ARG_TYPE_Time,
            stop_time: StopTime of A_ARG_TYPE_Time,
        ) -> StandbyPeriodReply(reg_id: RegID of A_ARG_TYPE_RegID);

        /// Ends a registration of the caller's own.
        Withdraw(
            uuid: UUID of A_ARG_TYPE_UUID,
            address: Address of A_ARG_TYPE_Address,
            reg_id: RegID of A_ARG_TYPE_RegID,
        ) -> WithdrawReply();
    }
}

impl StandbyPeriod {
    /// The window from `StartTime` to `StopTime`; 600 where they are equal.
    pub fn window(&self) -> Result<DailyWindow, UpnpError> {
        crate::errors::window(self.start_time, self.stop_time)
    }
}
