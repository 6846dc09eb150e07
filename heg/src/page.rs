//! The presentation page (UDA 1.1, 5): who the gateway is, its appliances, the last events. Read only, no script, nothing loaded
//! from elsewhere; it works on a phone. PURE.
#![forbid(unsafe_code)]

use std::fmt::Write as _;

use daemon_kit::html::Escaped;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::gateway::Gateway;
use crate::journal::{Entry, action_words};
use crate::now::local;
use crate::registrations::{Registration, Wish};
use crate::registry::{Appliance, state_word};

const STYLE: &str = "body{font:16px/1.4 sans-serif;margin:1em auto;max-width:60em;padding:0 1em}\
    table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3em .6em .3em 0;vertical-align:top;\
    border-bottom:1px solid #ccc}.ON{color:#06770b;font-weight:bold}.Unknown{color:#a40000}small{color:#555}\
    @media(max-width:40em){td,th{display:block;border:0;padding:.1em 0}tr{display:block;border-bottom:1px solid #ccc;\
    padding:.4em 0}thead{display:none}}";

/// What the page shows.
#[derive(Debug)]
pub struct Page<'a> {
    /// The gateway's name.
    pub name: &'a str,
    /// Its UDN.
    pub udn: &'a str,
    /// The line `systemctl status` shows.
    pub status: &'a str,
    /// Registry and registrations.
    pub gateway: &'a Gateway,
    /// Last journal entries, oldest first.
    pub recent: &'a [Entry],
    /// When the page is made.
    pub now: Timestamp,
}

impl Page<'_> {
    /// The page. Everything that came from a network or a person is escaped.
    pub fn html(&self) -> String {
        let mut html = String::with_capacity(4096);
        // Writing to a String cannot fail.
        let _ = self.write(&mut html);
        html
    }

    fn write(&self, html: &mut String) -> std::fmt::Result {
        let zone = self.gateway.zone();
        let name = Escaped(self.name);
        write!(
            html,
            "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
             content=\"width=device-width, initial-scale=1\"><title>{name}</title><style>{STYLE}</style></head><body>\
             <h1>{name}</h1><p>{}<br><small>Home Energy Gateway {} &middot; {} &middot; {}</small></p>",
            Escaped(self.status),
            env!("CARGO_PKG_VERSION"),
            Escaped(self.udn),
            local(self.now, zone),
        )?;
        html.push_str("<h2>Appliances</h2>");
        if self.gateway.registry().is_empty() {
            html.push_str("<p>None found yet.</p>");
        } else {
            html.push_str("<table><thead><tr><th>Appliance<th>State<th>Since<th>Details</thead><tbody>");
            for appliance in self.gateway.registry().iter() {
                self.row(html, appliance, zone)?;
            }
            html.push_str("</tbody></table>");
        }
        html.push_str("<h2>Last events</h2>");
        if self.recent.is_empty() {
            html.push_str("<p>None yet.</p>");
        } else {
            html.push_str("<table><thead><tr><th>Time<th>Appliance<th>Action<th>Outcome</thead><tbody>");
            for entry in self.recent.iter().rev() {
                self.event(html, entry, zone)?;
            }
            html.push_str("</tbody></table>");
        }
        html.push_str("</body></html>");
        Ok(())
    }

    fn row(&self, html: &mut String, appliance: &Appliance, zone: &TimeZone) -> std::fmt::Result {
        let profile = appliance.profile();
        let state = state_word(profile.state);
        write!(
            html,
            "<tr><td>{}<br><small>{}</small><td class=\"{state}\">{state}<td>{}<td>",
            Escaped(self.gateway.name_of(appliance)),
            Escaped([&*profile.maker, &*profile.model].join(" ").trim()),
            local(profile.since, zone),
        )?;
        let mut details = Vec::new();
        if let (None, Some(last)) = (profile.state, profile.last_known) {
            details.push(format!("was {last}"));
        }
        if appliance.is_asleep() {
            details.push("asleep".to_owned());
        }
        if let Some(power) = profile.power.filter(|_| appliance.is_reachable()) {
            details.push(format!("{power} W"));
        }
        details.extend(self.gateway.registrations().of(appliance.udn()).map(wish));
        write!(html, "{}</tr>", Escaped(&details.join("; ")))
    }

    fn event(&self, html: &mut String, entry: &Entry, zone: &TimeZone) -> std::fmt::Result {
        let appliance = entry.udn.as_ref().map(|udn| match self.gateway.registry().get(udn) {
            Some(appliance) => self.gateway.name_of(appliance),
            None => udn.bare(),
        });
        let separator = if entry.reason.is_empty() { "" } else { ": " };
        write!(
            html,
            "<tr><td>{}<td>{}<td>{} <small>{}</small><td>{}{separator}{}</tr>",
            local(entry.at, zone),
            Escaped(appliance.unwrap_or("")),
            Escaped(&action_words(&entry.action, zone)),
            Escaped(&entry.cause.to_string()),
            entry.ending,
            Escaped(&entry.reason),
        )
    }
}

fn wish(registration: &Registration) -> String {
    match registration.wish {
        Wish::WakeUp(at) => format!("wakes at {at}"),
        Wish::NoStandby(w) => format!("no standby {w}"),
        Wish::Standby(w) => format!("standby {w}"),
    }
}
