//! Every appliance the gateway knows: what it is, the state it is in, and how sure we are of that.
//!
//! PURE. In come facts (found, gone, a state told, an unanswered poll); out come [`Transition`]s. *Unknown* is a state of its
//! own: an appliance never heard of since the start, or one that was ON when contact was lost. An appliance that said
//! Standby or OFF and then fell silent is believed: silence is what sleep sounds like.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use energy_model::{Flexibility, Importance, MacAddress, PowerState, WakeMethod, Watts};
use jiff::Timestamp;
use upnp::ids::Udn;
use upnp::time::{BootTime, earliest};

use crate::limits::{
    APPLIANCES_MAX, ASK_RETRY_FIRST, ASK_RETRY_MAX, CONTACT_MISSES_MAX, NAME_BYTES_MAX, REASON_BYTES_MAX, bounded,
};
use crate::now::Now;

/// How an appliance came to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KnownBy {
    /// Found on the network, its description read.
    Discovery,
    /// It called us before we found it.
    OwnRequest,
}

/// What ApplianceInfo:1 says of an appliance once and for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Rated power.
    pub rated_power: Watts,
    /// Importance class.
    pub importance: Importance,
    /// How its use can be moved.
    pub flexibility: Flexibility,
    /// Once on it stays on for at least this, seconds.
    pub minimum_on_s: u32,
    /// Once off it stays off for at least this, seconds.
    pub minimum_off_s: u32,
}

/// The services of ours an appliance offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offers {
    /// PowerManagement:1.
    pub power_management: bool,
    /// ApplianceInfo:1.
    pub appliance_info: bool,
}

/// A question to an appliance outside any command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// GetPowerState.
    PowerState,
    /// WakeUpMethod.
    WakeUpMethod,
    /// GetApplianceInfo.
    ApplianceInfo,
}

/// A device description that was read (UDA 1.1, 2.3), as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Name for good.
    pub udn: Udn,
    /// `friendlyName`.
    pub name: String,
    /// `manufacturer`.
    pub maker: String,
    /// `modelName`.
    pub model: String,
    /// Where it answers.
    pub address: IpAddr,
    /// What it offers.
    pub offers: Offers,
}

/// What is kept of an appliance over a restart.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Name for good.
    pub udn: Udn,
    /// `friendlyName`; empty while its description was never read.
    pub name: Box<str>,
    /// `manufacturer`.
    pub maker: Box<str>,
    /// `modelName`.
    pub model: Box<str>,
    /// Last address.
    pub address: Option<IpAddr>,
    /// Address of its network card, for waking.
    pub mac: Option<MacAddress>,
    /// How it says it can be woken.
    pub wake_method: Option<WakeMethod>,
    /// What ApplianceInfo:1 says.
    pub facts: Option<Facts>,
    /// Power it draws now, as far as it tells.
    pub power: Option<Watts>,
    /// State, `None` for Unknown.
    pub state: Option<PowerState>,
    /// Since when it is in that state (or Unknown), as far as the gateway saw.
    pub since: Timestamp,
    /// The last state that was not Unknown.
    pub last_known: Option<PowerState>,
    /// When it was last heard.
    pub last_seen: Option<Timestamp>,
    /// How it came to be known.
    pub known_by: KnownBy,
    /// Last refusal it told (`CODE ACTION reason`); empty for none.
    pub last_refusal: Box<str>,
}

/// An appliance: its [`Profile`] and what is true only while the gateway runs.
#[derive(Clone, Debug)]
pub struct Appliance {
    profile: Profile,
    reachable: bool,
    subscribed: bool,
    offers: Offers,
    watch: Watch,
}

/// When to ask an appliance what.
#[derive(Clone, Copy, Debug, Default)]
struct Watch {
    state: bool,
    wake_method: bool,
    info: bool,
    in_flight: u8,
    failed: bool,
    misses: u8,
    /// Answers to questions of an earlier generation (before the appliance was found again or slept) do not count.
    generation: u16,
    /// How often it told its state: a GetPowerState answer overtaken by an event does not count.
    told: u16,
    ask_at: Option<BootTime>,
}

impl Appliance {
    /// What is kept over a restart.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Name for good.
    pub fn udn(&self) -> &Udn {
        &self.profile.udn
    }

    /// The friendly name, or the UDN where none is known.
    pub fn name(&self) -> &str {
        if self.profile.name.is_empty() { self.profile.udn.bare() } else { &self.profile.name }
    }

    /// State, `None` for Unknown.
    pub fn state(&self) -> Option<PowerState> {
        self.profile.state
    }

    /// Whether it was heard since it last fell silent. A sleeping appliance is not.
    pub fn is_reachable(&self) -> bool {
        self.reachable
    }

    /// Whether its events come to us now.
    pub fn is_subscribed(&self) -> bool {
        self.subscribed
    }

    /// Services of ours it offers.
    pub fn offers(&self) -> Offers {
        self.offers
    }

    /// Whether it said Standby or OFF and then fell silent.
    pub fn is_asleep(&self) -> bool {
        !self.reachable && matches!(self.profile.state, Some(PowerState::Standby | PowerState::Off))
    }

    /// The ticket of a question put now.
    pub fn ticket(&self) -> Ticket {
        Ticket { generation: self.watch.generation, told: self.watch.told }
    }

    fn enter(&mut self, to: Option<PowerState>, now: Now) -> Option<Transition> {
        let from = self.profile.state;
        if to.is_some() {
            self.profile.last_known = to;
        }
        if from == to {
            return None;
        }
        self.profile.state = to;
        self.profile.since = now.wall;
        Some(Transition { from, to })
    }

    /// Contact is lost: ON becomes Unknown, a sleeper stays what it said. Whether its events come is for the control point to say:
    /// a subscription may outlive a minute without a cable, and is not announced again.
    fn fall_silent(&mut self, now: Now) -> Option<Transition> {
        self.reachable = false;
        if self.profile.state == Some(PowerState::On) { self.enter(None, now) } else { None }
    }

    fn hear(&mut self, now: Now, poll_every: core::time::Duration) {
        self.reachable = true;
        self.profile.last_seen = Some(now.wall);
        self.watch.misses = 0;
        if self.watch.in_flight == 0 && !self.watch.wants_any() {
            self.watch.ask_at = Some(now.boot + poll_every);
        }
    }
}

/// Says whether an answer is still about the present: it must come back as it was given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    generation: u16,
    told: u16,
}

impl Watch {
    /// Everything open is dropped, and answers to it will not count.
    fn renewed(&self) -> Self {
        Self { generation: self.generation.wrapping_add(1), told: self.told, ..Self::default() }
    }

    fn wants_any(&self) -> bool {
        self.state || self.wake_method || self.info
    }
}

/// A change of state. `None` is Unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Before.
    pub from: Option<PowerState>,
    /// Now.
    pub to: Option<PowerState>,
}

/// The word for a state in logs, journal and API: `ON`, `OFF`, `Standby`, `Unknown`.
pub fn state_word(state: Option<PowerState>) -> &'static str {
    match state {
        Some(PowerState::On) => "ON",
        Some(PowerState::Off) => "OFF",
        Some(PowerState::Standby) => "Standby",
        None => "Unknown",
    }
}

/// Why a text did not name one appliance.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// Nothing by that name.
    #[error("no appliance is called {0:?}")]
    Unknown(String),
    /// Several; their names and UDNs, at most ten.
    #[error("{0:?} could be any of: {list}", list = .1.join(", "))]
    Ambiguous(String, Vec<String>),
}

/// All appliances by UDN.
#[derive(Debug)]
pub struct Registry {
    appliances: BTreeMap<Udn, Appliance>,
    poll_every: core::time::Duration,
}

impl Registry {
    /// An empty registry; an appliance that says nothing for `poll_every` is asked for its state.
    pub fn new(poll_every: core::time::Duration) -> Self {
        Self { appliances: BTreeMap::new(), poll_every }
    }

    /// Takes another poll distance; it counts from each appliance's next sign of life.
    pub fn set_poll_every(&mut self, poll_every: core::time::Duration) {
        self.poll_every = poll_every;
    }

    /// Takes an appliance from the store. What was ON is Unknown until it is heard again: nobody watched it meanwhile.
    pub fn restore(&mut self, profile: Profile, now: Now) {
        let udn = profile.udn.clone();
        let mut appliance = Appliance {
            profile,
            reachable: false,
            subscribed: false,
            offers: Offers { power_management: true, appliance_info: false },
            watch: Watch::default(),
        };
        appliance.fall_silent(now);
        self.appliances.insert(udn, appliance);
    }

    /// The appliance of that name.
    pub fn get(&self, udn: &Udn) -> Option<&Appliance> {
        self.appliances.get(udn)
    }

    /// All, by UDN.
    pub fn iter(&self) -> impl Iterator<Item = &Appliance> {
        self.appliances.values()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.appliances.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.appliances.is_empty()
    }

    /// A description was read. The questions worth asking become due at once. `None` when the registry is full of appliances
    /// that may not be forgotten (`keep` says which those are besides the reachable ones).
    pub fn found(&mut self, found: Found, now: Now, keep: impl Fn(&Udn) -> bool) -> Option<&Appliance> {
        let Found { udn, name, maker, model, address, offers } = found;
        self.make_room(&udn, keep)?;
        let poll_every = self.poll_every;
        let appliance = self.appliances.entry(udn.clone()).or_insert_with(|| Appliance::stranger(udn, now));
        let profile = &mut appliance.profile;
        profile.name = bounded(&name, NAME_BYTES_MAX);
        profile.maker = bounded(&maker, NAME_BYTES_MAX);
        profile.model = bounded(&model, NAME_BYTES_MAX);
        profile.address = Some(address);
        profile.known_by = KnownBy::Discovery;
        appliance.offers = offers;
        appliance.hear(now, poll_every);
        appliance.watch = Watch {
            state: offers.power_management,
            wake_method: offers.power_management,
            info: offers.appliance_info,
            ask_at: Some(now.boot),
            ..appliance.watch.renewed()
        };
        Some(appliance)
    }

    /// An appliance called us before its description was read: it is entered as Unknown. `None` when there is no room.
    pub fn called(&mut self, udn: &Udn, address: IpAddr, now: Now, keep: impl Fn(&Udn) -> bool) -> Option<&Appliance> {
        self.make_room(udn, keep)?;
        let appliance = self.appliances.entry(udn.clone()).or_insert_with(|| Appliance::stranger(udn.clone(), now));
        appliance.profile.last_seen = Some(now.wall);
        appliance.profile.address.get_or_insert(address);
        Some(appliance)
    }

    fn make_room(&mut self, newcomer: &Udn, keep: impl Fn(&Udn) -> bool) -> Option<()> {
        if self.appliances.len() < APPLIANCES_MAX || self.appliances.contains_key(newcomer) {
            return Some(());
        }
        let oldest = self
            .appliances
            .values()
            .filter(|a| !a.reachable && a.profile.state.is_none() && !keep(&a.profile.udn))
            .min_by_key(|a| a.profile.last_seen)?
            .profile
            .udn
            .clone();
        self.appliances.remove(&oldest);
        Some(())
    }

    /// It said byebye, or its announcements ran out.
    pub fn gone(&mut self, udn: &Udn, now: Now) -> Option<Transition> {
        let appliance = self.appliances.get_mut(udn)?;
        appliance.watch = appliance.watch.renewed();
        appliance.subscribed = false;
        appliance.fall_silent(now)
    }

    /// It told its state itself, by an event.
    pub fn state_told(&mut self, udn: &Udn, state: PowerState, now: Now) -> Option<Transition> {
        let poll_every = self.poll_every;
        let appliance = self.appliances.get_mut(udn)?;
        appliance.hear(now, poll_every);
        appliance.watch.told = appliance.watch.told.wrapping_add(1);
        if state == PowerState::Standby {
            // It is about to sleep; a question now would hold it up or wake it.
            appliance.reachable = false;
            appliance.watch = appliance.watch.renewed();
        }
        appliance.enter(Some(state), now)
    }

    /// It answered GetPowerState: it is awake, whatever its state. An answer that an event overtook is not taken.
    pub fn state_answered(&mut self, udn: &Udn, state: PowerState, ticket: Ticket, now: Now) -> Option<Transition> {
        let poll_every = self.poll_every;
        let appliance = self.appliances.get_mut(udn)?;
        if appliance.ticket() != ticket {
            return None;
        }
        appliance.hear(now, poll_every);
        appliance.enter(Some(state), now)
    }

    /// Something else of it was heard (another event, a reply). After it said Standby that may be its last breath, and
    /// proves nothing.
    pub fn heard(&mut self, udn: &Udn, now: Now) {
        let poll_every = self.poll_every;
        if let Some(appliance) = self.appliances.get_mut(udn)
            && (appliance.reachable || appliance.profile.state != Some(PowerState::Standby))
        {
            appliance.hear(now, poll_every);
        }
    }

    /// Changes what is known of an appliance; `true` if anything is different now.
    pub fn amend(&mut self, udn: &Udn, change: impl FnOnce(&mut Profile)) -> bool {
        let Some(appliance) = self.appliances.get_mut(udn) else { return false };
        let before = appliance.profile.clone();
        change(&mut appliance.profile);
        appliance.profile.last_refusal = bounded(&appliance.profile.last_refusal, REASON_BYTES_MAX);
        before != appliance.profile
    }

    /// Whether its events come to us; `true` if that is new.
    pub fn subscribed(&mut self, udn: &Udn, subscribed: bool) -> bool {
        match self.appliances.get_mut(udn) {
            Some(a) if a.subscribed != subscribed => {
                a.subscribed = subscribed;
                true
            }
            _ => false,
        }
    }

    /// Forgets an appliance; `false` if it is not known.
    pub fn forget(&mut self, udn: &Udn) -> bool {
        self.appliances.remove(udn).is_some()
    }

    /// Asks for the state as soon as possible (while waking).
    pub fn ask_state_now(&mut self, udn: &Udn, now: Now) {
        if let Some(a) = self.appliances.get_mut(udn)
            && a.watch.in_flight == 0
        {
            a.watch.state = true;
            a.watch.ask_at = Some(now.boot);
        }
    }

    /// The questions now due, each with the ticket its answer must bring back; they count as asked.
    pub fn questions_due(&mut self, now: Now) -> Vec<(Udn, Question, Ticket)> {
        let mut due = Vec::new();
        for appliance in self.appliances.values_mut() {
            let watch = &mut appliance.watch;
            if watch.in_flight > 0 || watch.ask_at.is_none_or(|at| at > now.boot) {
                continue;
            }
            watch.ask_at = None;
            watch.failed = false;
            watch.state |= !watch.wants_any();
            for (wanted, question) in [
                (watch.state, Question::PowerState),
                (watch.wake_method, Question::WakeUpMethod),
                (watch.info, Question::ApplianceInfo),
            ] {
                if wanted {
                    watch.in_flight += 1;
                    let ticket = Ticket { generation: watch.generation, told: watch.told };
                    due.push((appliance.profile.udn.clone(), question, ticket));
                }
            }
        }
        due
    }

    /// When the next question is due.
    pub fn poll_timeout(&self) -> Option<BootTime> {
        self.appliances.values().filter(|a| a.watch.in_flight == 0).fold(None, |at, a| earliest(at, a.watch.ask_at))
    }

    /// A question was settled: answered, or refused for good (`settled`), or without an answer. After
    /// [`CONTACT_MISSES_MAX`] rounds without one contact counts as lost; the transition, if that changes the state.
    pub fn question_closed(
        &mut self,
        udn: &Udn,
        question: Question,
        ticket: Ticket,
        settled: bool,
        now: Now,
    ) -> Option<Transition> {
        let poll_every = self.poll_every;
        let appliance = self.appliances.get_mut(udn)?;
        let watch = &mut appliance.watch;
        if watch.generation != ticket.generation || watch.in_flight == 0 {
            return None;
        }
        watch.in_flight -= 1;
        if settled {
            match question {
                Question::PowerState => watch.state = false,
                Question::WakeUpMethod => watch.wake_method = false,
                Question::ApplianceInfo => watch.info = false,
            }
        } else {
            watch.failed = true;
        }
        if watch.in_flight > 0 {
            return None;
        }
        if !watch.failed {
            watch.misses = 0;
            watch.ask_at = Some(now.boot + poll_every);
            return None;
        }
        watch.misses = watch.misses.saturating_add(1);
        if watch.misses < CONTACT_MISSES_MAX {
            let delay = ASK_RETRY_FIRST * (1 << (watch.misses - 1).min(8));
            watch.ask_at = Some(now.boot + delay.min(ASK_RETRY_MAX));
            return None;
        }
        let transition = appliance.fall_silent(now);
        // Who said Standby is left in peace. Who is OFF says goodbye before it goes, so silence may as well be the network's:
        // it is asked again at leisure, like one that is Unknown.
        let sleeps = appliance.profile.state == Some(PowerState::Standby);
        appliance.watch.ask_at = (!sleeps).then(|| now.boot + poll_every);
        transition
    }

    /// The one appliance `text` names: its UDN (with or without `uuid:`), its whole name (by `name_of`) in any case, or
    /// the beginning of its UDN if no other begins so.
    pub fn resolve<'a>(
        &'a self,
        text: &str,
        name_of: impl Fn(&'a Appliance) -> &'a str,
    ) -> Result<&'a Appliance, ResolveError> {
        let wanted = text.trim();
        let bare = wanted.strip_prefix("uuid:").unwrap_or(wanted);
        if let Some(exact) = self.iter().find(|a| a.udn().bare().eq_ignore_ascii_case(bare)) {
            return Ok(exact);
        }
        let lower = wanted.to_lowercase();
        let named: Vec<_> = self.iter().filter(|a| name_of(a).to_lowercase() == lower).collect();
        let begun = |a: &&Appliance| {
            !bare.is_empty() && a.udn().bare().get(..bare.len()).is_some_and(|p| p.eq_ignore_ascii_case(bare))
        };
        let candidates = if named.is_empty() { self.iter().filter(begun).collect() } else { named };
        match candidates[..] {
            [] => Err(ResolveError::Unknown(wanted.to_owned())),
            [one] => Ok(one),
            _ => Err(ResolveError::Ambiguous(
                wanted.to_owned(),
                candidates.iter().take(10).map(|a| format!("{} ({})", name_of(a), a.udn().bare())).collect(),
            )),
        }
    }

    /// How many are in which state: ON, OFF, Standby, Unknown.
    pub fn count(&self) -> StateCount {
        self.iter().fold(StateCount::default(), |mut count, a| {
            match a.state() {
                Some(PowerState::On) => count.on += 1,
                Some(PowerState::Off) => count.off += 1,
                Some(PowerState::Standby) => count.standby += 1,
                None => count.unknown += 1,
            }
            count
        })
    }
}

impl Appliance {
    fn stranger(udn: Udn, now: Now) -> Self {
        Self {
            profile: Profile {
                udn,
                name: "".into(),
                maker: "".into(),
                model: "".into(),
                address: None,
                mac: None,
                wake_method: None,
                facts: None,
                power: None,
                state: None,
                since: now.wall,
                last_known: None,
                last_seen: None,
                known_by: KnownBy::OwnRequest,
                last_refusal: "".into(),
            },
            reachable: false,
            subscribed: false,
            offers: Offers::default(),
            watch: Watch::default(),
        }
    }
}

/// Appliances by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateCount {
    /// In operation.
    pub on: usize,
    /// Not in operation.
    pub off: usize,
    /// Asleep.
    pub standby: usize,
    /// Not known.
    pub unknown: usize,
}

impl fmt::Display for StateCount {
    /// `3 appliances: 2 ON, 1 Standby`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.on + self.off + self.standby + self.unknown;
        write!(f, "{all} appliance{}", if all == 1 { "" } else { "s" })?;
        let mut separator = ": ";
        for (n, word) in [(self.on, "ON"), (self.off, "OFF"), (self.standby, "Standby"), (self.unknown, "Unknown")] {
            if n > 0 {
                write!(f, "{separator}{n} {word}")?;
                separator = ", ";
            }
        }
        Ok(())
    }
}
