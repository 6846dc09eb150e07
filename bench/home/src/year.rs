//! A home of twenty appliances through days or a year, in virtual time: the gateway's own modules (registry, commands, planner with its
//! envelope and rules, journal, prices, the database on a disk) over machines that mostly do as they are told.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use daemon_kit::state_dir;
use heg::config::Config;
use heg::planner::Sums;
use heg::prices::{News, Settings, Watched};
use heg::rules::form::{Kind, RuleForm};
use heg::simulate::{Conduct, Fault, Figures, House};
use heg::store::{Opened, Retention, Store};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use tariff::price_file::Expected;
use tariff::{Source, Terms};
use upnp::ids::Udn;

use crate::draw::Draw;

pub mod faults;
pub mod prices;
mod utility;

use faults::{Event, Events};
use prices::Prices;
use utility::Utility;

/// What was drawn and may be drawn is looked at so often, s.
const LOOK_EVERY_S: i64 = 60;
/// The membership's file: statements, keys, policy and a short revocation list. Its own format needs a key management centre.
const MEMBERSHIP_BYTES: usize = 8 * 1024;
/// It is written before the first of so many messages goes out (`secure_http`'s block of numbers).
const NUMBERS: u64 = 1024;
/// Messages to the key management centre an hour: policy and the utility's statement.
const KMC_MESSAGES: u64 = 2;
/// The sealing key is another after this time, s, an eighth before it ends; so often the file is written for that.
const ROLL_OVER_S: i64 = 7 * 86_400 * 7 / 8;
const ROLL_OVER_WRITES: u32 = 5;
/// The clock's floor lies in it too, and is written so often, s.
const FLOOR_S: i64 = 86_400;
/// Where kept prices and the membership lie.
const PRICES_FILE: &str = "prices.json";
const MEMBERSHIP_FILE: &str = "membership";
const CURRENCY: &str = "EUR";
const NO_PROCESS: &str = "the gateway is not there";

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
    /// What happens beside, each at so many seconds after the first midnight.
    pub also: Vec<(i64, Event)>,
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
    /// The first things that are not as they should be.
    pub faults: Vec<Fault>,
    /// What was written beside the database.
    pub beside: Kinds,
}

/// Bytes written by calls beside the database.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kinds {
    /// The membership's file.
    pub membership: u64,
    /// The prices' file.
    pub prices: u64,
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
    dir: &'a Path,
    house: House,
    /// `None` while the gateway's process is not there.
    store: Option<Store>,
    utility: Utility,
    machines: Vec<Udn>,
    events: Events,
    happened: std::collections::BTreeMap<&'static str, u64>,
    transactions: u64,
    wrong_cap: u64,
    limited: (u64, u64),
    /// Whether the file of the membership is to be written, and when it is for a new key.
    numbers_taken: bool,
    rolls_at: i64,
    beside: Kinds,
}

const RETENTION: Retention = Retention { age: Duration::from_secs(90 * 86_400), entries: 20_000 };

impl<'a> Year<'a> {
    fn new(run: &'a Run, prices: &'a Prices, zone: &'a TimeZone, dir: &'a Path) -> Result<Self> {
        let config = config(dir)?;
        let start = run.first.to_zoned(zone.clone())?.timestamp();
        let (first, end) = prices.span();
        let last = run.first.checked_add(run.days.days())?.to_zoned(zone.clone())?.timestamp().as_second();
        ensure!(first <= start.as_second() && last <= end, "the prices do not reach over these days");
        let house = House::new(&config, zone.clone(), start)?;
        let mut year = Self {
            run,
            prices,
            zone,
            dir,
            machines: house.machines().cloned().collect(),
            house,
            store: Some(Store::open(&dir.join(heg::store::FILE), RETENTION, start)?.store),
            utility: Utility::new(start.as_second()),
            events: Events::new(),
            happened: std::collections::BTreeMap::new(),
            transactions: 0,
            wrong_cap: 0,
            limited: (0, 0),
            numbers_taken: false,
            rolls_at: start.as_second() + ROLL_OVER_S,
            beside: Kinds::default(),
        };
        year.begin()?;
        year.draw()?;
        year.publish(run.first)?;
        Ok(year)
    }

    /// What a process of the gateway begins with beside its database.
    fn begin(&mut self) -> Result<()> {
        let expected =
            Expected { zone: "BE".parse()?, time_zone: self.zone.clone(), currency: None, per: None, whole_days: true };
        let watched = Watched { source: Source::File, name: "prices.csv".to_owned(), expected };
        let terms = Terms::new(self.zone.clone());
        let settings = Settings { terms, currency: Some(CURRENCY.parse()?), watched: Some(watched) };
        let kept = std::fs::read(self.dir.join(PRICES_FILE)).ok();
        self.house.set_prices(settings, kept.as_deref());
        self.house.utility(Utility::link(self.house.time().as_second()));
        self.numbers_taken = false;
        Ok(())
    }

    /// Everything that will happen.
    fn draw(&mut self) -> Result<()> {
        let start = self.house.time().as_second();
        for (after, event) in &self.run.also {
            self.events.insert((start + after, self.events.len()), event.clone());
        }
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
        let at = self.house.time();
        self.house.price_news(News::Document { text, at });
        let troubles = self.house.price_troubles();
        ensure!(troubles.is_empty(), "{troubles:?}");
        self.keep_prices()
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
        let (faults, beside) = (self.house.faults().to_vec(), self.beside);
        let (wrong_cap, limited) = (self.wrong_cap, self.limited);
        Ok(Outcome { days, figures, switchings, wrong_cap, limited, events, faults, beside })
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
            self.utility_goes_on(at)?;
            if at % LOOK_EVERY_S == 0 {
                minutes.push(self.look(at));
            }
            let next = self.events.keys().next().map_or(i64::MAX, |(due, _)| *due);
            let minute = at.div_euclid(LOOK_EVERY_S) * LOOK_EVERY_S + LOOK_EVERY_S;
            let until = minute.min(next).min(end).min(self.utility.due(at).unwrap_or(i64::MAX));
            self.run_to(until)?;
            if self.house.time().as_second() >= end {
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
        let store = self.store.as_mut().context(NO_PROCESS)?;
        let transactions = &mut self.transactions;
        let mut failed = None;
        self.house.run_to(Timestamp::from_second(until)?, |batch, now| {
            *transactions += u64::from(!batch.is_empty());
            failed = failed.take().or(store.write(batch, now).err());
        });
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Everything that was to be written before now.
    fn write(&mut self) -> Result<()> {
        while let Some((batch, at)) = self.house.poll_written() {
            self.transactions += u64::from(!batch.is_empty());
            self.store.as_mut().context(NO_PROCESS)?.write(&batch, at)?;
        }
        Ok(())
    }

    /// What the home asks, and what it is answered.
    fn utility_goes_on(&mut self, at: i64) -> Result<()> {
        for answer in self.utility.answers(at)? {
            self.house.utility(answer);
        }
        while let Some(question) = self.house.poll_question() {
            self.utility.ask(question, at);
        }
        if at % 3600 == 0 {
            self.utility.messages += KMC_MESSAGES;
        }
        if self.utility.messages >= NUMBERS || !self.numbers_taken {
            self.numbers_taken = true;
            self.utility.messages = 0;
            self.keep_membership()?;
        }
        if at % FLOOR_S == 0 {
            self.keep_membership()?;
        }
        if at >= self.rolls_at {
            self.rolls_at = at + ROLL_OVER_S;
            (0..ROLL_OVER_WRITES).try_for_each(|_| self.keep_membership())?;
        }
        self.keep_prices()
    }

    fn keep_membership(&mut self) -> Result<()> {
        self.beside.membership += MEMBERSHIP_BYTES as u64;
        Ok(state_dir::write_atomically(&self.dir.join(MEMBERSHIP_FILE), &[0xa5; MEMBERSHIP_BYTES])?)
    }

    fn keep_prices(&mut self) -> Result<()> {
        let Some(bytes) = self.house.take_prices_kept() else { return Ok(()) };
        self.beside.prices += bytes.len() as u64;
        Ok(state_dir::write_atomically(&self.dir.join(PRICES_FILE), &bytes)?)
    }

    /// The gateway's process ends and begins again from what is on the disk: in good order, or as if its power had been cut.
    fn restart(&mut self, orderly: bool, at: i64) -> Result<()> {
        let cycles = ["uuid:dishwasher", "uuid:washing-machine", "uuid:dryer"];
        let cycle = cycles.iter().any(|udn| Udn::parse(udn).is_ok_and(|udn| self.house.is_on(&udn)));
        let limit = self.house.planner().cap(at).is_some();
        for (in_it, what) in [
            (limit, "gateway restarted under a limit"),
            (cycle, "gateway restarted during a cycle"),
            (self.utility.controls(), "gateway restarted with a control under way"),
        ] {
            *self.happened.entry(what).or_default() += u64::from(in_it);
        }
        // One that is killed writes nothing any more.
        if orderly {
            self.house.stop();
        }
        self.write()?;
        let now = self.house.time();
        if orderly {
            // What is killed stays open meanwhile, so that its log is found as it was left.
            self.store = None;
        }
        let Opened { store, restored, set_aside } = Store::open(&self.dir.join(heg::store::FILE), RETENTION, now)?;
        ensure!(set_aside.is_none(), "the database was damaged: {set_aside:?}");
        let decided = store.decided()?;
        self.store = Some(store);
        self.house.restart(restored, &decided);
        self.utility.restarted(at);
        self.begin()
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
            Event::Control(..) => "control of the utility",
            Event::Request(_, Some(_)) => "request of a machine (NoStandbyPeriod, WakeUpTime)",
            Event::Request(_, None) => "request withdrawn",
            Event::Period(_, Some(_)) => "StandbyPeriod given to a machine",
            Event::Period(_, None) => "StandbyPeriod withdrawn",
            Event::Restart { orderly: true } => "gateway restarted",
            Event::Restart { orderly: false } => "gateway killed and restarted",
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
            Event::Limit { start, for_s, watts } => self.utility.limit(at, start, for_s, watts)?,
            Event::Control(appliance, action) => self.utility.control(at, appliance, action)?,
            Event::Request(udn, request) => self.house.request(&Udn::parse(udn)?, request),
            Event::Period(udn, window) => self.house.period(&Udn::parse(udn)?, window),
            Event::Restart { orderly } => self.restart(orderly, at)?,
            Event::Lost(until) => self.utility.lose(until),
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
