//! The numbers for a monitoring program, gathered from everything there is, and who may read them where.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use upnp::device::not_found;

use super::App;
use crate::api::access::{self, Act, Caller};
use crate::envelope::{Cause, State};
use crate::metrics::{self, Money, PlanReadings, Readings, UtilityReadings};
use crate::now::Now;
use crate::rules::units;
use crate::utility_client::wire_time;

/// Where the kernel says how much memory this process holds: the second number, in pages.
const STATM: &str = "/proc/self/statm";
const PAGE_BYTES: u64 = 4096;
/// Where metrics are on the LAN, if they are.
const PATH: &str = "/metrics";

impl App {
    /// Answers those at the control socket whose counters of the firewall are fresh.
    pub(super) fn answer_scrapes(&mut self, now: Now) {
        while let Some(request) = self.firewall.poll_scrape() {
            request.respond_text(StatusCode::OK, self.readings(now).text());
        }
    }

    /// The answer to a path that is nobody's: the metrics, where the configuration gives them to the LAN.
    pub(super) fn other_path(&self, request: &http::Request<Bytes>, now: Now) -> Response<Bytes> {
        let may = access::may(Caller::Lan, Act::Metrics, self.config.metrics.lan);
        if !may || request.uri().path() != PATH {
            return not_found();
        }
        if request.method() != http::Method::GET {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            response.headers_mut().insert(http::header::ALLOW, HeaderValue::from_static("GET"));
            return response;
        }
        let mut response = Response::new(Bytes::from(self.readings(now).text()));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE));
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    fn readings(&self, now: Now) -> Readings {
        let (gateway, planner) = (self.home.gateway(), self.home.planner());
        let (count, at) = (gateway.registry().count(), now.wall.as_second());
        let (plans, took) = planner.made();
        let uptime = i64::try_from(now.boot.since(self.started).as_secs()).unwrap_or(0);
        let prices = self.home.prices();
        let drawn = gateway.registry().iter().filter(|a| a.is_reachable()).filter_map(|a| a.profile().power);
        let size = self.worker.size();
        Readings {
            version: env!("CARGO_PKG_VERSION"),
            started: at - uptime,
            memory: resident_bytes(),
            troubles: self.troubles().len(),
            appliances: vec![
                ("on", count.on),
                ("off", count.off),
                ("standby", count.standby),
                ("unknown", count.unknown),
            ],
            reachable: gateway.registry().iter().filter(|a| a.is_reachable()).count(),
            events: gateway.counts().events,
            commands: gateway.counts().commands.iter().map(|(ending, n)| (ending.as_str(), *n)).collect(),
            under_way: gateway.commands().iter().count(),
            decisions: planner.decisions_by_kind().clone(),
            registrations: gateway.registrations().iter().count(),
            rules: planner.book().iter().count(),
            plans,
            plan_took: took.map(|took| took.as_secs_f64()),
            plan: self.plan_readings(at),
            planned: (planner.planned().count(), planner.planned().filter(|load| load.dropped.is_some()).count()),
            currency: planner.currency().to_owned(),
            price: planner.price(at).map(units),
            prices_until: prices.until().and_then(|until| i64::try_from(until.seconds()).ok()),
            prices_stale: prices.is_used().then(|| !prices.stale().is_empty()),
            limit: planner.cap(at).map(|cap| (limit_word(cap.cause), cap.watts.count())),
            limits: state_word(planner.envelope()),
            observed_w: drawn.map(|watts| u64::from(watts.count())).sum(),
            sums: self.sums(now),
            utility: self.utility_readings(now),
            subscribers: self.home.subscribers(),
            watchers: self.watchers.len(),
            journal: self.journalled,
            journal_rows: size.journal_rows(),
            store_bytes: size.bytes(),
            writes: size.writes(),
            firewall: self.firewall.is_in_place(),
            dropped: self.firewall.dropped(),
        }
    }

    fn plan_readings(&self, at: i64) -> Option<PlanReadings> {
        let planner = self.home.planner();
        let (plan, made) = planner.plan()?;
        Some(PlanReadings {
            made,
            cost: units(plan.cost),
            gap: plan.gap_ppm().map(|ppm| ppm as f64 / 1e6),
            over_w: planner.over_w(at),
            planned_w: planner.planned_w(at),
        })
    }

    /// Of the local day and month that it is now.
    fn sums(&self, now: Now) -> Vec<(&'static str, Money)> {
        let planner = self.home.planner();
        let today = self.home.gateway().zone().to_datetime(now.wall).date().to_string();
        let month = today.get(..7).unwrap_or_default();
        let of_day = planner.days().filter(|(day, _)| *day == today).map(|(_, sums)| sums);
        let of_month = planner.months().filter(|(m, ..)| *m == month).map(|(_, _, sums)| sums);
        let money = |sums: &mut dyn Iterator<Item = &crate::planner::Sums>| {
            sums.fold(Money::default(), |all, sums| Money {
                saved: all.saved + units(sums.saved()),
                cost: all.cost + units(sums.cost),
                energy_kwh: all.energy_kwh + sums.energy_ws as f64 / 3.6e6,
            })
        };
        vec![("day", money(&mut of_day.into_iter())), ("month", money(&mut of_month.into_iter()))]
    }

    fn utility_readings(&self, now: Now) -> Option<UtilityReadings> {
        let membership = self.client.membership().filter(|m| m.statement().is_some())?;
        let utility = self.home.utility();
        let time = utility.time(now);
        let signed = |at: u64| i64::try_from(at).unwrap_or(i64::MAX);
        let (signing, sealing) = membership.keys_since();
        let age = |since| time.map(|time| time.seconds().saturating_sub(wire_time(since).seconds()));
        let ages = [("signing", age(signing)), ("sealing", age(sealing))];
        Some(UtilityReadings {
            connected: utility.peer().is_some() && !utility.is_lost() && utility.heard().is_some(),
            heard: utility.heard().map(|at| at.seconds()),
            clock_off: time.map(|time| signed(time.seconds()) - now.wall.as_second()),
            key_ages: ages.into_iter().filter_map(|(word, age)| Some((word, age?))).collect(),
            statement_until: membership.statement().map(|s| wire_time(s.validity().until()).seconds()),
            reports: utility.unacknowledged().0,
            controls: utility.controls().count(),
        })
    }
}

fn limit_word(cause: Cause) -> &'static str {
    match cause {
        Cause::Limit(_) => "limit",
        Cause::Start => "start",
        Cause::Failsafe => "failsafe",
    }
}

fn state_word(state: State) -> &'static str {
    match state {
        State::Autonomous => "autonomous",
        State::Start { .. } => "start",
        State::Controlled => "controlled",
        State::Failsafe { .. } => "failsafe",
    }
}

fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string(STATM).ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * PAGE_BYTES)
}
