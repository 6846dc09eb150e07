//! `/healthz` and `/metrics` (Prometheus text format 0.0.4) on the local listener.

use std::fmt::Write as _;

use secure_http::{Role, Steps};

use crate::api::role_word;
use crate::centre::{Centre, Counts, Now};
use crate::exchange::{Request, Response};

const TEXT: &str = "text/plain; charset=utf-8";

/// Answers a request on the local listener; none for other paths.
pub fn answer(request: &Request, centre: &mut Centre, now: Now) -> Option<Response> {
    match (request.reads, request.path.as_str()) {
        (true, "/healthz") => Some(health(centre)),
        (true, "/metrics") => Some(metrics(centre, now)),
        _ => None,
    }
}

/// 503 while the centre can't do all it is there for.
fn health(centre: &Centre) -> Response {
    match centre.troubles() {
        [] => Response::text(200, TEXT, "ok\n".to_owned()),
        troubles => Response::text(503, TEXT, troubles.join("\n") + "\n"),
    }
}

fn metrics(centre: &mut Centre, now: Now) -> Response {
    let holdings = match centre.holdings(now.unix()) {
        Ok(holdings) => holdings,
        Err(error) => return Response::text(500, TEXT, format!("{error}\n")),
    };
    let mut out = String::new();
    let mut family = |name: &str, kind: &str, help: &str, samples: &[(String, u64)]| {
        // Writing to a string does not fail.
        let _ = writeln!(out, "# HELP heg_kmc_{name} {help}\n# TYPE heg_kmc_{name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(out, "heg_kmc_{name}{labels} {value}");
        }
    };
    let plain = |value| [(String::new(), value)];
    let label = |name: &str, word: &str| format!("{{{name}=\"{word}\"}}");
    let Counts {
        broadcasts,
        sealed,
        sealed_errors,
        refused,
        challenged,
        limited,
        faults,
        enrolled,
        rolled_over,
        orders_done,
        orders_refused,
    } = centre.counts();
    let answers = [
        ("broadcast", broadcasts),
        ("sealed", sealed),
        ("sealed-error", sealed_errors),
        ("refused", refused),
        ("challenged", challenged),
        ("limited", limited),
        ("fault", faults),
    ];
    family(
        "answers_total",
        "counter",
        "Requests by how they were answered.",
        &answers.map(|(w, n)| (label("how", w), n)),
    );
    let Steps { offered, parsed, fresh, known, verified, committed, opened } = centre.steps();
    let steps = [
        ("offered", offered),
        ("parsed", parsed),
        ("fresh", fresh),
        ("known", known),
        ("verified", verified),
        ("committed", committed),
        ("opened", opened),
    ];
    family(
        "messages_total",
        "counter",
        "Sealed messages by how far they got.",
        &steps.map(|(w, n)| (label("step", w), n)),
    );
    family("enrolled_total", "counter", "Statements that became active by enrolment.", &plain(enrolled));
    family("rolled_over_total", "counter", "Statements that became active by roll-over.", &plain(rolled_over));
    let orders = [(label("how", "done"), orders_done), (label("how", "refused"), orders_refused)];
    family("orders_total", "counter", "Orders of utilities by what came of them.", &orders);
    let active: Vec<_> = holdings
        .active
        .iter()
        .filter_map(|(role, n)| Role::from_number(*role).map(|role| (label("role", role_word(role)), *n)))
        .collect();
    family("statements", "gauge", "Statements in force.", &active);
    family("revoked", "gauge", "Statements on the revocation list.", &plain(holdings.revoked as u64));
    family("tokens_open", "gauge", "Tokens that could still be used.", &plain(holdings.open_tokens.into()));
    family("evidence", "gauge", "Messages archived.", &plain(holdings.evidence));
    family("audit_entries", "counter", "Entries of the audit log.", &plain(holdings.audit.map_or(0, |e| e.seq)));
    let [root, issuing, _] = centre.own_statements().map(|s| s.validity().until().0);
    let ends = [(label("key", "root"), root), (label("key", "issuing"), issuing)];
    family("key_ends_seconds", "gauge", "When a key's statement ends, seconds since 1970.", &ends);
    family("troubles", "gauge", "Things that go wrong now.", &plain(centre.troubles().len() as u64));
    Response::text(200, "text/plain; version=0.0.4; charset=utf-8", out)
}
