//! What people read: tables and lines. With `--json` the server's own JSON passes through as it came.

use std::fmt::Display;
use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use utility::api::*;
use utility::rules::DryStep;

pub(crate) struct Output {
    zone: TimeZone,
}

impl Output {
    pub(crate) fn new(zone: TimeZone) -> Self {
        Self { zone }
    }

    pub(crate) fn status(&self, s: &StatusView) -> io::Result<()> {
        pairs(&[
            ("Version", s.version.clone()),
            ("Database", s.store.clone()),
            ("Sites", format!("{}, {} live", s.sites, s.sites_live)),
            ("Rules", s.rules.to_string()),
            ("Last change", s.last_change.to_string()),
        ])?;
        s.troubles.iter().try_for_each(|trouble| line(format!("TROUBLE      {}", clean(trouble))))
    }

    pub(crate) fn sites(&self, sites: &[SiteView]) -> io::Result<()> {
        if sites.is_empty() {
            return line("no sites");
        }
        let mut table = table(["UUID", "NAME", "ZONE", "GROUP", "CONTACT", "LAST CONTACT"]);
        for s in sites {
            let last = s.last_contact.as_deref().map(|t| self.local(t)).unwrap_or_default();
            table.add_row([s.id.clone(), clean(&s.name), s.zone.clone(), s.group.clone(), s.contact.clone(), last]);
        }
        print(&table)
    }

    pub(crate) fn site(&self, detail: &SiteDetail) -> io::Result<()> {
        let s = &detail.site;
        let moment = |t: &Option<String>| t.as_deref().map_or("never".to_owned(), |t| self.local(t));
        pairs(&[
            ("UUID", s.id.clone()),
            ("Name", clean(&s.name)),
            ("Zone", s.zone.clone()),
            ("Group", s.group.clone()),
            ("Contact", s.contact.clone()),
            ("Heard", moment(&s.last_contact)),
            ("Reported", moment(&s.last_report)),
            ("Taken up", self.local(&s.added)),
        ])?;
        if detail.appliances.is_empty() {
            return line("\nno appliances reported");
        }
        line("")?;
        let mut table = table(["APPLIANCE", "NAME", "STATE", "SINCE", "POWER", "IMPORTANCE", "CONTROL"]);
        for a in &detail.appliances {
            table.add_row([
                clean(&a.id),
                clean(&a.name),
                a.state.clone(),
                self.local(&a.since),
                a.power_w.map(|w| format!("{w} W")).unwrap_or_default(),
                a.importance.clone().unwrap_or_default(),
                if a.consents { "allowed" } else { "no" }.to_owned(),
            ]);
        }
        print(&table)?;
        if detail.decisions.is_empty() {
            return Ok(());
        }
        line("")?;
        let mut table = self::table(["DECIDED", "APPLIANCE", "WHAT", "BY", "OUTCOME", "WHY"]);
        for d in &detail.decisions {
            let words = [&d.appliance, &d.action, &d.cause, &d.outcome, &d.reason].map(|word| clean(word));
            let [appliance, action, cause, outcome, reason] = words;
            table.add_row([self.local(&d.at), appliance, action, cause, outcome, reason]);
        }
        print(&table)
    }

    /// What a gateway enrols with, for a phone and for people.
    pub(crate) fn token(&self, token: &str, with_code: bool) -> io::Result<()> {
        line(format!("{}{}", with_code.then(|| qr(token)).flatten().unwrap_or_default(), clean(token)))
    }

    pub(crate) fn keys(&self, k: &KeysView) -> io::Result<()> {
        pairs(&[
            ("Utility", k.id.clone()),
            ("KMC", k.kmc.clone()),
            ("Statement", format!("{}, {} to {}", k.serial, self.local(&k.from), self.local(&k.until))),
            ("Signing key", k.signing_key.clone()),
            ("Sealing key", k.sealing_key.clone()),
            (
                "Key before",
                k.previous_until.as_deref().map_or("none".to_owned(), |t| format!("until {}", self.local(t))),
            ),
            ("Policy", k.policy.to_string()),
            ("Revocations", k.revocations.to_string()),
        ])
    }

    pub(crate) fn site_keys(&self, k: &SiteKeysView) -> io::Result<()> {
        if k.renew {
            line("the next keys are let in without the old ones' word")?;
        }
        if let Some(host) = &k.host {
            line(format!("reached at {}", clean(host)))?;
        }
        if k.statements.is_empty() {
            return line("no keys are known: its gateway has not been heard yet");
        }
        let mut table = table(["STATEMENT", "SIGNING KEY", "FROM", "UNTIL", "STANDING"]);
        for s in &k.statements {
            let (from, until) = (self.local(&s.from), self.local(&s.until));
            table.add_row([s.serial.to_string(), s.signing_key.clone(), from, until, s.standing.clone()]);
        }
        print(&table)
    }

    pub(crate) fn policy(&self, p: &PolicyView) -> io::Result<()> {
        let days = |seconds: u64| format!("{} days", seconds / 86_400);
        pairs(&[
            ("Version", p.version.to_string()),
            ("Until", p.until.as_deref().map_or("none holds".to_owned(), |t| self.local(t))),
            ("Signing key", days(p.sig_key_s)),
            ("Sealing key", days(p.kem_key_s)),
            ("Message", format!("{} s", p.message_s)),
            ("Skew", format!("{} s", p.skew_s)),
            ("Refresh", format!("{} s", p.refresh_s)),
        ])
    }

    pub(crate) fn consumption(&self, intervals: &[IntervalView]) -> io::Result<()> {
        if intervals.is_empty() {
            return line("nothing is known of that time");
        }
        let mut table = table(["START", "LENGTH", "ENERGY"]);
        for i in intervals {
            let energy = i.energy_wh.map_or("lost".to_owned(), |wh| format!("{wh} Wh"));
            table.add_row([self.local(&i.start), format!("{} s", i.length_s), energy]);
        }
        print(&table)
    }

    pub(crate) fn published(&self, p: &Published) -> io::Result<()> {
        let s = &p.prices;
        let what = format!(
            "{} prices of {} s in {}, {} to {}",
            s.prices_milli.len(),
            s.slot_s,
            s.zone,
            self.local(&s.start),
            self.local(&s.end)
        );
        match p.version {
            0 => line(format!("sound: {what}")),
            version => line(format!("published as version {version}: {what}")),
        }
    }

    pub(crate) fn prices(&self, all: &[PricesView]) -> io::Result<()> {
        if all.is_empty() {
            return line("no prices that are not over");
        }
        for p in all {
            let (by, at) = (p.by.as_deref().unwrap_or_default(), p.published.as_deref().unwrap_or_default());
            line(format!("version {}, {} per {}, published {} by {by}", p.version, p.currency, p.per, self.local(at)))?;
            let mut table = table(["START", "PRICE"]);
            let start: Option<Timestamp> = p.start.parse().ok();
            for (i, milli) in (0i64..).zip(&p.prices_milli) {
                let seconds = i.saturating_mul(p.slot_s.into());
                let at = start.and_then(|s| s.checked_add(jiff::SignedDuration::from_secs(seconds)).ok());
                let at = at.map(|at| self.local(&at.to_string())).unwrap_or_default();
                table.add_row([at, decimal(*milli)]);
            }
            print(&table)?;
        }
        Ok(())
    }

    pub(crate) fn limits(&self, limits: &[LimitView]) -> io::Result<()> {
        if limits.is_empty() {
            return line("no limits");
        }
        let mut table =
            table(["NUMBER", "TARGET", "STATUS", "LIMIT", "START", "LASTS", "PRIORITY", "SPREAD", "BY", "REASON"]);
        for l in limits {
            table.add_row([
                l.id.to_string(),
                l.target.clone(),
                l.status.clone(),
                format!("{} W", l.watts),
                self.local(&l.start),
                l.duration_s.map_or("until cancelled".to_owned(), |s| format!("{s} s")),
                l.priority.to_string(),
                format!("{} s", l.randomise_s),
                clean(&l.by),
                clean(&l.reason),
            ]);
        }
        print(&table)
    }

    pub(crate) fn responses(&self, r: &ResponsesView) -> io::Result<()> {
        if r.counts.is_empty() {
            return line("no home has answered yet");
        }
        r.counts.iter().try_for_each(|c| line(format!("{} {}", c.homes, c.outcome)))?;
        r.refused.iter().try_for_each(|f| line(format!("{} refused ({}): {}", f.site, f.code, clean(&f.reason))))
    }

    pub(crate) fn controls(&self, controls: &[ControlView]) -> io::Result<()> {
        if controls.is_empty() {
            return line("no controls");
        }
        let mut table = table(["NUMBER", "SITE", "APPLIANCE", "ACTION", "PROGRESS", "SINCE", "BY", "WHY NOT"]);
        for c in controls {
            table.add_row([
                c.id.to_string(),
                c.site.clone(),
                clean(&c.appliance),
                c.action.clone(),
                c.progress.clone(),
                self.local(&c.progressed),
                clean(&c.by),
                refusal(c),
            ]);
        }
        print(&table)
    }

    /// What became of a control: good news to stdout, bad news to stderr.
    pub(crate) fn outcome(&self, c: &ControlView) -> io::Result<()> {
        let why = refusal(c);
        let text = if why.is_empty() { c.progress.clone() } else { format!("{} {why}", c.progress) };
        if matches!(c.progress.as_str(), "refused" | "expired" | "cancelled") {
            writeln!(io::stderr(), "control {}: {text}", c.id)
        } else {
            line(format!("control {}: {text}", c.id))
        }
    }

    pub(crate) fn rules(&self, rules: &[RuleView]) -> io::Result<()> {
        if rules.is_empty() {
            return line("no rules");
        }
        for r in rules {
            line(format!("{}: {}", clean(&r.name), r.words))?;
            if let Some(id) = r.limit {
                line(format!("    limit {id}"))?;
            }
            if !r.why.is_empty() {
                line(format!("    {}", r.why))?;
            }
        }
        Ok(())
    }

    pub(crate) fn dry_run(&self, steps: &[DryStep]) -> io::Result<()> {
        if steps.is_empty() {
            return line("the rules would do nothing");
        }
        for s in steps {
            let at = Timestamp::from_second(i64::try_from(s.at).unwrap_or(0)).unwrap_or(Timestamp::UNIX_EPOCH);
            line(format!("{}  {}  {}: {}", self.local(&at.to_string()), clean(&s.rule), s.does, s.why))?;
        }
        Ok(())
    }

    pub(crate) fn change(&self, c: &ChangeView) -> io::Result<()> {
        let detail =
            if c.detail.as_object().is_some_and(|o| o.is_empty()) { String::new() } else { c.detail.to_string() };
        let subject = clean(&c.subject);
        line(format!("{}  {}  {}  {}  {subject}  {detail}", c.id, self.local(&c.at), clean(&c.actor), c.action))
    }

    pub(crate) fn operators(&self, operators: &[OperatorView]) -> io::Result<()> {
        let mut table = table(["NAME", "ROLE", "MADE", "BY"]);
        for o in operators {
            table.add_row([clean(&o.name), o.role.clone(), self.local(&o.made), clean(&o.by)]);
        }
        print(&table)
    }

    /// A moment of the API as local date and time.
    fn local(&self, moment: &str) -> String {
        match moment.parse::<Timestamp>() {
            Ok(at) => self.zone.to_datetime(at).strftime("%Y-%m-%d %H:%M:%S").to_string(),
            Err(_) => moment.to_owned(),
        }
    }
}

fn refusal(c: &ControlView) -> String {
    match (&c.code, &c.why) {
        (Some(code), Some(why)) => format!("({code}): {}", clean(why)),
        _ => String::new(),
    }
}

fn decimal(milli: i64) -> String {
    let sign = if milli < 0 { "-" } else { "" };
    format!("{sign}{}.{:03}", milli.unsigned_abs() / 1000, milli.unsigned_abs() % 1000)
}

/// Names and reasons come from the network: no control character of theirs reaches the terminal.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn pairs(pairs: &[(&str, String)]) -> io::Result<()> {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    pairs.iter().try_for_each(|(name, value)| line(format!("{name:width$}  {value}")))
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(header);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

fn print(table: &Table) -> io::Result<()> {
    line(table.trim_fmt())
}

pub(crate) fn line(text: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// A QR code in half blocks, in bright white on black whatever the terminal's colours are: the light modules are drawn. None for a text too
/// long for one.
fn qr(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text.to_ascii_uppercase(), EcLevel::M).ok()?;
    let image = code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
    Some(image.lines().map(|line| format!("\x1b[97;40m{line}\x1b[0m\n")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousandths_are_shown_as_decimals_with_their_sign() {
        assert_eq!([0, -5, 556_680, -53_400].map(decimal), ["0.000", "-0.005", "556.680", "-53.400"]);
    }
}
