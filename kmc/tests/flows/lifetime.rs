//! Keys and policies that change, a root key that leaves, and power that fails.

use std::os::unix::fs::PermissionsExt as _;

use http::StatusCode;
use secure_http::{Clock, PolicyError, PolicyState, SealedError, UnixTime};
use secure_link::{Kmc, LinkError, Member};

use crate::daemon::{Daemon, at, rng, until};

#[tokio::test]
async fn after_a_roll_over_old_messages_still_arrive_for_a_while_and_a_stolen_old_key_rolls_nothing() {
    let daemon = Daemon::new("[statements]\noverlap-s = 4\n").await;
    let mut home = daemon.home(1).await;
    let first = home.statement.clone().unwrap();
    let old = home.roll_over().await.unwrap();
    let second = home.statement.clone().unwrap();
    assert_eq!(second.previous(), Some(first.serial()));
    // What was under way with the old key is still taken, and the new key's messages go on from the same numbers.
    let new = std::mem::replace(&mut home.keys, old);
    assert_eq!(home.ask().await.unwrap(), second);
    home.statement = Some(first.clone());
    assert!(
        matches!(home.roll_over().await, Err(LinkError::Sealed(SealedError::Forbidden))),
        "a thief with the old key"
    );
    let refused = until("the overlap ends", async || home.ask().await.err()).await;
    assert!(matches!(refused, LinkError::Refused(StatusCode::UNAUTHORIZED)), "{refused}");
    home.keys = new;
    assert_eq!(home.ask().await.unwrap(), second);
    assert_eq!(daemon.statement(&first.serial().0.to_string()).state, "superseded");
}

#[tokio::test]
async fn a_lost_answer_to_a_roll_over_is_had_by_asking_again_and_peers_see_the_old_keys_word() {
    let daemon = Daemon::new("").await;
    let mut home = daemon.home(1).await;
    let first = home.statement.clone().unwrap();
    let new = secure_http::OwnKeys::generate(&mut rng());
    let mut roll = async || {
        let seq = home.next();
        let member = Member { id: home.id, keys: &home.keys, policy: &home.policy };
        home.kmc.roll_over(&member, seq, &first, new.sig(), new.kem().public(), at(), &mut rng()).await
    };
    let once = roll().await.unwrap();
    assert_eq!(roll().await.unwrap(), once);
    let old = std::mem::replace(&mut home.keys, new);
    let seq = home.next();
    let member = Member { id: home.id, keys: &home.keys, policy: &home.policy };
    home.kmc.announce(&member, seq, &once, Some(old.sig()), None, at(), &mut rng()).await.unwrap();
    let seq = home.next();
    let member = Member { id: home.id, keys: &home.keys, policy: &home.policy };
    let fetched = home.kmc.fetch_key(&member, seq, (Some(home.id), None), at(), &mut rng()).await.unwrap();
    let authority = home.kmc.authority();
    authority.succession(&first, &fetched.statement, fetched.succession.as_deref(), &[]).unwrap();
    assert!(authority.succession(&first, &fetched.statement, None, &[]).is_err());
}

#[tokio::test]
async fn a_policy_only_goes_up_and_a_client_refuses_an_older_one() {
    let daemon = Daemon::new("").await;
    let mut kmc = daemon.meet().await;
    let first = kmc.refresh_policy(&PolicyState::default(), at()).await.unwrap().unwrap();
    let file = daemon.file("policy.toml", "message-s = 30\nrefresh-s = 600\n");
    let view: kmc::api::PolicyView = daemon.json(&["policy", "set", &file]);
    assert_eq!((view.version, view.message_s), (2, 30));
    let second = kmc.refresh_policy(&first, at()).await.unwrap().unwrap();
    assert_eq!(second.rules().refresh_s, 600);
    assert_eq!(kmc.refresh_policy(&second, at()).await.unwrap(), None, "304");
    let weak = daemon.file("weak.toml", "message-s = 100000\n");
    let out = daemon.run(&["policy", "set", &weak, "--json"]);
    assert!(!out.status.success() && String::from_utf8_lossy(&out.stdout).contains("below-floor"));
    assert_eq!(daemon.json::<kmc::api::PolicyView>(&["policy", "show"]).version, 2);
    // Somebody who plays the KMC of yesterday to a client of today.
    let older = secure_http::Policy::verify(first.policy().unwrap().raw(), kmc.authority()).unwrap();
    assert_eq!(second.adopt(older, at().guess), Err(PolicyError::NotNewer));
}

#[tokio::test]
async fn a_gateway_that_is_behind_is_told_the_version_and_catches_up() {
    let daemon = Daemon::new("").await;
    let mut home = daemon.home(1).await;
    let file = daemon.file("policy.toml", "");
    let _: kmc::api::PolicyView = daemon.json(&["policy", "set", &file]);
    let told = home.roll_over().await.unwrap_err();
    assert!(matches!(told, LinkError::Sealed(SealedError::Policy { current: 2 })), "{told}");
    home.policy = home.kmc.refresh_policy(&home.policy, at()).await.unwrap().unwrap();
    home.roll_over().await.unwrap();
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_the_daemon_is_killed() {
    let mut daemon = Daemon::new("").await;
    let mut home = daemon.home(1).await;
    home.roll_over().await.unwrap();
    let (open, _) = daemon.token(&[]);
    let file = daemon.file("policy.toml", "skew-s = 100\n");
    let _: kmc::api::PolicyView = daemon.json(&["policy", "set", &file]);
    let log = daemon.audit();
    daemon.kill();
    daemon.start().await;
    let stored = home.kmc.statements();
    let fingerprint = secure_http::Fingerprint::of(home.kmc.authority().root().sig());
    home.kmc = Kmc::from_store(&daemon.status.address, fingerprint, &stored, at()).unwrap();
    assert_eq!(home.ask().await.unwrap(), home.statement.unwrap());
    let tokens: Vec<kmc::api::TokenView> = daemon.json(&["token", "list"]);
    assert!(tokens.iter().any(|t| t.id == open.id && t.state == "open"));
    assert_eq!(daemon.json::<kmc::api::PolicyView>(&["policy", "show"]).skew_s, 100);
    let after = daemon.audit();
    assert_eq!(after.broken_at, None);
    assert_eq!(after.entries[..log.entries.len()].last().unwrap().hash, log.entries.last().unwrap().hash);
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test]
async fn a_machine_without_a_clock_sets_it_by_the_kmc() {
    let daemon = Daemon::new("").await;
    let mut home = daemon.home(1).await;
    let mut clock = Clock::unsynced(home.kmc.statement().validity().from());
    // It does not know that its own guess is minutes off; the answer counts because it names the question.
    let seq = home.next();
    let member = Member { id: home.id, keys: &home.keys, policy: &home.policy };
    let boot = daemon_kit::clock::boottime;
    let set = home.kmc.set_clock(&member, seq, &mut clock, boot, &mut rng()).await.unwrap();
    assert!(set.0.abs_diff(at().guess.0) <= 2 && clock.is_synced());
    assert!(clock.now(boot()) >= Some(UnixTime(set.0)));
}

#[tokio::test]
async fn the_root_key_leaves_for_a_file_and_signs_the_next_issuing_key_from_there() {
    let mut daemon = Daemon::new("").await;
    let mut home = daemon.home(1).await;
    let before = home.kmc.authority().issuing().kid();
    let passphrase = daemon.file("passphrase", "a passphrase of some length\n");
    let exported = daemon.path("root.export");
    let busy = daemon.run(&["root", "export", &exported, "--passphrase-file", &passphrase]);
    assert_eq!(busy.status.code(), Some(69), "the daemon has the database");
    assert_eq!(daemon.stop(), Some(0));
    let run = |arguments: &[&str]| {
        let out = daemon.run(arguments);
        (out.status.success(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let (ok, why) = run(&["root", "export", &exported, "--passphrase-file", &passphrase, "--remove"]);
    assert!(ok, "{why}");
    assert_eq!(std::fs::metadata(&exported).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!daemon.state().join("root.key").exists());
    assert!(!run(&["root", "sign-issuing"]).0, "the key is not here");
    let wrong = daemon.file("wrong", "another\n");
    assert!(!run(&["root", "sign-issuing", "--root", &exported, "--passphrase-file", &wrong]).0);
    let (ok, why) =
        run(&["root", "sign-issuing", "--root", &exported, "--passphrase-file", &passphrase, "--days", "100"]);
    assert!(ok, "{why}");
    daemon.start().await;
    assert!(daemon.status.troubles.is_empty(), "{:?}", daemon.status.troubles);
    let fingerprint = secure_http::Fingerprint::of(home.kmc.authority().root().sig());
    home.kmc = Kmc::meet(&daemon.status.address, fingerprint, at()).await.unwrap();
    assert_ne!(home.kmc.authority().issuing().kid(), before);
    // The policy and the list are signed anew; the home's statement too, as soon as it asks.
    home.policy = home.kmc.refresh_policy(&home.policy, at()).await.unwrap().unwrap();
    home.kmc.refresh_revocations(None, at()).await.unwrap().unwrap();
    let next = home.ask().await.unwrap();
    assert_eq!(next.previous(), home.statement.map(|s| s.serial()));
    assert_eq!(daemon.stop(), Some(0));
    let (ok, why) = {
        let out = daemon.run(&["root", "import", &exported, "--passphrase-file", &passphrase]);
        (out.status.success(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    assert!(ok && daemon.state().join("root.key").exists(), "{why}");
}

#[tokio::test]
async fn a_passphrase_keeps_the_key_files_and_a_daemon_without_it_does_not_start() {
    let mut daemon = Daemon::new("").await;
    let out = daemon.run(&["init"]);
    assert!(!out.status.success(), "there is one already");
    daemon.home(1).await;
    for name in ["root.key", "issuing.key", "sig.key", "kem.key", "storage.key", "kmc.db"] {
        let mode = std::fs::metadata(daemon.state().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(daemon.stop(), Some(0));
    // Another centre, under a passphrase.
    let passphrase = daemon.file("passphrase", "secret\n");
    let keys = |file: &str| format!("[keys]\npassphrase-file = '{file}'\n");
    let mut locked = Daemon::new(&keys(&passphrase)).await;
    locked.home(1).await;
    let bytes = std::fs::read(locked.state().join("issuing.key")).unwrap();
    assert_eq!((&bytes[..8], bytes[8]), (&b"HEGKEY1\n"[..], 1));
    assert_eq!(locked.stop(), Some(0));
    std::fs::write(&passphrase, "guess\n").unwrap();
    let out = locked.run(&[]);
    assert_eq!(out.status.code(), Some(65), "{}", String::from_utf8_lossy(&out.stderr));
}
