//! Who gets in with a token, and who does not.

use http::StatusCode;
use secure_http::code_points::{CONTENT_TYPE_ENCRYPT0, CONTENT_TYPE_SIGN1};
use secure_http::{Draft, Kind, OwnKeys, Role, SealedError, TokenSecret, endpoints, request_enrolment, seal};
use secure_link::{FetchedKey, HttpClient, LinkError};

use crate::daemon::{Daemon, Home, at, party, rng};

fn forbidden(result: Result<FetchedKey, LinkError>) -> bool {
    matches!(result, Err(LinkError::Sealed(SealedError::Forbidden)))
}

fn refused(result: Result<(), LinkError>) -> bool {
    matches!(result, Err(LinkError::Refused(StatusCode::UNAUTHORIZED)))
}

#[tokio::test]
async fn a_token_enrols_a_gateway_that_shows_both_keys_and_each_step_is_in_the_audit_log() {
    let daemon = Daemon::new("").await;
    let (view, token) = daemon.token(&["--premises", "12 Long Lane"]);
    let mut home = Home::new(&daemon, 1).await;
    home.enrol(&token).await.unwrap();
    let statement = home.statement.clone().unwrap();
    assert_eq!((statement.subject(), statement.role()), (party(1), Role::Gateway));
    assert_eq!(daemon.statement(party(1).as_str()).state, "active");
    assert_eq!(home.ask().await.unwrap(), statement);
    let log = daemon.audit();
    assert_eq!(log.broken_at, None);
    let actions: Vec<_> = log.entries.iter().map(|e| e.action.as_str()).collect();
    let of_the_token = ["token-made", "enrolment-attempt", "stated-pending", "enrolled"];
    assert!(of_the_token.iter().all(|action| actions.contains(action)), "{actions:?}");
    assert!(log.entries.iter().any(|e| e.action == "enrolled" && e.detail == "12 Long Lane"));
    assert!(!serde_json::to_string(&log).unwrap().contains(view.text.unwrap().split(':').nth_back(1).unwrap()));
}

#[tokio::test]
async fn a_token_is_good_once_for_one_and_its_secret_is_gone_from_the_disk() {
    let daemon = Daemon::new("").await;
    let (view, token) = daemon.token(&[]);
    let mut first = Home::new(&daemon, 1).await;
    first.enrol(&token).await.unwrap();
    let mut again = Home::new(&daemon, 1).await;
    assert!(refused(again.enrol(&token).await), "used");
    let mut other = Home::new(&daemon, 2).await;
    assert!(refused(other.enrol(&token).await), "another UUID");
    let states: Vec<kmc::api::TokenView> = daemon.json(&["token", "list"]);
    assert!(states.iter().any(|t| t.id == view.id && t.state == "used"));
    let (open, secret) = daemon.token(&[]);
    let bytes = std::fs::read(daemon.state().join("kmc.db-wal")).unwrap();
    let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|w| w == needle);
    let id = u64::from_str_radix(&open.id, 16).unwrap().to_be_bytes();
    assert!(holds(&id) && !holds(secret.secret().as_bytes()), "an open token's secret stands in the database");
}

#[tokio::test]
async fn a_token_that_began_with_one_uuid_takes_no_second() {
    let daemon = Daemon::new("").await;
    let (_, token) = daemon.token(&[]);
    // The first only asks and never answers its challenge.
    let home = Home::new(&daemon, 1).await;
    let kem = home.kmc.statement().kem().unwrap();
    let (body, _) =
        request_enrolment(party(1), home.keys.sig(), home.keys.kem().public(), token.secret(), kem, &mut rng())
            .unwrap();
    let client = HttpClient::new(&daemon.status.address);
    let answer = client.post(endpoints::ENROL, CONTENT_TYPE_ENCRYPT0, body, None).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    let mut sybil = Home::new(&daemon, 2).await;
    assert!(refused(sybil.enrol(&token).await));
    // The one it began with comes to its end, with other keys.
    Home::new(&daemon, 1).await.enrol(&token).await.unwrap();
}

#[tokio::test]
async fn wrong_revoked_and_worn_out_tokens_are_refused() {
    let daemon = Daemon::new("").await;
    let mut home = Home::new(&daemon, 1).await;
    let (view, token) = daemon.token(&[]);
    let unknown =
        secure_http::EnrolmentToken::new("x", TokenSecret::generate(&mut rng()), token.fingerprint()).unwrap();
    assert!(refused(home.enrol(&unknown).await), "never made");
    let _: kmc::api::TokenView = daemon.json(&["token", "revoke", &view.id]);
    assert!(refused(home.enrol(&token).await), "revoked");
    // Somebody who read the name of a token off the wire, and not the secret.
    let (_, token) = daemon.token(&[]);
    let client = HttpClient::new(&daemon.status.address);
    let kem = home.kmc.statement().kem().unwrap().clone();
    let mut statuses = Vec::new();
    for i in 0..6 {
        let (mut body, _) =
            request_enrolment(party(9), home.keys.sig(), home.keys.kem().public(), token.secret(), &kem, &mut rng())
                .unwrap();
        let end = body.len() - 1 - i;
        body[end] ^= 1;
        statuses.push(client.post(endpoints::ENROL, CONTENT_TYPE_ENCRYPT0, body, None).await.unwrap());
    }
    let codes: Vec<_> = statuses.iter().map(|a| a.status.as_u16()).collect();
    assert_eq!(codes, [401, 401, 401, 401, 401, 429]);
    assert!(statuses[5].retry_after_s.is_some_and(|s| (1..=3600).contains(&s)) && statuses[5].challenge.is_none());
    assert!(matches!(home.enrol(&token).await, Err(LinkError::Busy { .. })), "worn out for an hour");
}

#[tokio::test]
async fn a_second_statement_for_a_uuid_needs_a_token_for_it_and_the_first_is_then_revoked() {
    let daemon = Daemon::new("").await;
    let mut home = daemon.home(1).await;
    let (_, another) = daemon.token(&[]);
    let mut thief = Home::new(&daemon, 1).await;
    assert!(refused(thief.enrol(&another).await), "sybil");
    home.ask().await.unwrap();
    let (_, renewal) = daemon.token(&["--uuid", party(1).as_str()]);
    let mut replaced = Home::new(&daemon, 1).await;
    replaced.enrol(&renewal).await.unwrap();
    assert_eq!(daemon.statement(&home.statement.clone().unwrap().serial().0.to_string()).state, "revoked");
    let list = replaced.kmc.refresh_revocations(None, at()).await.unwrap().unwrap();
    assert!(list.contains(home.statement.clone().unwrap().serial()));
    assert!(matches!(home.ask().await, Err(LinkError::Refused(StatusCode::UNAUTHORIZED))));
    replaced.ask().await.unwrap();
}

#[tokio::test]
async fn without_the_sealing_key_nobody_gets_past_the_challenge() {
    let daemon = Daemon::new("").await;
    let (_, token) = daemon.token(&[]);
    let home = Home::new(&daemon, 1).await;
    let kem = home.kmc.statement().kem().unwrap();
    // The keys of somebody else to seal to: its private half is not here, so the challenge can't be read.
    let stolen = OwnKeys::generate(&mut rng());
    let (body, _) =
        request_enrolment(party(1), home.keys.sig(), stolen.kem().public(), token.secret(), kem, &mut rng()).unwrap();
    let client = HttpClient::new(&daemon.status.address);
    assert_eq!(client.post(endpoints::ENROL, CONTENT_TYPE_ENCRYPT0, body, None).await.unwrap().status, 200);
    let guess = secure_http::EnrolConfirm { challenge: [7; 16] }.encode();
    let now = at().guess;
    let kind = Kind::EnrolConfirm;
    let draft = Draft { kind, answers: None, seq: 1, policy: 0, issued: now, lifetime_s: 60, body: &guess };
    let to = (home.kmc.authority().kmc(), kem);
    let sealed = seal(&draft, (party(1), home.keys.sig()), to, &mut rng()).unwrap();
    let answer = client.post(endpoints::ENROL_CONFIRM, CONTENT_TYPE_SIGN1, sealed.bytes, None).await.unwrap();
    assert_eq!(answer.status, 200, "sealed to the key that was named");
    let all: Vec<kmc::api::StatementView> = daemon.json(&["statements", "list", party(1).as_str()]);
    assert!(all.iter().all(|s| s.state == "pending"), "{all:?}");
}

#[tokio::test]
async fn a_gateway_learns_its_utility_s_key_and_no_other_gateway_s() {
    let daemon = Daemon::new("").await;
    let mut home = daemon.home(1).await;
    daemon.home(2).await;
    assert!(forbidden(home.fetch(None).await), "there is no utility yet");
    let utility = daemon.utility(3).await;
    assert_eq!(home.fetch(Some(party(3))).await.unwrap().statement, utility.statement.unwrap());
    for of in [2, 77] {
        assert!(forbidden(home.fetch(Some(party(of))).await), "{of}");
    }
}

#[tokio::test]
async fn a_gateway_that_names_nobody_learns_the_utility_of_its_token_and_where_that_is_reached() {
    let daemon = Daemon::new("").await;
    // Enrolled before there was a utility: as long as there is one only, it is that one.
    let mut early = daemon.home(1).await;
    let mut first = daemon.utility(11).await;
    first.announce(None, Some("Utility.example:8450")).await.unwrap();
    let fetched = early.fetch(None).await.unwrap();
    assert_eq!(fetched.statement, first.statement.clone().unwrap());
    assert_eq!(fetched.host.as_deref(), Some("utility.example:8450"));
    let mut of_first = daemon.home(2).await;
    let second = daemon.utility(12).await;
    let (_, token) = daemon.token(&["--utility", party(12).as_str()]);
    let mut of_second = Home::new(&daemon, 3).await;
    of_second.enrol(&token).await.unwrap();
    assert_eq!(of_first.fetch(None).await.unwrap().statement, first.statement.clone().unwrap());
    let fetched = of_second.fetch(None).await.unwrap();
    assert_eq!((fetched.statement, fetched.host), (second.statement.unwrap(), None));
    assert!(forbidden(early.fetch(None).await), "one of two, and no token said which");
    assert!(forbidden(first.fetch(None).await), "a utility belongs to none");
    for wrong in [party(1), party(77)] {
        let out = daemon.run(&["token", "new", "--role", "heg", "--utility", wrong.as_str()]);
        assert!(!out.status.success(), "{wrong} is no utility in force");
    }
}

#[tokio::test]
async fn a_party_says_where_it_is_reached_and_a_stolen_old_key_sends_nobody_elsewhere() {
    let daemon = Daemon::new("").await;
    let (mut home, mut utility) = (daemon.home(1).await, daemon.utility(11).await);
    assert!(matches!(home.announce(None, Some("http://home/")).await, Err(LinkError::Host)));
    home.announce(None, Some("home.example:8460")).await.unwrap();
    let host = async |utility: &mut Home| utility.fetch(Some(party(1))).await.unwrap().host;
    assert_eq!(host(&mut utility).await.as_deref(), Some("home.example:8460"));
    let old = home.roll_over().await.unwrap();
    home.announce(Some(&old), Some("home.example:8460")).await.unwrap();
    let new = std::mem::replace(&mut home.keys, old);
    let stolen = home.announce(None, Some("thief.example")).await;
    assert!(matches!(stolen, Err(LinkError::Sealed(SealedError::Forbidden))));
    assert_eq!(host(&mut utility).await.as_deref(), Some("home.example:8460"));
    home.keys = new;
    // Without a succession what was brought stays, and without a host it is reached nowhere.
    home.announce(None, None).await.unwrap();
    let fetched = utility.fetch(Some(party(1))).await.unwrap();
    assert!(fetched.host.is_none() && fetched.succession.is_some());
    // Enrolled anew it may be another machine.
    home.announce(None, Some("home.example")).await.unwrap();
    let (_, renewal) = daemon.token(&["--uuid", party(1).as_str()]);
    Home::new(&daemon, 1).await.enrol(&renewal).await.unwrap();
    assert_eq!(host(&mut utility).await, None);
}
