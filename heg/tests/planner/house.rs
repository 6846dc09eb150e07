//! A house in virtual time: gateway and planner over machines that a test switches.

use super::*;

pub(super) struct Machine {
    pub(super) state: PowerState,
    pub(super) facts: Facts,
    pub(super) refuses: Option<&'static str>,
    /// Answers to orders wait for [`House::answers`].
    pub(super) slow: bool,
    /// It says yes and stays as it is.
    pub(super) dawdles: bool,
}

pub(super) struct House {
    pub(super) config: Config,
    pub(super) gateway: Gateway,
    pub(super) planner: Planner,
    pub(super) now: Now,
    pub(super) machines: BTreeMap<String, Machine>,
    pub(super) journal: Vec<Entry>,
    pub(super) rows: BTreeMap<planner::Slot, String>,
    pub(super) ordered: Vec<(Timestamp, Udn, Verb, Cause)>,
    pub(super) importance: Importance,
    pub(super) replies: Vec<Reply>,
    pub(super) limited: Vec<planner::Limited>,
    /// The limits that were stated last.
    pub(super) stated: Option<LimitSet>,
    /// How often another plan was followed.
    pub(super) plans: usize,
    /// Calls that are not answered yet, of an appliance that takes its time.
    pub(super) held: Vec<(heg::gateway::CallTag, Udn, Order)>,
}

pub(super) fn udn(name: &str) -> Udn {
    Udn::parse(&format!("uuid:{name}")).unwrap()
}

pub(super) fn at(text: &str) -> Timestamp {
    format!("2026-11-{text}Z").parse().unwrap()
}

impl House {
    /// On the 27th of November 2026, at that time.
    pub(super) fn new(config: &str, time: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("heg.toml");
        std::fs::write(&path, config).unwrap();
        let config = Config::load(Some(&path)).unwrap();
        let wall = at(&format!("27T{time}"));
        let now = Now { boot: BootTime::from_duration(Duration::from_secs(1000)), wall };
        let (gateway, planner) = (gateway(now), Planner::new("home", config.planning(TimeZone::UTC), vec![], now));
        let mut house = Self {
            config,
            gateway,
            planner,
            now,
            machines: BTreeMap::new(),
            journal: vec![],
            rows: BTreeMap::new(),
            ordered: vec![],
            importance: Importance::Normal,
            replies: vec![],
            limited: vec![],
            stated: None,
            plans: 0,
            held: vec![],
        };
        house.prices();
        house
    }

    pub(super) fn prices(&mut self) {
        let midnight = at("27T00:00:00").as_second();
        let price = |hour: i64| {
            let start = midnight + hour * 3600;
            PriceSpan { span: Span { start, end: start + 3600 }, price: CENTS[hour as usize % 24] * 10_000 }
        };
        let spans = (0..96).map(price).collect();
        self.feed(planner::Input::Prices { spans, currency: "EUR".into() });
    }

    pub(super) fn restart(&mut self) {
        self.restart_under(None);
    }

    /// With these limits in the database.
    pub(super) fn restart_under(&mut self, limits: Option<LimitSet>) {
        let rows = std::mem::take(&mut self.rows).into_iter().collect();
        self.gateway = gateway(self.now);
        self.planner = Planner::new("home", self.config.planning(TimeZone::UTC), rows, self.now);
        limits.into_iter().for_each(|limits| self.planner.stored_limits(limits, self.now));
        self.prices();
        self.journal.iter().for_each(|entry| self.planner.remember(entry));
        for name in self.machines.keys().cloned().collect::<Vec<_>>() {
            self.found(&name);
        }
    }

    /// With appliances as they were known, of which none is heard yet.
    pub(super) fn restart_unseen(&mut self) {
        let appliances = self.gateway.registry().iter().map(|a| a.profile().clone()).collect();
        self.gateway = Gateway::new(settings(), Restored { appliances, ..Restored::default() }, self.now);
        let rows = std::mem::take(&mut self.rows).into_iter().collect();
        self.planner = Planner::new("home", self.config.planning(TimeZone::UTC), rows, self.now);
        self.journal.iter().for_each(|entry| self.planner.remember(entry));
        self.prices();
    }

    pub(super) fn find(&mut self, name: &str, flexibility: Flexibility, watts: u32, state: PowerState) {
        let (minimum_on_s, minimum_off_s, importance) = (0, 0, self.importance);
        let facts = Facts { rated_power: Watts::new(watts), importance, flexibility, minimum_on_s, minimum_off_s };
        self.machines.insert(name.into(), Machine { state, facts, refuses: None, slow: false, dawdles: false });
        self.found(name);
    }

    /// It answers a search.
    pub(super) fn found(&mut self, name: &str) {
        let found = Found {
            udn: udn(name),
            name: name.into(),
            maker: "Example".into(),
            model: "1".into(),
            address: [192, 0, 2, 7].into(),
            offers: Offers { power_management: true, appliance_info: true },
        };
        self.gateway.handle(Input::Found(found), self.now);
        self.settle();
    }

    /// It is out of sight for so many minutes.
    pub(super) fn unseen_for(&mut self, name: &str, minutes: u64) {
        self.gateway.handle(Input::Gone { udn: udn(name), why: "its announcements ran out" }, self.now);
        self.run_minutes(minutes);
        self.found(name);
        self.run_minutes(0);
    }

    pub(super) fn appliance(&mut self, name: &str) -> &mut Machine {
        self.machines.get_mut(name).unwrap()
    }

    pub(super) fn state(&self, name: &str) -> PowerState {
        self.machines[name].state
    }

    /// It was switched by hand.
    pub(super) fn tell(&mut self, name: &str, state: PowerState) {
        self.appliance(name).state = state;
        self.gateway.handle(Input::PowerStateTold { udn: udn(name), state }, self.now);
        self.settle();
    }

    /// It says what it draws.
    pub(super) fn measure(&mut self, name: &str, watts: u32) {
        let power = Some(Watts::new(watts));
        self.gateway.handle(Input::InfoTold { udn: udn(name), power, refusal: None }, self.now);
        self.settle();
    }

    pub(super) fn limit(&mut self, watts: Option<u32>) {
        self.limit_for(watts, None);
    }

    pub(super) fn limit_for(&mut self, watts: Option<u32>, duration_s: Option<u32>) {
        let limit = |watts| Limit {
            id: EventId::new(7).unwrap(),
            supersedes: None,
            start: UnixTime::new(self.now.wall.as_second() as u64),
            duration_s,
            watts: Watts::new(watts),
            priority: 0,
            randomise_s: 0,
            cancelled: false,
        };
        let limits: Vec<Limit> = watts.map(limit).into_iter().collect();
        let limits = Some(LimitSet { target: None, version: 1, limits: limits.try_into().unwrap() });
        self.stated.clone_from(&limits);
        // So that the failsafe is no matter here.
        let next_within = Duration::from_secs(30 * 86_400);
        self.feed(planner::Input::Heard { next_within, limits });
    }

    pub(super) fn rule(&mut self, json: &str) -> RuleId {
        self.change(Change::Add(serde_json::from_str(json).unwrap()));
        let Some(Reply::Rule(id, _)) = self.replies.last() else { panic!("{:?}", self.replies) };
        *id
    }

    pub(super) fn change(&mut self, change: Change) {
        self.feed(planner::Input::Asked { ask: AskId(1), uid: 1000, change });
    }

    pub(super) fn feed(&mut self, input: planner::Input) {
        self.planner.handle(input, self.now);
        self.settle();
    }

    pub(super) fn ask(&mut self, wanted: Wanted) {
        self.gateway.handle(Input::PersonAsks { ask: AskId(2), uid: 1000, wanted }, self.now);
        self.settle();
    }

    pub(super) fn ask_appliance(&mut self, name: &str, request: Request) {
        let from = [192, 0, 2, 7].into();
        self.gateway.handle(Input::ApplianceAsks { ask: AskId(3), from, caller: udn(name), request }, self.now);
        self.settle();
    }

    pub(super) fn ruler(&self, name: &str) -> Ruler {
        self.planner.ruling(&self.gateway, &udn(name), self.now.wall.as_second()).by
    }

    pub(super) fn why(&self, name: &str) -> String {
        self.planner.sight(&self.gateway, &udn(name), self.now.wall.as_second()).unwrap().because
    }

    pub(super) fn entry(&self, action: &str) -> &Entry {
        let found = self.journal.iter().rev().find(|e| &*e.action == action);
        found.unwrap_or_else(|| panic!("no {action} in {:#?}", self.journal))
    }

    /// Orders of the planner: `27T18:00 pump off price`.
    pub(super) fn switched(&self) -> Vec<String> {
        let words = |(at, udn, verb, cause): &(Timestamp, Udn, Verb, Cause)| {
            let to = if *verb == Verb::On { "on" } else { "off" };
            format!("{} {} {to} {cause}", &at.to_string()[8..16], udn.bare())
        };
        self.ordered.iter().map(words).collect()
    }

    pub(super) fn run_minutes(&mut self, minutes: u64) {
        self.run_for(Duration::from_secs(minutes * 60));
    }

    pub(super) fn run_hours(&mut self, hours: u64) {
        self.run_for(Duration::from_secs(hours * 3600));
    }

    pub(super) fn run_to(&mut self, time: &str) {
        let ahead = at(time).duration_since(self.now.wall);
        self.run_for(ahead.unsigned_abs());
    }

    pub(super) fn run_for(&mut self, length: Duration) {
        let end = self.now.boot + length;
        self.settle();
        for _ in 0..100_000 {
            let due = [self.gateway.poll_timeout(), self.planner.poll_timeout()].into_iter().flatten().min();
            let next = due.unwrap_or(end).min(end).max(self.now.boot);
            self.now.wall += next.since(self.now.boot);
            self.now.boot = next;
            self.settle();
            if next == end {
                return;
            }
        }
        panic!("time does not pass");
    }

    /// Until nobody has anything more to say at this moment.
    pub(super) fn settle(&mut self) {
        for _ in 0..100_000 {
            self.gateway.handle_timeout(self.now);
            let now = self.now.boot;
            let planning = self.planner.poll_timeout().is_some_and(|due| due <= now);
            if planning {
                self.planner.handle_timeout(&self.gateway, self.now);
            }
            let any = self.pass_on();
            if !planning && !any {
                return;
            }
        }
        panic!("they do not come to an end");
    }

    pub(super) fn pass_on(&mut self) -> bool {
        let mut any = false;
        while let Some(effect) = self.gateway.poll_effect() {
            any = true;
            match effect {
                Effect::Call { call, udn, order } => self.call(call, &udn, order),
                Effect::Journal(entry) => self.journal.push(entry),
                Effect::Ended { udn, verb, cause, outcome } => {
                    self.planner.handle(planner::Input::Ended { udn, verb, cause, outcome }, self.now);
                }
                Effect::Changed(udn) => self.planner.handle(planner::Input::Appliance(udn), self.now),
                Effect::SaveRegistration { ask: Some(ask), .. } => {
                    self.gateway.handle(Input::Saved { ask, result: Ok(()) }, self.now);
                }
                _ => {}
            }
        }
        while let Some(effect) = self.planner.poll_effect() {
            any = true;
            match effect {
                planner::Effect::Order { udn, verb, cause } => {
                    self.ordered.push((self.now.wall, udn.clone(), verb, cause));
                    self.gateway.handle(Input::PlannerOrders { udn, verb, cause }, self.now);
                }
                planner::Effect::Save { slot, value, .. } => match value {
                    Some(value) => _ = self.rows.insert(slot, value),
                    None => _ = self.rows.remove(&slot),
                },
                planner::Effect::Journal(entry) => self.journal.push(entry),
                planner::Effect::Answer { reply, .. } => self.replies.push(reply),
                planner::Effect::Limited(limited) => self.limited.push(limited),
                planner::Effect::Planned => self.plans += 1,
                planner::Effect::Decided(_) => {}
            }
        }
        any
    }

    pub(super) fn call(&mut self, call: heg::gateway::CallTag, of: &Udn, order: Order) {
        let now = self.now;
        let machine = self.machines.get_mut(of.bare()).unwrap();
        if machine.slow && !matches!(order, Order::GetPowerState | Order::WakeUpMethod | Order::GetApplianceInfo) {
            return self.held.push((call, of.clone(), order));
        }
        let to = match order {
            Order::OperationOn => Some(On),
            Order::OperationOff => Some(Off),
            Order::GoToStandby => Some(Standby),
            _ => None,
        };
        let result = match (order, to, machine.refuses) {
            (Order::GetPowerState, ..) => Ok(Answer::PowerState(machine.state)),
            (Order::WakeUpMethod, ..) => Ok(Answer::WakeMethod(WakeMethod::Wol)),
            (Order::GetApplianceInfo, ..) => Ok(Answer::Info { facts: machine.facts, mac: None, wake_method: None }),
            (_, Some(_), Some(why)) => Err(CallFailure::Fault { code: 801, reason: why.into() }),
            _ => Ok(Answer::Obeyed(None)),
        };
        if let (Ok(_), Some(state), false) = (&result, to, machine.dawdles) {
            machine.state = state;
            self.gateway.handle(Input::PowerStateTold { udn: of.clone(), state }, now);
        }
        self.gateway.handle(Input::Answered { call, result }, now);
    }
}

impl House {
    /// The slow appliance carries out what it was ordered.
    pub(super) fn answers(&mut self, name: &str) {
        self.appliance(name).slow = false;
        for (call, udn, order) in std::mem::take(&mut self.held) {
            self.call(call, &udn, order);
        }
        self.settle();
    }
}

pub(super) fn gateway(now: Now) -> Gateway {
    Gateway::new(settings(), Restored::default(), now)
}

pub(super) fn settings() -> Settings {
    let patience = Patience { command: Duration::from_secs(20), wake: Duration::from_secs(90) };
    let (poll_every, overrides) = (Duration::from_secs(300), BTreeMap::new());
    Settings { poll_every, patience, overrides, zone: TimeZone::UTC }
}
