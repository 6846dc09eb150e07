//! A home of twenty appliances through days or a year, in virtual time: the gateway's own modules (registry, commands, planner with its
//! envelope and rules, journal, prices, the database on a disk) over machines that mostly do as they are told.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use energy_model::Watts;
use heg::config::Config;
use heg::now::Now;
use heg::planner::{Input, Sums};
use heg::prices::{HomePrices, News, Settings, Watched};
use heg::rules::form::{Kind, RuleForm};
use heg::simulate::{Conduct, Figures, House};
use heg::store::{Retention, Store};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use tariff::price_file::Expected;
use tariff::{Source, Terms};
use upnp::ids::Udn;
use upnp::time::BootTime;
use utility_wire::{EventId, Limit, LimitSet, UnixTime};

use crate::draw::Draw;

pub mod faults;
pub mod prices;

use faults::{Event, Events};
use prices::Prices;

/// The utility's word comes so often, s.
const HEARTBEAT_S: i64 = 60;
/// Without it for so long the failsafe limit holds, s.
const LOST_AFTER_S: i64 = 120;
/// What holds then, and below which no limit goes, W.
const FAILSAFE_W: u32 = 4200;
/// Limits begin later by a part of this, s.
const RANDOMISE_S: u16 = 600;
/// The name under which the home draws that part.
const HOME: &str = "simulated";
const CURRENCY: &str = "EUR";

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Run {
    /// The first day.
    pub first: Date,
    /// How many.
    pub days: i64,
    /// Whether machines, utility and market fail now and then.
    pub faults: bool,
    /// Decides what happens when.
    pub seed: u64,
}

/// One day.
#[derive(Clone, Debug)]
pub struct Day {
    /// Which, local.
    pub date: Date,
    /// Money and energy.
    pub sums: Sums,
    /// Orders of the planner.
    pub switched: u64,
    /// Bytes that went to the disk, as the kernel counts them for this process (whole pages, without the file system's own).
    pub disk_bytes: u64,
    /// Bytes that were written by calls.
    pub written_bytes: u64,
    /// Transactions.
    pub transactions: u64,
    /// What was drawn and what was allowed at each minute, W.
    pub minutes: Vec<(u32, Option<u32>)>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Each day.
    pub days: Vec<Day>,
    /// In all.
    pub figures: Figures,
    /// Orders by machine.
    pub switchings: Vec<(String, u64)>,
    /// Minutes in which another limit held than the utility's word and silence say.
    pub wrong_cap: u64,
    /// Minutes in which a limit held, and of those by failsafe.
    pub limited: (u64, u64),
    /// Events of each kind.
    pub events: Vec<(&'static str, u64)>,
}

/// What the utility has said, and when; from which the limit follows by the rules of docs/protocol.md alone.
struct Utility {
    limits: Vec<Limit>,
    version: u64,
    news: bool,
    heard: i64,
    lost_until: i64,
    engaged: bool,
}

impl Utility {
    fn set(&self) -> LimitSet {
        let limits: Vec<Limit> = self.limits.clone();
        LimitSet {
            target: None,
            version: self.version,
            limits: limits.try_into().unwrap_or_else(|_| utility_wire::List::empty()),
        }
    }

    fn cap(&self, at: i64) -> Option<u32> {
        let unix = UnixTime::new(at as u64);
        let holds = |limit: &&Limit| {
            let (start, end) = limit.window(HOME);
            start <= unix && end.is_none_or(|end| unix < end)
        };
        let limit = self.limits.iter().rfind(holds).map(|limit| limit.watts.count().max(FAILSAFE_W));
        let lost = self.engaged && at - self.heard >= LOST_AFTER_S;
        if lost { Some(limit.unwrap_or(FAILSAFE_W).min(FAILSAFE_W)) } else { limit }
    }
}

/// The home's configuration.
///
/// # Errors
/// It is refused, or cannot be put into `dir`.
pub fn config(dir: &Path) -> Result<Config> {
    let path = dir.join("heg-gateway.toml");
    std::fs::write(&path, include_str!("year/home.toml"))?;
    Config::load(Some(&path)).context("the home's configuration")
}

/// Lives through the days of `run` with `prices`; database and configuration are in `dir`.
///
/// # Errors
/// The disk, or something that does not fit.
pub fn run(run: &Run, prices: &Prices, zone: &TimeZone, dir: &Path) -> Result<Outcome> {
    Year::new(run, prices, zone, dir)?.all()
}

struct Year<'a> {
    run: &'a Run,
    prices: &'a Prices,
    zone: &'a TimeZone,
    house: House,
    home_prices: HomePrices,
    store: Store,
    utility: Utility,
    machines: Vec<Udn>,
    events: Events,
    happened: std::collections::BTreeMap<&'static str, u64>,
    transactions: u64,
    wrong_cap: u64,
    limited: (u64, u64),
}

impl<'a> Year<'a> {
    fn new(run: &'a Run, prices: &'a Prices, zone: &'a TimeZone, dir: &Path) -> Result<Self> {
        let config = config(dir)?;
        let start = run.first.to_zoned(zone.clone())?.timestamp();
        let (first, end) = prices.span();
        let last = run.first.checked_add(run.days.days())?.to_zoned(zone.clone())?.timestamp().as_second();
        ensure!(first <= start.as_second() && last <= end, "the prices do not reach over these days");
        let house = House::new(&config, zone.clone(), start)?;
        let expected =
            Expected { zone: config.tariff.price_zone.clone(), time_zone: zone.clone(), money: None, whole_days: true };
        let watched = Watched { source: Source::File, name: "prices.csv".to_owned(), expected };
        let settings =
            Settings { terms: Terms::new(zone.clone()), currency: Some(CURRENCY.parse()?), watched: Some(watched) };
        let now = Now { boot: BootTime::ZERO, wall: start };
        let retention = Retention { age: Duration::from_secs(90 * 86_400), entries: 20_000 };
        let mut year = Self {
            run,
            prices,
            zone,
            machines: house.machines().cloned().collect(),
            house,
            home_prices: HomePrices::new(settings, None, now),
            store: Store::open(&dir.join(heg::store::FILE), retention, start)?.store,
            utility: Utility {
                limits: Vec::new(),
                version: 1,
                news: true,
                heard: start.as_second(),
                lost_until: 0,
                engaged: false,
            },
            events: Events::new(),
            happened: std::collections::BTreeMap::new(),
            transactions: 0,
            wrong_cap: 0,
            limited: (0, 0),
        };
        year.draw()?;
        year.publish(run.first)?;
        Ok(year)
    }

    /// Everything that will happen.
    fn draw(&mut self) -> Result<()> {
        let mut draw = Draw::new(self.run.seed);
        for day in 0..self.run.days {
            let date = self.run.first.checked_add(day.days())?;
            for (at, event) in faults::day(date, self.zone, self.machines.len(), &mut draw)? {
                let fault = !matches!(event, Event::Prices(_) | Event::Run(..) | Event::Charge(..));
                let (at, event) = match event {
                    // Nothing fails, and the market is in time.
                    _ if fault && !self.run.faults => continue,
                    Event::Prices(next) if !self.run.faults => (
                        date.at(12, 57, 0, 0).to_zoned(self.zone.clone())?.timestamp().as_second(),
                        Event::Prices(next),
                    ),
                    event => (at, event),
                };
                self.events.insert((at, self.events.len()), event);
            }
        }
        Ok(())
    }

    fn publish(&mut self, date: Date) -> Result<()> {
        let text = self.prices.day(date, self.zone)?;
        if text.lines().count() < 2 {
            return Ok(());
        }
        let wall = self.house.time();
        let now = Now { boot: BootTime::ZERO, wall };
        self.home_prices.handle(News::Document { text, at: wall }, now);
        ensure!(self.home_prices.troubles().is_empty(), "{:?}", self.home_prices.troubles());
        let spans = self.home_prices.for_plan(now);
        self.house.prices(spans, CURRENCY);
        Ok(())
    }

    fn all(mut self) -> Result<Outcome> {
        let mut days = Vec::new();
        for n in 0..self.run.days {
            days.push(self.day(self.run.first.checked_add(n.days())?)?);
        }
        let orders: std::collections::BTreeMap<_, _> = self.house.switchings().collect();
        let of = |udn: &Udn| (udn.bare().to_owned(), orders.get(udn).copied().unwrap_or(0));
        let switchings = self.machines.iter().map(of).collect();
        let figures = self.house.figures();
        let events = self.happened.into_iter().collect();
        Ok(Outcome { days, figures, switchings, wrong_cap: self.wrong_cap, limited: self.limited, events })
    }

    fn day(&mut self, date: Date) -> Result<Day> {
        let end = date.tomorrow()?.to_zoned(self.zone.clone())?.timestamp().as_second();
        let (before, transactions, [disk, written]) = (self.house.figures(), self.transactions, io()?);
        let mut minutes = Vec::with_capacity(1500);
        loop {
            let at = self.house.time().as_second();
            while let Some(due) = self.events.first_entry().filter(|due| due.key().0 <= at) {
                let event = due.remove();
                self.happens(event, at)?;
            }
            self.heartbeat(at);
            minutes.push(self.look(at));
            let next = self.events.keys().next().map_or(i64::MAX, |(due, _)| *due);
            let until = (at.div_euclid(HEARTBEAT_S) * HEARTBEAT_S + HEARTBEAT_S).min(next).min(end);
            self.run_to(until)?;
            if until == end {
                break;
            }
        }
        let after = self.house.figures();
        let [disk_after, written_after] = io()?;
        let sums = Sums {
            cost: after.sums.cost - before.sums.cost,
            at_once: after.sums.at_once - before.sums.at_once,
            energy_ws: after.sums.energy_ws - before.sums.energy_ws,
            not_used: after.sums.not_used - before.sums.not_used,
        };
        Ok(Day {
            date,
            sums,
            switched: after.switched - before.switched,
            disk_bytes: disk_after - disk,
            written_bytes: written_after - written,
            transactions: self.transactions - transactions,
            minutes,
        })
    }

    fn run_to(&mut self, until: i64) -> Result<()> {
        let (store, transactions) = (&mut self.store, &mut self.transactions);
        let mut failed = None;
        self.house.run_to(Timestamp::from_second(until)?, |batch, now| {
            *transactions += 1;
            failed = failed.take().or(store.write(batch, now).err());
        });
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    /// The utility's word, if it is heard.
    fn heartbeat(&mut self, at: i64) {
        if at < self.utility.lost_until || at % HEARTBEAT_S != 0 {
            return;
        }
        let limits = std::mem::take(&mut self.utility.news).then(|| self.utility.set());
        self.utility.engaged |= !self.utility.limits.is_empty();
        self.utility.heard = at;
        self.house.feed(Input::Heard { next_within: Duration::from_secs(HEARTBEAT_S as u64), limits });
    }

    /// What is drawn and what may be; whether that is what the utility's word says.
    fn look(&mut self, at: i64) -> (u32, Option<u32>) {
        let cap = self.house.planner().cap(at);
        let watts = cap.map(|cap| cap.watts.count());
        self.wrong_cap += u64::from(watts != self.utility.cap(at));
        self.limited.0 += u64::from(watts.is_some());
        self.limited.1 += u64::from(cap.is_some_and(|cap| cap.cause == heg::envelope::Cause::Failsafe));
        (self.house.drawn_w(), watts)
    }

    fn happens(&mut self, event: Event, at: i64) -> Result<()> {
        let what = match &event {
            Event::Prices(_) => "prices published",
            Event::Run(..) => "cycle asked for",
            Event::Charge(..) => "charge asked for",
            Event::Conduct(_, Conduct::Refuses) => "machine refuses for a while",
            Event::Conduct(_, Conduct::Late) => "machine obeys late for a while",
            Event::Conduct(_, Conduct::Silent) => "machine does not answer for a while",
            Event::Conduct(_, Conduct::Obeys) => "machine obeys again",
            Event::Press(_) => "machine switched by hand",
            Event::Limit { .. } => "limit stated",
            Event::Lost(_) => "utility not heard for a while",
        };
        *self.happened.entry(what).or_default() += 1;
        let until = |at: i64| anyhow::Ok(Some(Timestamp::from_second(at)?.to_string()));
        match event {
            Event::Prices(date) => self.publish(date)?,
            Event::Run(udn, by) => {
                let form = RuleForm { appliance: Some(udn.into()), until: until(by)?, ..RuleForm::new(Kind::Run) };
                self.house.ask(form);
            }
            Event::Charge(udn, energy, by) => {
                let (appliance, energy_wh) = (Some(udn.into()), Some(energy));
                self.house.ask(RuleForm { appliance, energy_wh, until: until(by)?, ..RuleForm::new(Kind::Charge) });
            }
            Event::Conduct(n, conduct) => self.house.set_conduct(&self.machines[n].clone(), conduct),
            Event::Press(n) => {
                let udn = self.machines[n].clone();
                self.house.press(&udn, !self.house.is_on(&udn));
            }
            Event::Limit { start, for_s, watts } => {
                let utility = &mut self.utility;
                utility.version += 1;
                utility.news = true;
                utility.limits.retain(|limit| limit.over().is_none_or(|over| over > UnixTime::new(at as u64)));
                utility.limits.push(Limit {
                    id: EventId::new(utility.version).context("an event's number")?,
                    supersedes: None,
                    start: UnixTime::new(start as u64),
                    duration_s: Some(for_s),
                    watts: Watts::new(watts),
                    priority: 0,
                    randomise_s: RANDOMISE_S,
                    cancelled: false,
                });
            }
            Event::Lost(until) => self.utility.lost_until = self.utility.lost_until.max(until),
        }
        Ok(())
    }
}

/// Bytes of this process that went to a disk, and that it has written by calls.
fn io() -> Result<[u64; 2]> {
    let text = std::fs::read_to_string("/proc/self/io").context("the kernel's count of input and output")?;
    let field = |name: &str| -> Result<u64> {
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).with_context(|| format!("no {name}"))
    };
    Ok([field("write_bytes:")?, field("wchar:")?])
}
