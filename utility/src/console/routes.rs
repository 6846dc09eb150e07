//! What each address does.

use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use daemon_kit::clock::zone_named;
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use tariff::price_file::{self, Expected};
use tariff::unit;
use tokio::sync::broadcast::error::RecvError;
use utility_wire::{ApplianceId, EventId, UnixTime, ZoneId};

use super::access::{Admin, Changer, Viewer, actor};
use super::extract::{File, Json, Params, Part};
use super::problem::Problem;
use super::{Console, locked};
use crate::api::*;
use crate::events::{ControlDraft, LimitDraft, Target};
use crate::limits::{NAME_BYTES_MAX, OPERATOR_BYTES_MAX, PAGE_MAX, SITE_DECISIONS_SHOWN, WATCH_WAIT_S_MAX};
use crate::metrics::Held;
use crate::sites::{Site, SiteId};
use crate::store::{Added, Hint, Role, SiteQuery, Token};

/// An answer that no cache keeps.
pub(super) fn answer(status: StatusCode, value: &impl Serialize) -> Result<Response, Problem> {
    let body = serde_json::to_vec(value)
        .map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the answer cannot be written"))?;
    let json = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let fresh = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok((status, [json, fresh], body).into_response())
}

pub(super) fn shown(value: &impl Serialize) -> Result<Response, Problem> {
    answer(StatusCode::OK, value)
}

/// A text for people, as it may be kept.
pub(super) fn text(what: &str, text: &str) -> Result<String, Problem> {
    if text.len() > NAME_BYTES_MAX || text.chars().any(char::is_control) {
        let detail = format!("{what}: expected at most {NAME_BYTES_MAX} bytes without control characters");
        return Err(Problem::refused("refused", detail));
    }
    Ok(text.trim().to_owned())
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(what: &str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|e| Problem::bad(format!("{what} {text:?}: {e}")))
}

pub(super) fn time(what: &str, text: &str) -> Result<UnixTime, Problem> {
    instant(text).ok_or_else(|| Problem::bad(format!("{what} {text:?}: expected a time as 2026-11-22T17:15:00Z")))
}

impl Console {
    pub(super) fn now(&self) -> UnixTime {
        (self.0.clock)()
    }

    pub(super) fn store(&self) -> &crate::store::Store {
        self.0.service.store()
    }
}

pub(super) async fn health(State(console): State<Console>) -> Result<Response, Problem> {
    console.store().last_change().await?;
    Ok((StatusCode::OK, "ok\n").into_response())
}

pub(super) async fn metrics(State(console): State<Console>) -> Result<Response, Problem> {
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"))];
    Ok((kind, console.0.metrics.text()).into_response())
}

pub(super) async fn status(State(console): State<Console>, _: Viewer) -> Result<Response, Problem> {
    let since = console.now().seconds().saturating_sub(u64::from(console.0.service.periods().report_s) * 2);
    let (sites, sites_live) = console.store().count_sites(UnixTime::new(since)).await?;
    let (rules, troubles) = (locked(&console.0.rules).len(), locked(&console.0.troubles).clone());
    shown(&StatusView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        store: console.store().backend().to_owned(),
        sites,
        sites_live,
        rules,
        last_change: console.store().last_change().await?,
        troubles,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct SitesQuery {
    group: Option<String>,
    after: Option<String>,
    limit: Option<u32>,
}

pub(super) async fn sites(
    State(console): State<Console>,
    _: Viewer,
    Params(query): Params<SitesQuery>,
) -> Result<Response, Problem> {
    let query = SiteQuery {
        group: query.group.as_deref().map(|g| parsed("group", g)).transpose()?,
        after: query.after.as_deref().map(|a| parsed("after", a)).transpose()?,
        limit: query.limit.unwrap_or(PAGE_MAX),
    };
    let (periods, now) = (console.0.service.periods(), console.now());
    let views: Vec<_> = console.store().sites(&query).await?.iter().map(|s| SiteView::new(s, periods, now)).collect();
    shown(&views)
}

fn site_of(id: SiteId, body: &SiteBody, now: UnixTime) -> Result<Site, Problem> {
    Ok(Site {
        id,
        name: text("name", &body.name)?,
        zone: parsed("zone", &body.zone)?,
        group: parsed("group", &body.group)?,
        added: now,
        last_contact: None,
        last_report: None,
    })
}

pub(super) async fn add_site(
    State(console): State<Console>,
    Changer(operator): Changer,
    Json(body): Json<SiteBody>,
) -> Result<Response, Problem> {
    let now = console.now();
    let id = body.id.as_deref().ok_or_else(|| Problem::bad("missing field `id`"))?;
    let site = site_of(parsed("id", id)?, &body, now)?;
    let status = match console.store().add_site(&site, &actor(&operator), now).await? {
        Added::New => StatusCode::CREATED,
        Added::Already => StatusCode::OK,
    };
    answer(status, &SiteView::new(&site, console.0.service.periods(), now))
}

pub(super) async fn site(
    State(console): State<Console>,
    _: Viewer,
    Part(id): Part<SiteId>,
) -> Result<Response, Problem> {
    let site = console.store().site(&id).await?.ok_or(crate::store::StoreError::UnknownSite(id.to_string()))?;
    let appliances = console.store().appliances(&id).await?;
    let decisions = console.store().decisions(&id, SITE_DECISIONS_SHOWN).await?;
    shown(&SiteDetail {
        site: SiteView::new(&site, console.0.service.periods(), console.now()),
        appliances: appliances.iter().map(ApplianceView::from).collect(),
        decisions: decisions.iter().map(DecisionView::from).collect(),
    })
}

pub(super) async fn change_site(
    State(console): State<Console>,
    Changer(operator): Changer,
    Part(id): Part<SiteId>,
    Json(body): Json<SiteBody>,
) -> Result<Response, Problem> {
    let now = console.now();
    if body.id.is_some() {
        return Err(Problem::bad("the id stands in the address"));
    }
    let site = site_of(id, &body, now)?;
    console.store().change_site(&site, &actor(&operator), now).await?;
    shown(&SiteView::new(&site, console.0.service.periods(), now))
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct ConsumptionQuery {
    meter: Option<String>,
    from: Option<String>,
    to: Option<String>,
    limit: Option<u32>,
}

pub(super) async fn consumption(
    State(console): State<Console>,
    _: Viewer,
    Part(id): Part<SiteId>,
    Params(query): Params<ConsumptionQuery>,
) -> Result<Response, Problem> {
    let meter: Option<ApplianceId> = query.meter.as_deref().map(|m| parsed("meter", m)).transpose()?;
    let now = console.now();
    let day_ago = UnixTime::new(now.seconds().saturating_sub(86_400));
    let from = query.from.as_deref().map_or(Ok(day_ago), |t| time("from", t))?;
    let to = query.to.as_deref().map_or(Ok(now), |t| time("to", t))?;
    if console.store().site(&id).await?.is_none() {
        return Err(crate::store::StoreError::UnknownSite(id.to_string()).into());
    }
    let limit = query.limit.unwrap_or(PAGE_MAX);
    let intervals = console.store().consumption(&id, meter.as_ref(), (from, to), limit).await?;
    shown(&intervals.iter().map(IntervalView::from).collect::<Vec<_>>())
}

pub(super) async fn prices(
    State(console): State<Console>,
    _: Viewer,
    Part(zone): Part<ZoneId>,
) -> Result<Response, Problem> {
    let prices = console.store().prices(&zone, console.now()).await?;
    shown(&prices.iter().map(PricesView::from).collect::<Vec<_>>())
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct PublishQuery {
    time_zone: Option<String>,
    currency: Option<String>,
    per: Option<String>,
    #[serde(default)]
    part_of_day: bool,
    #[serde(default)]
    dry_run: bool,
}

pub(super) async fn publish(
    State(console): State<Console>,
    Changer(operator): Changer,
    Part(zone): Part<ZoneId>,
    Params(query): Params<PublishQuery>,
    File(file): File,
) -> Result<Response, Problem> {
    let configured = locked(&console.0.zones).get(zone.as_str()).cloned();
    let clock = match (&query.time_zone, &configured) {
        (Some(name), _) => zone_named(name).map_err(|e| Problem::bad(e.to_string()))?,
        (None, Some(facts)) => facts.time_zone.clone(),
        (None, None) => {
            let detail = format!("zone {zone} is not configured, so its time zone has to be given");
            return Err(Problem::bad(detail));
        }
    };
    let money = match (&query.currency, &query.per) {
        (None, None) => configured.and_then(|facts| facts.money),
        (Some(currency), Some(per)) => {
            let per = unit(per).ok_or_else(|| Problem::bad(format!("per {per:?}: expected MWh or kWh")))?;
            Some((parsed("currency", currency)?, per))
        }
        _ => return Err(Problem::bad("currency and per go together")),
    };
    let (currency, per) = money.unzip();
    let expected = Expected { zone, time_zone: clock, currency, per, whole_days: !query.part_of_day };
    let series = price_file::read(&file, &expected).map_err(|e| Problem::refused("bad-prices", e.to_string()))?;
    if query.dry_run {
        return shown(&Published { version: 0, prices: PricesView::new(&series) });
    }
    let version = console.store().publish_prices(&series, &actor(&operator), console.now()).await?;
    let prices = PricesView::new(&series.with_version(version));
    answer(StatusCode::CREATED, &Published { version, prices })
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct LimitsQuery {
    target: Option<String>,
    limit: Option<u32>,
}

pub(super) async fn limits(
    State(console): State<Console>,
    _: Viewer,
    Params(query): Params<LimitsQuery>,
) -> Result<Response, Problem> {
    let target: Option<Target> = query.target.as_deref().map(|t| parsed("target", t)).transpose()?;
    let now = console.now();
    let limits = console.store().limits(target.as_ref(), query.limit.unwrap_or(100)).await?;
    shown(&limits.iter().map(|l| LimitView::new(l, now)).collect::<Vec<_>>())
}

pub(super) async fn make_limit(
    State(console): State<Console>,
    Changer(operator): Changer,
    Json(body): Json<LimitBody>,
) -> Result<Response, Problem> {
    let now = console.now();
    let supersedes =
        body.supersedes.map(|n| EventId::new(n).ok_or_else(|| Problem::bad("supersedes: there is no limit 0")));
    let draft = LimitDraft {
        target: parsed("target", &body.target)?,
        supersedes: supersedes.transpose()?,
        start: body.start.as_deref().map_or(Ok(now), |t| time("start", t))?.max(now),
        duration_s: body.duration_s,
        watts: energy_model::Watts::new(body.watts),
        priority: body.priority,
        randomise_s: body.randomise_s,
        reason: text("reason", &body.reason)?,
    };
    let id = console.store().make_limit(&draft, &actor(&operator), now).await?;
    answer(StatusCode::CREATED, &Made { id: id.number() })
}

pub(super) async fn cancel_limit(
    State(console): State<Console>,
    Changer(operator): Changer,
    Part(id): Part<EventId>,
) -> Result<Response, Problem> {
    console.store().cancel_limit(id, &actor(&operator), console.now()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn responses(
    State(console): State<Console>,
    _: Viewer,
    Part(id): Part<EventId>,
) -> Result<Response, Problem> {
    shown(&ResponsesView::from(console.store().responses(id).await?))
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct ControlsQuery {
    site: Option<String>,
    limit: Option<u32>,
}

pub(super) async fn controls(
    State(console): State<Console>,
    _: Viewer,
    Params(query): Params<ControlsQuery>,
) -> Result<Response, Problem> {
    let site: Option<SiteId> = query.site.as_deref().map(|s| parsed("site", s)).transpose()?;
    let now = console.now();
    let controls = console.store().controls(site.as_ref(), query.limit.unwrap_or(100)).await?;
    shown(&controls.iter().map(|c| ControlView::new(c, now)).collect::<Vec<_>>())
}

pub(super) async fn make_control(
    State(console): State<Console>,
    Changer(operator): Changer,
    Json(body): Json<ControlBody>,
) -> Result<Response, Problem> {
    let draft = ControlDraft {
        site: parsed("site", &body.site)?,
        appliance: parsed("appliance", &body.appliance)?,
        action: body.action,
        within_s: body.within_s,
        reason: text("reason", &body.reason)?,
    };
    let id = console.store().make_control(&draft, &actor(&operator), console.now()).await?;
    answer(StatusCode::CREATED, &Made { id: id.number() })
}

pub(super) async fn cancel_control(
    State(console): State<Console>,
    Changer(operator): Changer,
    Part(id): Part<EventId>,
) -> Result<Response, Problem> {
    console.store().cancel_control(id, &actor(&operator), console.now()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn rules(State(console): State<Console>, _: Viewer) -> Result<Response, Problem> {
    let rules = locked(&console.0.rules).clone();
    let mut views = Vec::new();
    for rule in rules.iter() {
        let memory = console.store().rule_memory(rule.name()).await?;
        views.push(RuleView {
            name: rule.name().to_owned(),
            words: rule.words(),
            limit: memory.memory.limit().map(EventId::number),
            why: memory.why,
        });
    }
    shown(&views)
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct ChangesQuery {
    since: Option<u64>,
    limit: Option<u32>,
    #[serde(default)]
    wait: u64,
}

/// Changes behind `since`, and if there are none yet, those that come within `wait` seconds. Without `since` the latest.
pub(super) async fn changes(
    State(console): State<Console>,
    _: Viewer,
    Params(query): Params<ChangesQuery>,
) -> Result<Response, Problem> {
    let limit = query.limit.unwrap_or(PAGE_MAX);
    let Some(since) = query.since else {
        return shown(&view(0, &console.store().latest_changes(limit).await?));
    };
    let mut hints = console.store().hints();
    let _held = Held::new(&console.0.metrics.watches);
    let mut stopping = console.0.stopping.clone();
    let mut stop = std::pin::pin!(async { drop(stopping.wait_for(|stopping| *stopping).await) });
    let mut deadline = std::pin::pin!(tokio::time::sleep(Duration::from_secs(query.wait.min(WATCH_WAIT_S_MAX))));
    loop {
        let found = console.store().changes(since, limit).await?;
        if !found.is_empty() {
            return shown(&view(since, &found));
        }
        tokio::select! {
            () = &mut deadline => return shown(&view(since, &[])),
            () = &mut stop => return shown(&view(since, &[])),
            () = logged(&mut hints) => {}
        }
    }
}

fn view(since: u64, changes: &[crate::store::Change]) -> ChangesView {
    let last = changes.last().map_or(since, |c| c.id);
    ChangesView { last, changes: changes.iter().map(ChangeView::from).collect() }
}

/// Waits until there may be something new in the log.
async fn logged(hints: &mut tokio::sync::broadcast::Receiver<Hint>) {
    loop {
        match hints.recv().await {
            Ok(Hint::Log | Hint::All) | Err(RecvError::Lagged(_)) => return,
            Ok(_) => {}
            Err(RecvError::Closed) => return std::future::pending().await,
        }
    }
}

pub(super) async fn operators(State(console): State<Console>, _: Admin) -> Result<Response, Problem> {
    shown(&console.store().operators().await?.iter().map(OperatorView::from).collect::<Vec<_>>())
}

pub(super) async fn add_operator(
    State(console): State<Console>,
    Admin(operator): Admin,
    Json(body): Json<OperatorBody>,
) -> Result<Response, Problem> {
    let role: Role = parsed("role", &body.role)?;
    // A name stands in addresses and in the log behind `operator:`.
    let name: ApplianceId = parsed("name", &body.name)?;
    if name.as_str().len() > OPERATOR_BYTES_MAX {
        return Err(Problem::bad(format!("name: expected at most {OPERATOR_BYTES_MAX} bytes")));
    }
    let mut random = [0; 40];
    getrandom::fill(&mut random)
        .map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "there are no random numbers"))?;
    let token = Token::new(&random);
    console.store().add_operator(name.as_str(), role, &token, &actor(&operator), console.now()).await?;
    answer(StatusCode::CREATED, &TokenView { name: name.to_string(), token: token.reveal() })
}

pub(super) async fn remove_operator(
    State(console): State<Console>,
    Admin(operator): Admin,
    Part(name): Part<String>,
) -> Result<Response, Problem> {
    console.store().remove_operator(&name, &actor(&operator), console.now()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
