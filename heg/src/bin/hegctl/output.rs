//! What people read: tables and lines. With `--json` the gateway's own JSON passes through as it came.

use std::fmt::Display;
use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table, presets};
use heg::api::prices::PricesView;
use heg::api::utility::{LimitView, UtilityView};
use heg::api::{ApplianceView, EntryView, OutcomeView, RegistrationView, StatusView, WatchLine};
use heg::journal::action_words;
use heg::now::local;
use jiff::Timestamp;
use jiff::tz::TimeZone;

pub(crate) struct Output {
    json: bool,
    zone: TimeZone,
}

impl Output {
    pub(crate) fn new(json: bool, zone: TimeZone) -> Self {
        Self { json, zone }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    pub(crate) fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// One line as it came.
    pub(crate) fn raw(&self, json: &str) -> io::Result<()> {
        line(json)
    }

    pub(crate) fn status(&self, s: &StatusView) -> io::Result<()> {
        let mut pairs = Pairs::default();
        pairs.add("Gateway", &s.name);
        pairs.add("UDN", &s.udn);
        pairs.add("Version", &s.version);
        pairs.add("Status", &s.status);
        pairs.add("Interfaces", if s.interfaces.is_empty() { "none".to_owned() } else { s.interfaces.join(", ") });
        pairs.add("HTTP port", s.http_port);
        pairs.add("Time zone", &s.time_zone);
        pairs.add("Running for", span(s.uptime_s));
        pairs.add("Subscribers", s.subscribers);
        for command in &s.commands {
            pairs.add("Under way", format!("{} for {} ({})", command.action, command.name, command.cause));
        }
        for trouble in &s.troubles {
            pairs.add("TROUBLE", trouble);
        }
        for note in &s.notes {
            pairs.add("Note", note);
        }
        pairs.print()?;
        if !s.recent.is_empty() {
            line("\nLast events")?;
            self.journal(&s.recent)?;
        }
        Ok(())
    }

    pub(crate) fn appliances(&self, appliances: &Vec<ApplianceView>) -> io::Result<()> {
        if appliances.is_empty() {
            return line("no appliances found yet");
        }
        let mut table = table(["NAME", "STATE", "SINCE", "CONTACT", "POWER", "ADDRESS", "UDN"]);
        for a in appliances {
            table.add_row([
                clean(&a.name),
                a.state.clone(),
                self.local(&a.since),
                contact(a),
                a.power_w.filter(|_| a.reachable).map(|w| format!("{w} W")).unwrap_or_default(),
                a.address.clone().unwrap_or_default(),
                a.udn.trim_start_matches("uuid:").to_owned(),
            ]);
        }
        print(&table)
    }

    /// For shells to complete.
    pub(crate) fn names(&self, appliances: &[ApplianceView]) -> io::Result<()> {
        appliances.iter().try_for_each(|a| line(&clean(&a.name)))
    }

    pub(crate) fn appliance(&self, a: &ApplianceView) -> io::Result<()> {
        let mut pairs = Pairs::default();
        pairs.add("Name", clean(&a.name));
        pairs.add("UDN", &a.udn);
        pairs.add("State", format!("{} since {}", a.state, self.local(&a.since)));
        if a.state == "Unknown" {
            pairs.maybe("Last known", a.last_known);
        }
        pairs.add("Contact", contact(a));
        pairs.maybe("Last seen", a.last_seen.as_deref().map(|at| self.local(at)));
        pairs.add("Known by", &a.known_by);
        pairs.add("Model", clean(format!("{} {}", a.maker, a.model).trim()));
        pairs.maybe("Address", a.address.as_ref());
        pairs.maybe("MAC", a.mac.as_ref());
        pairs.maybe("Woken by", a.wake_method.as_ref());
        pairs.maybe("Rated power", a.rated_power_w.map(|w| format!("{w} W")));
        pairs.maybe("Power now", a.power_w.map(|w| format!("{w} W")));
        pairs.maybe("Importance", a.importance.as_ref());
        pairs.maybe("Flexibility", a.flexibility.as_ref());
        pairs.maybe("Minimum on", a.minimum_on_s.map(|s| format!("{s} s")));
        pairs.maybe("Minimum off", a.minimum_off_s.map(|s| format!("{s} s")));
        if !a.last_refusal.is_empty() {
            pairs.add("Last refusal", clean(&a.last_refusal));
        }
        pairs.print()?;
        if !a.registrations.is_empty() {
            line("\nScheduled every day")?;
            self.registrations(&a.registrations)?;
        }
        Ok(())
    }

    pub(crate) fn registrations(&self, all: &Vec<RegistrationView>) -> io::Result<()> {
        if all.is_empty() {
            return line("nothing is scheduled");
        }
        let mut table = table(["REGID", "KEPT BY", "ACTION", "START", "STOP", "MADE BY", "NEXT"]);
        for r in all {
            table.add_row([
                r.reg_id.to_string(),
                r.kept_by.clone(),
                r.action.clone(),
                r.start.to_string(),
                r.stop.map(|t| t.to_string()).unwrap_or_default(),
                r.by.clone(),
                r.due.as_deref().map(|at| self.local(at)).unwrap_or_default(),
            ]);
        }
        print(&table)
    }

    pub(crate) fn journal(&self, entries: &Vec<EntryView>) -> io::Result<()> {
        if entries.is_empty() {
            return line("no entries");
        }
        let mut table = table(["TIME", "APPLIANCE", "ACTION", "CAUSE", "OUTCOME", "REASON"]);
        for e in entries {
            table.add_row([
                self.local(&e.time),
                clean(e.name.as_deref().unwrap_or("-")),
                action_words(&e.action, &self.zone),
                e.cause.clone(),
                e.outcome.clone(),
                clean(&e.reason),
            ]);
        }
        print(&table)
    }

    pub(crate) fn utility(&self, u: &UtilityView) -> io::Result<()> {
        let mut pairs = Pairs::default();
        let at = |moment: &Option<String>| moment.as_deref().map(|at| self.local(at));
        let enrolled = match (u.enrolled, u.enrolling) {
            (_, true) => "being enrolled".to_owned(),
            (true, false) => format!("yes, as {}", u.home),
            (false, false) => "no; `hegctl enrol TOKEN` does it".to_owned(),
        };
        pairs.add("Enrolled", enrolled);
        pairs.maybe("Key centre", u.kmc.as_ref());
        pairs.maybe("Its trouble", u.kmc_trouble.as_deref().map(clean));
        pairs.maybe("Utility", u.utility.as_ref());
        pairs.maybe("Address", u.address.as_ref());
        if u.utility.is_some() {
            pairs.add(
                "Last heard",
                at(&u.heard).unwrap_or_else(|| "never".to_owned()) + if u.lost { " (lost)" } else { "" },
            );
            pairs.add("Time", at(&u.time).unwrap_or_else(|| "not known yet".to_owned()));
        }
        if u.enrolled {
            let until = at(&u.policy_until).map(|until| format!(", until {until}")).unwrap_or_default();
            pairs.add(
                "Policy",
                if u.policy == 0 { "none yet".to_owned() } else { format!("version {}{until}", u.policy) },
            );
            pairs.maybe("Own statement", at(&u.statement_until).map(|until| format!("until {until}")));
            pairs.maybe("Signing key", at(&u.signing_key_since).map(|since| format!("since {since}")));
            pairs.maybe("Sealing key", at(&u.sealing_key_since).map(|since| format!("since {since}")));
        }
        if u.utility.is_some() {
            let limit = u.limit.as_ref().map_or_else(|| "none".to_owned(), |limit| self.limit(limit));
            pairs.add("Limit in force", limit);
            for limit in u.limits.iter().filter(|l| !l.cancelled && u.limit.as_ref().is_none_or(|now| now.id != l.id)) {
                pairs.add("Limit", self.limit(limit));
            }
            let zone = u.zone.as_deref().map(|zone| format!(" in {zone}")).unwrap_or_default();
            pairs.add("Price now", format!("{}{zone}", u.price.as_deref().unwrap_or("not known")));
            pairs.maybe("Prices until", at(&u.prices_until));
            for control in &u.controls {
                let (id, appliance, action) = (control.id, clean(&control.appliance), &control.action);
                pairs.add("Control", format!("{id}: {appliance} {action}, expires {}", self.local(&control.expires)));
            }
            let since = at(&u.unacknowledged_since).map(|since| format!(", since {since}")).unwrap_or_default();
            pairs.add("Reports waiting", format!("{}{since}", u.unacknowledged));
            pairs.maybe("Last failure", u.last_failure.as_deref().map(clean));
            pairs.maybe("Last refusal", u.last_refusal.as_deref().map(clean));
        }
        let allowed: Vec<_> = u.consent.iter().filter(|c| c.allowed).map(|c| clean(&c.name)).collect();
        pairs.add("May control", if allowed.is_empty() { "nothing".to_owned() } else { allowed.join(", ") });
        for stale in &u.stale {
            pairs.add("OUT OF DATE", clean(stale));
        }
        pairs.print()
    }

    fn limit(&self, l: &LimitView) -> String {
        let end = l.end.as_deref().map_or_else(|| "called off".to_owned(), |end| self.local(end));
        format!("{} W from {} until {end} (number {})", l.watts, self.local(&l.start), l.id)
    }

    pub(crate) fn prices(&self, p: &PricesView) -> io::Result<()> {
        let per = format!("{}/{}", p.currency.as_deref().unwrap_or("?"), p.per);
        let mut pairs = Pairs::default();
        match (p.now, &p.source) {
            (Some(now), Some(source)) => pairs.add("now", format!("{now} {per} from {source}")),
            _ => pairs.add("now", "no price"),
        }
        pairs.maybe("until", p.until.as_deref().map(|at| self.local(at)));
        pairs.maybe("confirmed", p.confirmed.as_deref().map(|at| self.local(at)));
        for stale in &p.stale {
            pairs.add("stale", clean(stale));
        }
        for trouble in &p.troubles {
            pairs.add("trouble", clean(trouble));
        }
        for missing in &p.missing {
            let (from, until) = (self.local(&missing.from), self.local(&missing.until));
            pairs.add("missing", format!("{from} to {until}: {}", missing.why));
        }
        pairs.print()?;
        let mut table = table(["FROM", "TO", &format!("PRICE {per}"), "SOURCE"]);
        for slot in &p.slots {
            table.add_row([
                self.local(&slot.from),
                self.local(&slot.until),
                slot.price.map_or_else(|| "-".to_owned(), |price| price.to_string()),
                slot.source.clone().unwrap_or_else(|| "-".to_owned()),
            ]);
        }
        line("")?;
        print(&table)
    }

    /// What became of an order: good news to stdout, bad news to stderr.
    pub(crate) fn outcome(&self, o: &OutcomeView) -> io::Result<()> {
        let mut text = o.outcome.clone();
        if let Some(code) = o.code {
            text += &format!(" ({code})");
        }
        if !o.reason.is_empty() {
            text += &format!(": {}", clean(&o.reason));
        }
        if let Some(reg) = o.reg_id {
            text += &format!(": RegID {reg}, kept by the {}", o.kept_by.as_deref().unwrap_or("gateway"));
        }
        if matches!(o.outcome.as_str(), "done" | "already") { line(&text) } else { writeln!(io::stderr(), "{text}") }
    }

    pub(crate) fn watch(&self, watched: &WatchLine) -> io::Result<()> {
        match watched {
            WatchLine::Appliance { appliance: a } => {
                let power = a.power_w.filter(|_| a.reachable).map(|w| format!(", {w} W")).unwrap_or_default();
                line(&format!("{}  {}  {} ({}{power})", self.local(&a.since), clean(&a.name), a.state, contact(a)))
            }
            WatchLine::Forgotten { udn } => line(&format!("forgotten  {udn}")),
            WatchLine::Ready => line("-- watching --"),
            WatchLine::Decision { decision } => {
                line(&format!("{}  {}", clean(&decision.name), self.decision(decision)))
            }
            WatchLine::Plan { plan } => self.plan_changed(plan),
            WatchLine::Journal { entry: e } => {
                let reason = if e.reason.is_empty() { String::new() } else { format!(": {}", clean(&e.reason)) };
                let name = clean(e.name.as_deref().unwrap_or("-"));
                line(&format!(
                    "{}  {name}  {} by {}: {}{reason}",
                    self.local(&e.time),
                    action_words(&e.action, &self.zone),
                    e.cause,
                    e.outcome
                ))
            }
        }
    }

    /// A moment of the API as local date and time, as [`local`] shows it.
    pub(crate) fn local(&self, moment: &str) -> String {
        match moment.parse::<Timestamp>() {
            Ok(at) => local(at, &self.zone),
            Err(_) => moment.to_owned(),
        }
    }
}

fn contact(a: &ApplianceView) -> String {
    let word = match (a.reachable, a.subscribed, a.state.as_str()) {
        (true, true, _) => "live",
        (true, false, _) => "no events",
        (false, _, "Standby" | "OFF") => "asleep",
        (false, ..) => "lost",
    };
    word.to_owned()
}

/// Names and reasons come from the network: no control character of theirs reaches the terminal.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, m) => format!("{m} min"),
        (0, h, m) => format!("{h} h {m} min"),
        (d, h, _) => format!("{d} d {h} h"),
    }
}

pub(crate) fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(header);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

pub(crate) fn print(table: &Table) -> io::Result<()> {
    line(&table.trim_fmt())
}

pub(crate) fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Names and values, one pair a line.
#[derive(Default)]
pub(crate) struct Pairs(Vec<(&'static str, String)>);

impl Pairs {
    pub(crate) fn add(&mut self, name: &'static str, value: impl Display) {
        self.0.push((name, value.to_string()));
    }

    pub(crate) fn maybe(&mut self, name: &'static str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.add(name, value);
        }
    }

    pub(crate) fn print(self) -> io::Result<()> {
        let width = self.0.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in self.0 {
            line(&format!("{name:width$}  {value}"))?;
        }
        Ok(())
    }
}
