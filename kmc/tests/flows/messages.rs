//! What is done with messages that are not what they should be, and with too many of them.

use http::StatusCode;
use secure_http::code_points::CONTENT_TYPE_SIGN1;
use secure_http::{Draft, KeyRequest, Kind, Sealed, endpoints, seal};
use secure_link::{HttpClient, LinkError};

use crate::daemon::{Daemon, Home, at, party, rng, until};

const NO_LIMIT: &str = "[flood]\nrequests-per-minute = 1000000\n";

/// A question of the home for its own statement, ready to be posted.
fn question(home: &mut Home) -> Sealed {
    let body = KeyRequest { party: Some(home.id), known: None }.encode();
    let (seq, policy, issued) = (home.next(), home.policy.version(), at().guess);
    let draft = Draft { kind: Kind::KeyRequest, answers: None, seq, policy, issued, lifetime_s: 60, body: &body };
    let to = (home.kmc.authority().kmc(), home.kmc.statement().kem().expect("a sound world"));
    seal(&draft, (home.id, home.keys.sig()), to, &mut rng()).expect("a sound world")
}

#[tokio::test]
async fn a_message_with_any_byte_changed_is_refused_like_all_others_and_nothing_is_opened() {
    // So many refusals are a flood; here it is asked what a refusal without one is.
    let daemon = Daemon::new(NO_LIMIT).await;
    let mut home = daemon.home(1).await;
    let client = HttpClient::new(&daemon.status.address);
    let raw = question(&mut home).bytes;
    let before = opened(&daemon).await;
    let mut bodies = std::collections::BTreeSet::new();
    for i in (0..raw.len()).step_by(7) {
        let mut changed = raw.clone();
        changed[i] ^= 0x20;
        let answer = unless_flooded(&client, &changed).await;
        assert!(matches!(answer.status.as_u16(), 400 | 401), "byte {i}: {}", answer.status);
        bodies.insert((answer.status, String::from_utf8(answer.body).unwrap()));
    }
    assert_eq!(bodies.len(), 2, "one text for each status: {bodies:?}");
    assert_eq!(opened(&daemon).await, before);
    let answer = unless_flooded(&client, &raw).await;
    assert!(answer.status == StatusCode::OK, "unchanged it is taken, so the test says something");
}

/// What is answered once it is not taken for a flood.
async fn unless_flooded(client: &HttpClient, raw: &[u8]) -> secure_link::Answer {
    until("not taken for a flood", async || {
        let answer = client.post(endpoints::KEY, CONTENT_TYPE_SIGN1, raw.to_vec(), None).await;
        let answer = answer.expect("a sound world");
        (answer.status != StatusCode::TOO_MANY_REQUESTS).then_some(answer)
    })
    .await
}

#[tokio::test]
async fn docs_list_every_metric() {
    let daemon = Daemon::new("").await;
    // So that there are statements of every role.
    let _home = daemon.home(1).await;
    let text = metrics(&daemon).await;
    let mut told = Vec::new();
    for family in text.split("# HELP ").skip(1) {
        let (help, rest) = family.split_once("\n# TYPE ").expect("a type");
        let (name, help) = help.split_once(' ').expect("help");
        let (kind, samples) = rest.split_once('\n').expect("samples");
        let kind = kind.rsplit_once(' ').expect("a kind").1;
        let first = samples.lines().next().unwrap_or_else(|| panic!("{name} has no sample"));
        let label =
            first.split_once('{').and_then(|(_, labels)| labels.split_once('=')).map_or("-", |(label, _)| label);
        told.push(format!("| `{name}` | {kind} | {label} | {help} |"));
    }
    let docs = include_str!("../../../docs/metrics.md");
    let section = docs.split("\n## ").find(|section| section.starts_with("The centre\n")).expect("a section");
    let rows: Vec<_> = section.lines().filter(|line| line.starts_with("| `heg_")).collect();
    assert_eq!(rows, told);
}

async fn metrics(daemon: &Daemon) -> String {
    let answer = HttpClient::new(&daemon.status.local_address).get("/metrics", None).await.expect("a sound world");
    String::from_utf8(answer.body).expect("a sound world")
}

async fn opened(daemon: &Daemon) -> String {
    let text = metrics(daemon).await;
    let line = text.lines().find(|line| line.starts_with("heg_kmc_messages_total{step=\"opened\"}"));
    line.expect("a sound world").to_owned()
}

#[tokio::test]
async fn a_message_is_taken_once_also_across_a_restart_and_a_reflected_one_never() {
    let mut daemon = Daemon::new("").await;
    let mut home = daemon.home(1).await;
    let raw = question(&mut home).bytes;
    let first = HttpClient::new(&daemon.status.address);
    let answer = first.post(endpoints::KEY, CONTENT_TYPE_SIGN1, raw.clone(), None).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    daemon.kill();
    daemon.start().await;
    let before = opened(&daemon).await;
    let client = HttpClient::new(&daemon.status.address);
    // Its sender is told why, sealed; nothing is opened again.
    let again = client.post(endpoints::KEY, CONTENT_TYPE_SIGN1, raw, None).await.unwrap();
    assert_eq!((again.status, opened(&daemon).await), (StatusCode::OK, before));
    assert_ne!(again.body, answer.body);
    // What the KMC said to the home, sent back to it.
    let reflected = client.post(endpoints::KEY, CONTENT_TYPE_SIGN1, answer.body, None).await.unwrap();
    assert_eq!(reflected.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_flood_of_forgeries_is_answered_with_a_challenge_and_an_honest_gateway_still_gets_through() {
    let daemon = Daemon::new(NO_LIMIT).await;
    let mut home = daemon.home(1).await;
    let client = HttpClient::new(&daemon.status.address);
    let mut forged = question(&mut home).bytes;
    let end = forged.len() - 1;
    forged[end] ^= 1;
    let challenged = until("the flood is noticed", async || {
        let mut flood = tokio::task::JoinSet::new();
        for _ in 0..32 {
            let (client, forged) = (client.clone(), forged.clone());
            flood.spawn(async move { client.post(endpoints::KEY, CONTENT_TYPE_SIGN1, forged, None).await.unwrap() });
        }
        flood.join_all().await.into_iter().find(|a| a.challenge.is_some())
    })
    .await;
    assert_eq!((challenged.status.as_u16(), challenged.retry_after_s.is_some()), (429, true));
    // Its client answers the challenge by itself.
    home.ask().await.unwrap();
    let cookie = secure_http::answer_challenge(&challenged.challenge.unwrap(), &forged).unwrap();
    let answer = client.post(endpoints::KEY, CONTENT_TYPE_SIGN1, forged, Some(&cookie)).await.unwrap();
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "a cookie is no signature");
}

#[tokio::test]
async fn cookies_may_be_wanted_from_everybody() {
    let daemon = Daemon::new("[flood]\ncookies = 'always'\n").await;
    let mut home = daemon.home(1).await;
    home.ask().await.unwrap();
    let raw = question(&mut home).bytes;
    let client = HttpClient::new(&daemon.status.address);
    let answer = client.post(endpoints::KEY, CONTENT_TYPE_SIGN1, raw.clone(), Some("1.AAAAAAAAAAAAAAAAAAAAAA.a")).await;
    assert_eq!(answer.unwrap().status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_again() {
    let daemon = Daemon::new("[flood]\nrequests-per-minute = 5\n").await;
    let client = HttpClient::new(&daemon.status.address);
    let mut last = None;
    for _ in 0..6 {
        last = Some(client.get(endpoints::POLICY, None).await.unwrap());
    }
    let last = last.unwrap();
    assert_eq!(last.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(last.retry_after_s.is_some_and(|s| (1..=13).contains(&s)), "{last:?}");
}

#[tokio::test]
async fn broadcasts_have_a_tag_and_paths_methods_types_and_sizes_their_statuses() {
    let daemon = Daemon::new("").await;
    let client = HttpClient::new(&daemon.status.address);
    for path in [endpoints::ROOT, endpoints::POLICY, endpoints::REVOCATIONS] {
        let first = client.get(path, None).await.unwrap();
        let again = client.get(path, first.etag.as_deref()).await.unwrap();
        assert_eq!((first.status.as_u16(), again.status.as_u16(), again.body.len()), (200, 304, 0), "{path}");
    }
    let post = async |path, content_type, bytes: usize| {
        client.post(path, content_type, vec![0; bytes], None).await.unwrap().status.as_u16()
    };
    assert_eq!(post(endpoints::POLICY, CONTENT_TYPE_SIGN1, 1).await, 405);
    assert_eq!(post(endpoints::KEY, "text/plain", 1).await, 415);
    assert_eq!(post(endpoints::KEY, CONTENT_TYPE_SIGN1, 1).await, 400);
    assert_eq!(post(endpoints::KEY, CONTENT_TYPE_SIGN1, 16 * 1024 + 1).await, 413);
    assert_eq!(client.get("/metrics", None).await.unwrap().status, 404, "not on the public side");
    let local = HttpClient::new(&daemon.status.local_address);
    assert_eq!(local.get("/healthz", None).await.unwrap().body, b"ok\n");
    assert_eq!(local.get(endpoints::POLICY, None).await.unwrap().status, 404);
}

#[tokio::test]
async fn a_revoked_gateway_is_refused_and_everybody_can_read_it_in_the_list() {
    let daemon = Daemon::new("").await;
    let mut stolen = daemon.home(1).await;
    let mut kept = daemon.home(2).await;
    let view: kmc::api::StatementView = daemon.json(&["revoke", party(1).as_str(), "--reason", "stolen"]);
    assert_eq!(view.state, "revoked");
    assert!(matches!(stolen.ask().await, Err(LinkError::Refused(StatusCode::UNAUTHORIZED))));
    assert!(matches!(stolen.roll_over().await, Err(LinkError::Refused(StatusCode::UNAUTHORIZED))));
    let list = kept.kmc.refresh_revocations(None, at()).await.unwrap().unwrap();
    assert!(list.contains(stolen.statement.unwrap().serial()) && list.version() == 2);
    kept.ask().await.unwrap();
    assert!(!daemon.run(&["revoke", party(1).as_str()]).status.success(), "there is none in force");
}
