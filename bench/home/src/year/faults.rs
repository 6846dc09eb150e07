//! What comes between: machines that refuse, do not answer, are switched by hand or have requests of their own, limits and controls of the
//! utility, hours in which it is not heard, prices that are late, a gateway that is restarted. All of it drawn from a seed.

use std::collections::BTreeMap;

use energy_model::{DailyWindow, PowerState};
use heg::gateway::Request;
use heg::simulate::Conduct;
use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;

use crate::draw::Draw;

/// What happens.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The next day's prices are published.
    Prices(Date),
    /// A person asks for a cycle, to be done by then.
    Run(&'static str, i64),
    /// A person asks for energy, Wh, by then.
    Charge(&'static str, u32, i64),
    /// A machine takes orders so from now on.
    Conduct(usize, Conduct),
    /// Somebody switches a machine, whatever it was.
    Press(usize),
    /// The utility states a limit: from when, for how long, how much.
    Limit {
        /// Before the randomised delay.
        start: i64,
        /// Seconds.
        for_s: u32,
        /// Watts.
        watts: u32,
    },
    /// The utility is not heard until then.
    Lost(i64),
    /// The utility orders an appliance, by its UDN without `uuid:`.
    Control(&'static str, PowerState),
    /// A machine asks something of the gateway, or (none) withdraws what it asked first.
    Request(&'static str, Option<Request>),
    /// A person has a machine sleep by itself in this window, or (none) no more.
    Period(&'static str, Option<DailyWindow>),
    /// The gateway's process ends and begins again; in good order, or as if its power had been cut.
    Restart {
        /// Whether in good order.
        orderly: bool,
    },
}

/// Events by their time; those of one time in order.
pub type Events = BTreeMap<(i64, usize), Event>;

/// What the utility may order, as the home's configuration says.
const CONTROLLED: &[&str] = &["pool-pump", "dehumidifier", "water-heater", "console"];
/// Machines with requests of their own, and ones that are made to sleep.
const ASKING: &[&str] = &["uuid:television", "uuid:console", "uuid:desktop", "uuid:disks"];
const SLEEPING: &[&str] = &["uuid:disks", "uuid:printer", "uuid:radio"];

/// What machines ask for, and are told for good, today.
fn requests(
    draw: &mut Draw,
    moment: &dyn Fn(&mut Draw) -> anyhow::Result<i64>,
    events: &mut Vec<(i64, Event)>,
) -> anyhow::Result<()> {
    let window = |draw: &mut Draw| {
        let (from, length) = (draw.between(0, 23), draw.between(1, 9));
        format!("{from:02}:00:00-{:02}:30:00", (from + length) % 24).parse::<DailyWindow>()
    };
    if draw.in_thousand(120) {
        let request = Request::NoStandbyPeriod(window(draw)?);
        events.push((moment(draw)?, Event::Request(draw.one_of(ASKING), Some(request))));
    }
    if draw.in_thousand(40) {
        let at = format!("{:02}:50:00", draw.between(5, 9)).parse()?;
        events.push((moment(draw)?, Event::Request(draw.one_of(ASKING), Some(Request::WakeUpTime(at)))));
    }
    if draw.in_thousand(150) {
        events.push((moment(draw)?, Event::Request(draw.one_of(ASKING), None)));
    }
    if draw.in_thousand(60) {
        let window = window(draw)?;
        events.push((moment(draw)?, Event::Period(draw.one_of(SLEEPING), Some(window))));
    }
    if draw.in_thousand(60) {
        events.push((moment(draw)?, Event::Period(draw.one_of(SLEEPING), None)));
    }
    Ok(())
}

/// A day's events. `machines`: how many there are.
///
/// # Errors
/// A date beyond the calendar.
pub fn day(date: Date, zone: &TimeZone, machines: usize, draw: &mut Draw) -> anyhow::Result<Vec<(i64, Event)>> {
    let at = |date: Date, hour: i8, minute: i8| -> anyhow::Result<i64> {
        Ok(date.to_datetime(Time::new(hour, minute, 0, 0)?).to_zoned(zone.clone())?.timestamp().as_second())
    };
    let tomorrow = date.tomorrow()?;
    let mut events = Vec::new();
    // Now and then the market is late, or they come only next morning.
    let published = match draw.between(0, 44) {
        0 => at(tomorrow, 6, 10)?,
        1..=3 => at(date, 18, 20)?,
        _ => at(date, 12, 57)?,
    };
    events.push((published, Event::Prices(tomorrow)));
    let workday = !matches!(date.weekday(), Weekday::Saturday | Weekday::Sunday);
    if draw.in_thousand(570) {
        events.push((at(date, 7, 40)?, Event::Run("uuid:washing-machine", at(date, 18, 0)?)));
        events.push((at(date, 19, 10)?, Event::Run("uuid:dryer", at(tomorrow, 7, 0)?)));
    }
    if workday || draw.in_thousand(300) {
        let energy = draw.between(40, 140) * 100;
        events.push((
            at(date, 18, draw.between(0, 50) as i8)?,
            Event::Charge("uuid:car", energy as u32, at(tomorrow, 7, 0)?),
        ));
    }
    let machine = |draw: &mut Draw| draw.between(0, machines as i64 - 1) as usize;
    let moment = |draw: &mut Draw| {
        anyhow::Ok(at(date, draw.between(0, 23) as i8, draw.between(0, 59) as i8)? + draw.between(0, 59))
    };
    for (times, conduct, minutes) in
        [(600, Conduct::Refuses, (30, 240)), (250, Conduct::Silent, (20, 240)), (250, Conduct::Late, (60, 600))]
    {
        if draw.in_thousand(times) {
            let (n, from) = (machine(draw), moment(draw)?);
            events.push((from, Event::Conduct(n, conduct)));
            events.push((from + draw.between(minutes.0, minutes.1) * 60, Event::Conduct(n, Conduct::Obeys)));
        }
    }
    if draw.in_thousand(400) {
        events.push((moment(draw)?, Event::Press(machine(draw))));
    }
    // The grid is short on winter's workday evenings, mostly.
    let winter = matches!(date.month(), 1..=3 | 10..=12);
    if workday && draw.in_thousand(if winter { 350 } else { 60 }) {
        let start = at(date, 17, draw.between(0, 59) as i8)?;
        // Told hours before, or as it begins.
        let told = start - draw.one_of(&[0, 0, 7200]);
        let (for_s, watts) = (draw.one_of(&[3600, 7200, 10_800]), draw.one_of(&[4200, 4600, 5500]));
        events.push((told, Event::Limit { start, for_s, watts }));
        if draw.in_thousand(150) {
            let at = start + draw.between(0, i64::from(for_s) + 900);
            events.push((at, Event::Restart { orderly: draw.in_thousand(500) }));
        }
    }
    for (times, from, to) in [(25, (0, 23), None), (15, (22, 23), None), (100, (8, 20), Some(CONTROLLED))] {
        if !draw.in_thousand(times) {
            continue;
        }
        let moment = at(date, draw.between(from.0, from.1) as i8, draw.between(0, 59) as i8)? + draw.between(0, 59);
        let restart = Event::Restart { orderly: draw.in_thousand(500) };
        let Some(controlled) = to else {
            events.push((moment, restart));
            continue;
        };
        let udn = draw.one_of(controlled);
        events.push((moment, Event::Control(udn, PowerState::Off)));
        if draw.in_thousand(150) {
            events.push((moment + draw.between(0, 3), restart));
        }
    }
    requests(draw, &moment, &mut events)?;
    if draw.in_thousand(60) {
        let from = moment(draw)?;
        events.push((from, Event::Lost(from + draw.between(5, 300) * 60)));
    }
    Ok(events)
}
