//! What a home tells and is told, as bodies of messages.

use energy_model::{Importance, PowerState, Watts};
use utility_wire::{
    ApplianceId, ApplianceReport, Command, Control, EventId, List, Poll, Report, Text, UnixTime, Versions,
};

/// Appliances, as people call them.
pub(crate) const APPLIANCES: [&str; 4] = ["fridge", "dishwasher", "heat pump", "television"];
/// States that an appliance goes over to.
pub(crate) const STATES: [PowerState; 3] = [PowerState::On, PowerState::Standby, PowerState::Off];

/// A report of one appliance that is in another state now.
pub(crate) fn report(batch: u64, appliance: &str, state: PowerState) -> Report {
    let since = UnixTime::new(1_800_000_000 + batch);
    let appliance = ApplianceReport {
        id: appliance.replace(' ', "-").parse::<ApplianceId>().expect("a name"),
        name: Text::cut(appliance),
        state: Some(state),
        since,
        power: Some(Watts::new(90)),
        rated: None,
        importance: Some(Importance::Normal),
        flexibility: None,
        consents: true,
    };
    Report {
        batch,
        made: since,
        complete: false,
        appliances: List::fill([appliance]),
        consumption: List::fill([]),
        gaps: List::fill([]),
        decisions: List::empty(),
    }
}

/// A poll that does not want to wait.
pub(crate) fn poll() -> Poll {
    Poll { wait_s: 0, have: Versions { prices: 0, limits: 0, policy: 1 }, outcomes: List::fill([]) }
}

/// A command to switch the heat pump off.
pub(crate) fn switch_off(number: u64) -> Command {
    let control = Control {
        id: EventId::new(number).expect("a number from 1 up"),
        appliance: "heat-pump".parse().expect("a name"),
        action: PowerState::Off,
        expires: UnixTime::new(4_000_000_000),
    };
    let current = Versions { prices: 0, limits: 0, policy: 1 };
    Command {
        current,
        limits: None,
        controls: List::fill([control]),
        zone: "SE3".parse().expect("a zone"),
        poll_after_s: 0,
    }
}
