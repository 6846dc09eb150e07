//! What a utility may order, and what not.

use http::StatusCode;
use secure_http::{Order, Ordered, PartyId, SealedError};
use secure_link::LinkError;

use crate::daemon::{Daemon, Home, at, party};

fn token(party: Option<PartyId>) -> Order {
    Order::Token { party, premises: "Mill 3".to_owned(), days: 30, operator: "ann".to_owned() }
}

fn revoke(party: PartyId) -> Order {
    Order::Revoke { party, reason: "stolen".to_owned(), operator: "ann".to_owned() }
}

fn policy(toml: &str) -> Order {
    Order::Policy { toml: toml.to_owned(), operator: "ann".to_owned() }
}

fn done(result: Result<Ordered, LinkError>) -> String {
    match result {
        Ok(Ordered::Done(text)) => text,
        other => panic!("{other:?}"),
    }
}

fn reason(result: Result<Ordered, LinkError>) -> String {
    match result {
        Ok(Ordered::Refused(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_utility_orders_token_revocation_and_policy_and_the_log_says_who_wanted_it() {
    let daemon = Daemon::new("").await;
    let mut utility = daemon.utility(11).await;
    let text = done(utility.order(&token(Some(party(1)))).await);
    let mut home = Home::new(&daemon, 1).await;
    home.enrol(&text.parse().unwrap()).await.unwrap();
    assert_eq!(home.fetch(None).await.unwrap().statement, utility.statement.clone().unwrap());

    assert_eq!(done(utility.order(&policy("skew-s = 60\n")).await), "2");
    // It follows the old one until it has asked for the new one: its next order is refused until then.
    assert!(matches!(
        utility.order(&revoke(party(1))).await,
        Err(LinkError::Sealed(SealedError::Policy { current: 2 }))
    ));
    utility.policy = utility.kmc.refresh_policy(&utility.policy, at()).await.unwrap().unwrap();
    assert_eq!(utility.policy.rules().skew_s, 60);

    assert_eq!(done(utility.order(&revoke(party(1))).await), "");
    let list = utility.kmc.refresh_revocations(None, at()).await.unwrap().unwrap();
    assert!(list.contains(home.statement.clone().unwrap().serial()) && list.version() == 2);
    assert!(matches!(home.ask().await, Err(LinkError::Refused(StatusCode::UNAUTHORIZED))));

    let log = daemon.audit();
    let actor = format!("{}/ann", party(11));
    let ordered: Vec<_> = log.entries.iter().filter(|e| e.actor == actor).map(|e| e.action.as_str()).collect();
    assert_eq!((ordered, log.broken_at), (vec!["token-made", "policy-set", "revoked"], None));
}

#[tokio::test]
async fn an_order_that_may_not_be_is_refused_with_a_reason_and_changes_nothing() {
    let daemon = Daemon::new("").await;
    let (mut utility, mut home) = (daemon.utility(11).await, daemon.home(1).await);
    let mut other = daemon.utility(12).await;
    assert!(matches!(home.order(&token(None)).await, Err(LinkError::Sealed(SealedError::Forbidden))), "a gateway");
    let long = Order::Revoke { party: party(1), reason: "x".repeat(257), operator: "ann".to_owned() };
    assert!(matches!(utility.order(&long).await, Err(LinkError::Sealed(SealedError::Unsupported))));
    let before = daemon.audit().entries.iter().filter(|e| e.action != "order-refused").count();
    for (order, want) in [
        (revoke(party(12)), "gateways only"),
        (revoke(party(11)), "gateways only"),
        (revoke(party(77)), "there is no gateway"),
        (token(Some(party(12))), "gateways only"),
        (policy(""), "also that of other utilities"),
        (Order::Revoke { party: party(1), reason: String::new(), operator: "a\nb".to_owned() }, "needs a name"),
        (Order::Token { party: None, premises: String::new(), days: 0, operator: "ann".to_owned() }, "1 to 366"),
    ] {
        let text = reason(utility.order(&order).await);
        assert!(text.contains(want), "{order:?}: {text}");
    }
    for order in [revoke(party(1)), token(Some(party(1)))] {
        assert!(reason(other.order(&order).await).contains("belongs to another utility"), "{order:?}");
    }
    home.ask().await.unwrap();
    let log = daemon.audit();
    assert_eq!(log.entries.iter().filter(|e| e.action != "order-refused").count(), before);
    assert_eq!(log.entries.len() - before, 9);
    // Alone it may order a policy, of those that there can be.
    let _: kmc::api::StatementView = daemon.json(&["revoke", party(12).as_str()]);
    assert!(reason(utility.order(&policy("colour = 1")).await).contains("colour"));
    assert!(reason(utility.order(&policy("message-s = 301")).await).contains("software allows"));
    assert_eq!(done(utility.order(&policy("")).await), "2");
}

#[tokio::test]
async fn a_centre_lets_utilities_order_only_what_its_configuration_says() {
    let daemon = Daemon::new("[utilities]\nmay = ['token']\n").await;
    let mut utility = daemon.utility(11).await;
    done(utility.order(&token(None)).await);
    for order in [revoke(party(1)), policy("")] {
        assert!(reason(utility.order(&order).await).contains("utilities.may"), "{order:?}");
    }
    // With a key that was rolled over nothing is ordered, although what was under way with it is still taken.
    let old = utility.roll_over().await.unwrap();
    utility.keys = old;
    assert!(matches!(utility.order(&token(None)).await, Err(LinkError::Sealed(SealedError::Forbidden))));
}
