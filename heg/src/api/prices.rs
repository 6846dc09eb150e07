//! What the control API says of prices.

use jiff::ToSpan as _;
use serde::{Deserialize, Serialize};
use tariff::{Price, Source, instant, unix};
use utility_wire::UnixTime;

use super::moment;
use crate::now::Now;
use crate::prices::HomePrices;

/// Answer of `GET /v1/prices`: today and tomorrow by the tariff's clock, and what is known beyond.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PricesView {
    /// Currency of every price (ISO 4217); none as long as none is known.
    pub currency: Option<String>,
    /// The energy every price is for: `kWh`.
    pub per: String,
    /// The price now; none in a gap.
    pub now: Option<f64>,
    /// Where that is from: `utility`, `file`, `feed` or `table`.
    pub source: Option<String>,
    /// Until when that source has prices without a gap; none where it has them for longer than is worked out.
    pub until: Option<String>,
    /// When file or feed were last confirmed.
    pub confirmed: Option<String>,
    /// What is not as new as it should be, each a sentence.
    pub stale: Vec<String>,
    /// What is not well beside that, each a sentence.
    pub troubles: Vec<String>,
    /// Spans without a price.
    pub missing: Vec<MissingView>,
    /// Every slot in order, without a hole.
    pub slots: Vec<PriceSlotView>,
}

/// A span without a price.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct MissingView {
    /// First moment.
    pub from: String,
    /// First moment after it.
    pub until: String,
    /// Why.
    pub why: String,
}

/// A slot.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PriceSlotView {
    /// First moment.
    pub from: String,
    /// First moment after it.
    pub until: String,
    /// Its price, per kWh; it may be negative. None in a gap.
    pub price: Option<f64>,
    /// Where that is from.
    pub source: Option<String>,
}

impl PricesView {
    /// How prices look now.
    pub fn new(home: &HomePrices, now: Now) -> Self {
        let prices = home.prices();
        let zone = &prices.terms().zone;
        let today = zone.to_datetime(now.wall).date();
        let day = |days: i32| {
            let midnight = today.checked_add(days.days()).ok()?.at(0, 0, 0, 0);
            zone.to_ambiguous_timestamp(midnight).compatible().ok().map(unix)
        };
        let at = unix(now.wall);
        let series = [Source::Utility, Source::File, Source::Feed].into_iter().flat_map(|s| prices.series(s));
        let from = day(0).unwrap_or(at);
        let until = series.map(|s| s.end()).chain(day(2)).max().unwrap_or(at);
        let text = |at: UnixTime| moment(instant(at));
        let slots = prices.slots(from, until);
        let holds = slots.iter().find(|s| s.from <= at && at < s.until).and_then(|s| s.priced);
        let coverage = prices.coverage(at);
        let confirmed = prices.confirmed(Source::File).or_else(|| prices.confirmed(Source::Feed));
        Self {
            currency: home.currency().map(|c| c.to_string()),
            per: "kWh".to_owned(),
            now: holds.map(|p| number(p.price)),
            source: holds.map(|p| p.source.to_string()),
            until: coverage.and_then(|(_, until)| until).map(text),
            confirmed: confirmed.map(text),
            stale: home.stale(),
            troubles: home.troubles(),
            missing: prices
                .gaps(from, until)
                .iter()
                .map(|g| MissingView { from: text(g.from), until: text(g.until), why: g.why.to_string() })
                .collect(),
            slots: slots
                .iter()
                .map(|s| PriceSlotView {
                    from: text(s.from),
                    until: text(s.until),
                    price: s.priced.map(|p| number(p.price)),
                    source: s.priced.map(|p| p.source.to_string()),
                })
                .collect(),
        }
    }
}

/// The nearest number that JSON has: it is written with the price's own digits.
fn number(price: Price) -> f64 {
    price.count() as f64 / 1e6
}
