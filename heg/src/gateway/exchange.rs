//! What goes in and out of [`Gateway`](super::Gateway), and what is asked of it.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use energy_model::{DailyWindow, MacAddress, PowerState, RegId, TimeOfDay, WakeMethod, Watts};
use jiff::tz::TimeZone;
use upnp::ids::Udn;
use utility_wire::EventId;

use crate::commands::{CallFailure, Outcome, Patience, Verb};
use crate::journal::{Cause, Entry};
use crate::registrations::{Key, Registration, RegistrationError, Wish};
use crate::registry::{Facts, Found};
use crate::rules::RuleId;
use crate::rules::book::BookError;
use crate::wake::SecureOn;

/// What a person set for one appliance in the configuration; it goes before what the appliance says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Override {
    /// Shown instead of the friendly name.
    pub name: Option<String>,
    /// Woken at this address.
    pub mac: Option<MacAddress>,
    /// Sent with its magic packets.
    pub secure_on: Option<SecureOn>,
}

/// What the configuration decides; may change while running.
#[derive(Clone, Debug)]
pub struct Settings {
    /// An appliance silent for this long is asked for its state.
    pub poll_every: Duration,
    /// Times commands may take.
    pub patience: Patience,
    /// By UDN.
    pub overrides: BTreeMap<Udn, Override>,
    /// Local time.
    pub zone: TimeZone,
}

/// Names somebody who waits for an answer (a SOAP caller, a control socket request). Given by the caller of this module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AskId(pub u64);

/// Who waits for the end of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiter {
    /// Somebody who asked.
    Ask(AskId),
    /// The utility, by its control's number.
    Utility(EventId),
    /// The planner: it hears of the end of every command ([`Effect::Ended`]).
    Planner,
}

/// Names a call to an appliance. Given by this module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallTag(pub u64);

/// An action to call on an appliance; caller's UUID and address are added on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// PowerManagement:1 GetPowerState.
    GetPowerState,
    /// PowerManagement:1 WakeUpMethod.
    WakeUpMethod,
    /// ApplianceInfo:1 GetApplianceInfo.
    GetApplianceInfo,
    /// PowerManagement:1 OperationOn.
    OperationOn,
    /// PowerManagement:1 OperationOff.
    OperationOff,
    /// PowerManagement:1 GoToStandby.
    GoToStandby,
    /// PowerManagement:1 StandbyPeriod.
    StandbyPeriod(DailyWindow),
    /// PowerManagement:1 Withdraw.
    Withdraw(RegId),
}

/// The result of an [`Order`] that was obeyed.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Of GetPowerState.
    PowerState(PowerState),
    /// Of WakeUpMethod.
    WakeMethod(WakeMethod),
    /// Of GetApplianceInfo.
    Info {
        /// What it is.
        facts: Facts,
        /// Where to wake it.
        mac: Option<MacAddress>,
        /// How to wake it.
        wake_method: Option<WakeMethod>,
    },
    /// Of a command; the RegID it returned, if any.
    Obeyed(Option<RegId>),
}

/// What an appliance asks of the gateway (Table II).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// WakeUpTime.
    WakeUpTime(TimeOfDay),
    /// NoStandbyPeriod.
    NoStandbyPeriod(DailyWindow),
    /// Withdraw.
    Withdraw(RegId),
}

/// What a person (or program) asks for at the control socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A command to an appliance.
    Command(Udn, Verb),
    /// A registration kept here on the person's behalf.
    Register(Udn, Wish),
    /// A registration withdrawn, wherever it is kept; among those of one appliance if named.
    Withdraw(RegId, Option<Udn>),
    /// An appliance that is no more taken out of the registry.
    Forget(Udn),
}

/// A fact.
#[derive(Clone, Debug)]
pub enum Input {
    /// A device description was read.
    Found(Found),
    /// It said byebye or its announcements ran out; `why` for people.
    Gone {
        /// Who.
        udn: Udn,
        /// In words.
        why: &'static str,
    },
    /// Its PowerManagement events come to us, or no longer do.
    Subscription {
        /// Who.
        udn: Udn,
        /// Whether they do.
        live: bool,
    },
    /// An event PowerState.
    PowerStateTold {
        /// Who.
        udn: Udn,
        /// What it said.
        state: PowerState,
    },
    /// An event of ApplianceInfo:1; what it does not tell is `None`.
    InfoTold {
        /// Who.
        udn: Udn,
        /// What it draws.
        power: Option<Watts>,
        /// Its last refusal, `CODE ACTION reason`; empty for none.
        refusal: Option<String>,
    },
    /// What came of a call.
    Answered {
        /// Which.
        call: CallTag,
        /// What.
        result: Result<Answer, CallFailure>,
    },
    /// What the kernel's neighbour table says of an address.
    NeighbourLooked {
        /// Which.
        address: IpAddr,
        /// What.
        mac: Option<MacAddress>,
    },
    /// An appliance calls us.
    ApplianceAsks {
        /// Who waits.
        ask: AskId,
        /// Where the call came from.
        from: IpAddr,
        /// Who it says it is.
        caller: Udn,
        /// What it wants.
        request: Request,
    },
    /// A person asks.
    PersonAsks {
        /// Who waits.
        ask: AskId,
        /// User id.
        uid: u32,
        /// What is wanted.
        wanted: Wanted,
    },
    /// The utility orders an appliance whose people allow it; [`Effect::ControlEnded`] follows.
    UtilityOrders {
        /// Its control's number.
        id: EventId,
        /// Whom.
        udn: Udn,
        /// What.
        verb: Verb,
    },
    /// The planner orders an appliance; [`Effect::Ended`] follows.
    PlannerOrders {
        /// Whom.
        udn: Udn,
        /// What.
        verb: Verb,
        /// Why.
        cause: Cause,
    },
    /// Whether what was to be saved for somebody is on the disk.
    Saved {
        /// Who waits.
        ask: AskId,
        /// Or why not.
        result: Result<(), String>,
    },
    /// The wall clock was set.
    ClockChanged,
    /// The configuration was read again.
    Configured(Settings),
}

/// What somebody who asked gets.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// A registration was made, or was there already.
    Registered(RegId),
    /// A registration was withdrawn.
    Withdrawn(Key),
    /// An appliance was forgotten.
    Forgotten,
    /// A rule was made or removed; what whoever said it should know besides, or nothing.
    Rule(RuleId, String),
    /// A command ended.
    Outcome(Outcome),
    /// Not done.
    No(AskError),
}

/// Why something asked for was not done.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AskError {
    /// About registrations.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    /// The caller is not who it says it is.
    #[error("{0}")]
    NotAuthorized(String),
    /// About rules.
    #[error(transparent)]
    Rule(#[from] BookError),
    /// It could not be written down, so it was not taken.
    #[error("it cannot be stored now: {0}")]
    NotStored(String),
    /// No such appliance.
    #[error("no appliance has the UDN {0}")]
    UnknownAppliance(Udn),
    /// It is there, so it would come back at once.
    #[error("it is reachable; only an appliance that is gone can be forgotten")]
    StillThere,
    /// Too much at once.
    #[error("the gateway is busy; try again")]
    Busy,
}

/// An order to the shell around this module.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Call an action; [`Input::Answered`] must follow.
    Call {
        /// Comes back with the answer.
        call: CallTag,
        /// On whom.
        udn: Udn,
        /// What.
        order: Order,
    },
    /// Send one magic packet by every way there is.
    SendMagicPacket {
        /// To whom.
        mac: MacAddress,
        /// Where it was last, to choose the interface.
        address: Option<IpAddr>,
        /// Password, if it needs one.
        secure_on: Option<SecureOn>,
    },
    /// Look an address up in the neighbour table; [`Input::NeighbourLooked`] must follow.
    LookUpNeighbour(IpAddr),
    /// Search the network for appliances.
    Search,
    /// An appliance's profile changed: write it with the next batch.
    SaveAppliance(Udn),
    /// Take an appliance out of the store.
    DropAppliance(Udn),
    /// Write a registration; with an asker [`Input::Saved`] must follow.
    SaveRegistration {
        /// Who waits.
        ask: Option<AskId>,
        /// What.
        registration: Registration,
    },
    /// Take a registration out of the store; with an asker [`Input::Saved`] must follow.
    DropRegistration {
        /// Who waits.
        ask: Option<AskId>,
        /// Which.
        key: Key,
    },
    /// Write a journal entry with the next batch.
    Journal(Entry),
    /// Answer somebody, once everything ordered before is on the disk.
    Answer {
        /// Whom.
        ask: AskId,
        /// What.
        reply: Reply,
    },
    /// A command ended, whosever it was.
    Ended {
        /// Whose.
        udn: Udn,
        /// Which.
        verb: Verb,
        /// For whom.
        cause: Cause,
        /// How.
        outcome: Outcome,
    },
    /// What came of [`Input::UtilityOrders`].
    ControlEnded {
        /// Which.
        id: EventId,
        /// What.
        outcome: Outcome,
    },
    /// Something about an appliance looks different now (for those who watch).
    Changed(Udn),
}
