//! The presentation page (PURE): who this is, its state, what happened last. It reads and changes nothing, and loads nothing
//! from elsewhere.
#![forbid(unsafe_code)]

use core::fmt::Write as _;

use daemon_kit::html::Escaped;

use crate::status::{Status, span};

const STYLE: &str = "body{font:16px/1.4 system-ui,sans-serif;max-width:46rem;margin:1.5rem auto;padding:0 1rem;\
color:#222;background:#fff}h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:1.5rem}\
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.25rem .5rem;border-bottom:1px solid #ddd;\
vertical-align:top}.state{font-size:1.6rem;font-weight:600}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}td,th{border-color:#444}}";

/// The page of a snapshot.
pub fn html(status: &Status) -> String {
    let mut out = String::with_capacity(4096);
    let name = Escaped(&status.name);
    out.push_str("<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\">");
    out.push_str("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">");
    // Writing to a String cannot fail.
    let _ = write!(out, "<title>{name}</title><style>{STYLE}</style></head><body><h1>{name}</h1>");
    let _ = write!(out, "<p class=\"state\">{} for {}</p>", status.power_state, span(status.held_s));
    let wake = status.wake_method.map_or("not known yet".to_owned(), |m| m.to_string());
    let gateways: Vec<_> = status.gateways.iter().filter(|g| g.location.is_some()).map(|g| g.name.as_str()).collect();
    let gateways = if gateways.is_empty() { "none found".to_owned() } else { gateways.join(", ") };
    table(
        &mut out,
        "About",
        &[],
        &[
            vec!["UDN".to_owned(), status.udn.clone()],
            vec!["Operation".to_owned(), format!("{} ({})", status.operation, status.driver)],
            vec!["Wake method".to_owned(), wake],
            vec!["Power".to_owned(), format!("{} W", status.power_w)],
            vec!["Gateway".to_owned(), gateways],
            vec!["Version".to_owned(), status.version.clone()],
        ],
    );
    let events: Vec<_> = status
        .events
        .iter()
        .rev()
        .map(|e| vec![e.at.clone(), format!("{} \u{2192} {}", e.from, e.to), e.cause.clone()])
        .collect();
    table(&mut out, "Last changes", &["When", "State", "Why"], &events);
    let refusals: Vec<_> =
        status.refusals.iter().rev().map(|r| vec![r.at.clone(), r.action.clone(), r.reason.clone()]).collect();
    table(&mut out, "Last refusals", &["When", "Action", "Why"], &refusals);
    out.push_str("</body></html>\n");
    out
}

fn table(out: &mut String, title: &str, heads: &[&str], rows: &[Vec<String>]) {
    let _ = write!(out, "<h2>{}</h2>", Escaped(title));
    if rows.is_empty() {
        out.push_str("<p>None since the start.</p>");
        return;
    }
    out.push_str("<table>");
    if !heads.is_empty() {
        out.push_str("<tr>");
        for head in heads {
            let _ = write!(out, "<th>{}</th>", Escaped(head));
        }
        out.push_str("</tr>");
    }
    for row in rows {
        out.push_str("<tr>");
        for cell in row {
            let _ = write!(out, "<td>{}</td>", Escaped(cell));
        }
        out.push_str("</tr>");
    }
    out.push_str("</table>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_stays_text() {
        let mut out = String::new();
        table(&mut out, "T", &["<h>"], &[vec!["<script>alert('1')</script>&\"".to_owned()]]);
        assert!(!out.contains("<script"));
        assert!(out.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;&quot;"));
        assert!(out.contains("<th>&lt;h&gt;</th>"));
    }
}
