//! The home without IO (PURE): joins the gateway's minds, its device and its control point.
//!
//! In: what the network, the disk, people and the clocks tell. Out: [`Effect`]s, which `app.rs` carries out. Every input brings
//! both clocks; what follows from it is worked out when the effects are taken, all of them before the next input.
#![forbid(unsafe_code)]

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use energy_model::MacAddress;
use http::Response;
use upnp::device::{ActionCall, Handled, RootDevice};
use upnp::ids::Udn;
use upnp::net::{Channel, Datagram, HttpAnswer, IncomingRequest, Interface, Owner};
use upnp::time::{BootTime, earliest};
use utility_wire::Poll;

use crate::control_point::Appliances;
use crate::gateway::{AskId, Gateway, Input, Reply};
use crate::journal::Entry;
use crate::now::Now;
use crate::planner::{self, Decision, Planner};
use crate::prices::{self, HomePrices, News};
use crate::store::batch::Batch;
use crate::utility::{self, Question, Utility};
use crate::wake::SecureOn;

pub(crate) mod minds;
mod planning;
#[cfg(test)]
mod tests;

use minds::Minds;

/// An order to `app.rs`.
#[derive(Debug)]
pub enum Effect {
    /// To the network driver.
    Net(upnp::Effect),
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
    /// Write a batch; [`Home::written`] or [`Home::began_anew`] must follow.
    Write(Batch),
    /// Put this where [`HomePrices::new`] finds it after a restart.
    KeepPrices(Vec<u8>),
    /// An entry was made in the journal (it is written by itself).
    Journalled(Entry),
    /// Something about an appliance looks different now.
    Changed(Udn),
    /// The planner has decided something (the journal has it by itself).
    Decided(Decision),
    /// Another plan is followed than before.
    Planned,
    /// An appliance was taken out of the registry.
    Forgotten(Udn),
    /// To the utility; its answer goes to [`Home::handle_utility`].
    Ask(Question),
}

/// What came in by HTTP.
#[derive(Debug)]
pub enum Incoming {
    /// Answered.
    Answered(Response<Bytes>),
    /// A path that is nobody's.
    Other,
    /// The page, to be answered by `upnp::device::presentation_response`.
    Page,
    /// A call of Table II: it goes to [`Home::handle`] as [`Input::ApplianceAsks`] and is answered when its reply comes.
    Asked(Box<ActionCall>),
}

/// The home.
#[derive(Debug)]
pub struct Home {
    minds: Minds,
    appliances: Appliances,
    device: RootDevice,
}

impl Home {
    /// Joins the parts; ordinary changes are written at most `write_every` so often.
    pub fn new(
        gateway: Gateway,
        appliances: Appliances,
        device: RootDevice,
        utility: Utility,
        planner: Planner,
        write_every: Duration,
        now: Now,
    ) -> Self {
        Self { minds: Minds::new(gateway, utility, planner, write_every, now), appliances, device }
    }

    /// The same home, which knows what energy costs.
    #[must_use]
    pub fn with_prices(mut self, prices: HomePrices) -> Self {
        self.minds.set_prices(prices);
        self
    }

    /// The same home, which knows what was decided before it was started: `entries` of the journal, oldest first.
    #[must_use]
    pub fn with_decisions(mut self, entries: &[Entry]) -> Self {
        self.minds.remember(entries);
        self
    }

    /// What energy costs.
    pub fn prices(&self) -> &HomePrices {
        self.minds.prices()
    }

    /// News of the price file or feed.
    pub fn handle_prices(&mut self, news: News, now: Now) {
        self.minds.handle_prices(news, now);
    }

    /// Another tariff.
    pub fn set_tariff(&mut self, settings: prices::Settings, now: Now) {
        self.minds.now = now;
        self.minds.prices.configure(settings, now);
        self.minds.prices_changed(now);
    }

    /// The mind: registry, commands, registrations.
    pub fn gateway(&self) -> &Gateway {
        self.minds.gateway()
    }

    /// The planner: rules, plan, decisions, savings.
    pub fn planner(&self) -> &Planner {
        self.minds.planner()
    }

    /// The dealings with the utility.
    pub fn utility(&self) -> &Utility {
        self.minds.utility()
    }

    /// Subscriptions to the gateway's own device.
    pub fn subscribers(&self) -> usize {
        self.device.subscribers()
    }

    /// BOOTID.UPNP.ORG in force.
    pub fn boot_id(&self) -> u32 {
        self.device.boot_id()
    }

    /// What is wrong with writing now, for the status.
    pub fn trouble(&self) -> Option<String> {
        self.minds.pending.trouble()
    }

    /// Takes another distance between writes.
    pub fn set_write_every(&mut self, every: Duration) {
        self.minds.pending.set_every(every);
    }

    /// A fact for the mind.
    pub fn handle(&mut self, input: Input, now: Now) {
        self.minds.handle(input, now);
    }

    /// A fact for the planner.
    pub fn handle_planner(&mut self, input: planner::Input, now: Now) {
        self.minds.handle_planner(input, now);
    }

    /// Something the daemon did beside the mind, for the journal.
    pub fn note(&mut self, entry: Entry, now: Now) {
        self.minds.note(entry, now);
    }

    /// A fact about the utility.
    pub fn handle_utility(&mut self, input: utility::Input, now: Now) {
        self.minds.handle_utility(input, now);
    }

    /// The utility calls; see [`Utility::called`].
    pub fn utility_calls(&mut self, now: Now) -> Option<Poll> {
        self.minds.now = now;
        self.minds.utility.called(now)
    }

    /// The network interfaces as they are now.
    pub fn handle_interfaces(&mut self, interfaces: &[Interface], now: Now) {
        self.minds.now = now;
        self.device.handle_interfaces(interfaces, now.boot);
        self.appliances.machine().handle_interfaces(interfaces, now.boot);
    }

    /// A datagram.
    pub fn handle_datagram(&mut self, datagram: &Datagram, now: Now) {
        self.minds.now = now;
        if datagram.channel == Channel::Ssdp {
            self.device.handle_datagram(datagram, now.boot);
        }
        self.appliances.machine().handle_datagram(datagram, now.boot);
    }

    /// The answer to a request of ours.
    pub fn handle_answer(&mut self, answer: HttpAnswer, now: Now) {
        self.minds.now = now;
        match answer.id.owner {
            Owner::Device => self.device.handle_answer(answer, now.boot),
            Owner::ControlPoint => self.appliances.machine().handle_answer(answer, now.boot),
        }
    }

    /// A request.
    pub fn handle_request(&mut self, request: &IncomingRequest, now: Now) -> Incoming {
        self.minds.now = now;
        match self.device.handle_request(request, now.boot) {
            Handled::Response(response) => Incoming::Answered(response),
            Handled::Presentation => Incoming::Page,
            Handled::NotMine => {
                let response = self.appliances.machine().handle_request(request, now.boot);
                response.map_or(Incoming::Other, Incoming::Answered)
            }
            Handled::Action(call) => Incoming::Asked(Box::new(call)),
        }
    }

    /// A batch was written, or comes back with the reason. Returns the answers that waited for it.
    pub fn written(&mut self, result: Result<(), (Box<Batch>, String)>, now: Now) -> Vec<(AskId, Reply)> {
        self.minds.written(result, now)
    }

    /// The database was begun anew instead of writing this batch: all that is known goes into it.
    pub fn began_anew(&mut self, batch: Batch, now: Now) {
        self.minds.began_anew(batch, now);
    }

    /// Everything that waits to be written, though it is not due; like [`Effect::Write`].
    pub fn write_early(&mut self) -> Option<Batch> {
        self.minds.write_early()
    }

    /// This machine slept: everybody is told anew, and subscriptions are renewed at once.
    pub fn resumed(&mut self, now: Now) {
        self.minds.now = now;
        self.device.resumed(now.boot);
        self.appliances.machine().resumed(now.boot);
    }

    /// Says goodbye and gives subscriptions back; [`Self::is_done`] tells when.
    pub fn stop(&mut self, now: Now) {
        self.minds.stop(now);
        self.appliances.machine().stop(now.boot);
        self.device.stop(now.boot);
    }

    /// Whether all goodbyes are said and nothing is being written.
    pub fn is_done(&self) -> bool {
        let said = self.appliances.machine_ref().idle() && self.device.poll_timeout().is_none();
        said && !self.minds.pending.is_in_flight()
    }

    /// Lets time pass in the machines whose time has come.
    pub fn handle_timeout(&mut self, now: Now) {
        let due = |at: Option<BootTime>| at.is_some_and(|at| at <= now.boot);
        if due(self.appliances.machine_ref().poll_timeout()) {
            self.appliances.machine().handle_timeout(now.boot);
        }
        if due(self.device.poll_timeout()) {
            self.device.handle_timeout(now.boot);
        }
        self.minds.handle_timeout(now);
    }

    /// When [`Self::handle_timeout`] is due, or there is a batch to write.
    pub fn poll_timeout(&self) -> Option<BootTime> {
        let machines = earliest(self.appliances.machine_ref().poll_timeout(), self.device.poll_timeout());
        earliest(machines, self.minds.poll_timeout())
    }

    /// The next order. What the parts have for one another is passed on the way.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        loop {
            if let Some(effect) = self.appliances.machine().poll_effect().or_else(|| self.device.poll_effect()) {
                return Some(Effect::Net(effect));
            }
            let now = self.minds.now;
            if let Some(input) = self.appliances.poll_input() {
                self.minds.handle(input, now);
                continue;
            }
            match self.minds.poll_effect()? {
                minds::Effect::Call { call, udn, order } => {
                    if let Some(input) = self.appliances.call(call, &udn, order, now.boot) {
                        self.minds.handle(input, now);
                    }
                }
                minds::Effect::Search => self.appliances.machine().search(now.boot),
                minds::Effect::Outside(effect) => return Some(*effect),
            }
        }
    }
}
