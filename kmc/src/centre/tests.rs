//! The centre in virtual time: what runs out, what is renewed.

use std::net::IpAddr;

use secure_http::code_points::{CONTENT_TYPE_ENCRYPT0, CONTENT_TYPE_SIGN1};
use secure_http::{
    Draft, EnrolChallenge, EnrolConfirm, EnrolmentToken, Envelope, KeyRequest, Kind, Nonce, OwnKeys, Policy, Receiver,
    SealedError, Sender, Situation, Statement, Window, endpoints, request_enrolment, seal,
};

use super::*;

const START: u64 = 1_900_000_000;

fn at(seconds: u64) -> Now {
    let second = i64::try_from(START + seconds).unwrap();
    Now { boot: Duration::from_secs(1000 + seconds), wall: Timestamp::from_second(second).unwrap() }
}

fn party(number: u8) -> PartyId {
    format!("2fac1234-31f8-41b4-a222-08002b34c0{number:02x}").parse().unwrap()
}

struct World {
    dir: tempfile::TempDir,
    centre: Centre,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let keyring = Keyring::new(dir.path(), None);
        found(dir.path(), &keyring, party(0xff), 365, at(0).unix()).unwrap();
        let centre = Self::open(&dir, at(0));
        Self { dir, centre }
    }

    fn open(dir: &tempfile::TempDir, now: Now) -> Centre {
        let settings = Settings {
            host: "kmc.example".to_owned(),
            statement_s: 30 * DAY_S,
            overlap_s: 300,
            evidence_s: 365 * DAY_S,
            evidence_rows: 1000,
            per_minute: 1000,
            always_cookies: false,
            utilities_may: crate::config::Utilities::default().may,
        };
        Centre::open(Store::open(dir.path()).unwrap(), Keyring::new(dir.path(), None), settings, now).unwrap()
    }

    fn token(&mut self, now: Now) -> EnrolmentToken {
        let wanted = NewToken { role: Role::Gateway, uuid: None, utility: None, premises: String::new(), days: 30 };
        self.centre.new_token(&wanted, "operator:0", now.unix()).unwrap().1
    }

    fn post(&mut self, path: &str, content_type: &str, body: Vec<u8>, now: Now) -> Response {
        self.centre.handle_timeout(now);
        let request = Request {
            peer: IpAddr::from([192, 0, 2, 1]),
            reads: false,
            path: path.to_owned(),
            content_type: Some(content_type.to_owned()),
            cookie: None,
            if_none_match: None,
            body,
        };
        self.centre.handle(&request, 0, now)
    }

    fn enrol(&mut self, token: &EnrolmentToken, home: &OwnKeys, now: Now) -> (Response, Nonce) {
        let kem = self.centre.desk.keys.kem().public().clone();
        let (sig, own) = (home.sig(), home.kem().public());
        let (body, nonce) =
            request_enrolment(party(1), sig, own, token.secret(), &kem, &mut UnwrapErr(SysRng)).unwrap();
        (self.post(endpoints::ENROL, CONTENT_TYPE_ENCRYPT0, body, now), nonce)
    }

    fn message(&self, home: &OwnKeys, kind: Kind, seq: u64, body: &[u8], now: Now) -> Vec<u8> {
        let policy = self.centre.desk.policy.version();
        let draft = Draft { kind, answers: None, seq, policy, issued: now.unix(), lifetime_s: 60, body };
        let to = (party(0xff), self.centre.desk.keys.kem().public());
        seal(&draft, (party(1), home.sig()), to, &mut UnwrapErr(SysRng)).unwrap().bytes
    }

    /// What the centre said in answer to that nonce.
    fn read(&self, home: &OwnKeys, answer: &Response, nonce: Nonce, now: Now) -> (Kind, Vec<u8>) {
        let mut awaited = secure_http::Awaited::new();
        awaited.sent(nonce, party(0xff), now.boot);
        let (window, rules, me) = (Window::new(), Rules::default(), party(1));
        let mut receiver = Receiver::new();
        let parsed = receiver.parse(&answer.body, 65_536).unwrap();
        let situation =
            Situation { me: &me, now: None, boot: now.boot, awaited: &awaited, window: &window, rules: &rules };
        let fresh = receiver.check(parsed, &situation).unwrap();
        let sender = Some(Sender { statement: &self.centre.desk.own.statement, revoked: false });
        let verified = receiver.verify(fresh, sender, None, &self.centre.desk.policy).unwrap();
        let (committed, _) = receiver.commit(verified, &window, &mut awaited).unwrap();
        let opened = receiver.open(committed, home).unwrap();
        (opened.head.kind, opened.body.to_vec())
    }

    /// Enrolled, and the statement.
    fn home(&mut self, now: Now) -> (OwnKeys, Statement) {
        let (token, home) = (self.token(now), OwnKeys::generate(&mut UnwrapErr(SysRng)));
        let (answer, nonce) = self.enrol(&token, &home, now);
        let challenge = EnrolChallenge::decode(&self.read(&home, &answer, nonce, now).1).unwrap();
        let body = EnrolConfirm { challenge: challenge.challenge }.encode();
        let confirm = self.message(&home, Kind::EnrolConfirm, 1, &body, now);
        assert_eq!(self.post(endpoints::ENROL_CONFIRM, CONTENT_TYPE_SIGN1, confirm, now).status, 200);
        (home, Statement::from_store(&challenge.statement).unwrap())
    }

    /// The home asks for its own statement.
    fn ask(&mut self, home: &OwnKeys, seq: u64, now: Now) -> Option<Statement> {
        self.centre.handle_timeout(now);
        let raw =
            self.message(home, Kind::KeyRequest, seq, &KeyRequest { party: Some(party(1)), known: None }.encode(), now);
        let cti = Envelope::parse(&raw).unwrap().head().cti;
        let answer = self.post(endpoints::KEY, CONTENT_TYPE_SIGN1, raw, now);
        if answer.status != 200 {
            return None;
        }
        let (kind, body) = self.read(home, &answer, cti, now);
        let statements = KeyAnswer::decode(&body).ok().filter(|_| kind == Kind::KeyStatement)?.statements;
        Some(Statement::from_store(&statements[0]).unwrap())
    }
}

#[test]
fn a_token_is_worth_nothing_after_its_days() {
    let mut world = World::new();
    let token = world.token(at(0));
    let home = OwnKeys::generate(&mut UnwrapErr(SysRng));
    assert_eq!(world.enrol(&token, &home, at(30 * DAY_S)).0.status, 401);
    assert_eq!(world.enrol(&token, &home, at(30 * DAY_S - 1)).0.status, 200);
}

#[test]
fn attempts_are_counted_by_the_hour_also_across_a_restart() {
    let mut world = World::new();
    let token = world.token(at(0));
    let home = OwnKeys::generate(&mut UnwrapErr(SysRng));
    let statuses: Vec<_> = (0..6).map(|i| world.enrol(&token, &home, at(i)).0.status).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429]);
    let World { dir, centre } = world;
    drop(centre);
    let mut world = World { centre: World::open(&dir, at(100)), dir };
    let (late, _) = world.enrol(&token, &home, at(3599));
    assert_eq!((late.status, late.retry_after_s), (429, Some(1)));
    assert_eq!(world.enrol(&token, &home, at(3600)).0.status, 200);
    assert!(world.dir.path().exists());
}

#[test]
fn a_challenge_that_comes_back_too_late_is_refused_and_the_token_still_good() {
    let mut world = World::new();
    let (token, home) = (world.token(at(0)), OwnKeys::generate(&mut UnwrapErr(SysRng)));
    let (answer, nonce) = world.enrol(&token, &home, at(0));
    let challenge = EnrolChallenge::decode(&world.read(&home, &answer, nonce, at(0)).1).unwrap();
    let late = at(PENDING_S);
    let body = EnrolConfirm { challenge: challenge.challenge }.encode();
    let confirm = world.message(&home, Kind::EnrolConfirm, 1, &body, late);
    assert_eq!(world.post(endpoints::ENROL_CONFIRM, CONTENT_TYPE_SIGN1, confirm, late).status, 401);
    assert_eq!(world.enrol(&token, &home, late).0.status, 200);
}

#[test]
fn a_statement_is_renewed_when_half_is_over_while_its_keys_are_young() {
    let mut world = World::new();
    let rules = Rules { kem_key_s: 20 * DAY_S, ..Rules::default() };
    world.centre.set_policy(&rules, 90 * DAY_S, "operator:0", at(0).unix()).unwrap();
    let (home, first) = world.home(at(0));
    assert_eq!(world.ask(&home, 2, at(14 * DAY_S)), Some(first.clone()));
    let second = world.ask(&home, 3, at(16 * DAY_S)).unwrap();
    assert_eq!((second.previous(), second.kid()), (Some(first.serial()), first.kid()));
    // The next would be due, but now its sealing key is too old: only new keys are stated.
    assert_eq!(world.ask(&home, 4, at(40 * DAY_S)), Some(second));
    assert_eq!(world.ask(&home, 5, at(47 * DAY_S)), None, "its time is over");
}

#[test]
fn the_centre_renews_its_own_and_still_opens_what_was_sealed_to_the_key_before() {
    let mut world = World::new();
    let (home, _) = world.home(at(0));
    let before = world.centre.desk.keys.kem().public().clone();
    let sealed = |world: &World, now: Now| {
        let body = KeyRequest { party: Some(party(1)), known: None }.encode();
        let policy = world.centre.desk.policy.version();
        let kind = Kind::KeyRequest;
        let seq = now.boot.as_secs();
        let draft = Draft { kind, answers: None, seq, policy, issued: now.unix(), lifetime_s: 60, body: &body };
        seal(&draft, (party(1), home.sig()), (party(0xff), &before), &mut UnwrapErr(SysRng)).unwrap().bytes
    };
    let rolled = at(7 * DAY_S);
    world.centre.handle_timeout(rolled);
    assert!(*world.centre.desk.keys.kem().public() != before);
    let opened = |world: &World| world.centre.steps().opened;
    let (raw, so_far) = (sealed(&world, rolled), opened(&world));
    world.post(endpoints::KEY, CONTENT_TYPE_SIGN1, raw, rolled);
    assert_eq!(opened(&world), so_far + 1);
    let later = at(7 * DAY_S + 2 * 3600 + 200);
    let raw = sealed(&world, later);
    world.post(endpoints::KEY, CONTENT_TYPE_SIGN1, raw, later);
    assert_eq!(opened(&world), so_far + 1, "the old sealing key is gone");
}

#[test]
fn recorded_messages_sent_again_and_again_are_a_flood_too() {
    let mut world = World::new();
    let (home, _) = world.home(at(0));
    let body = KeyRequest { party: Some(party(1)), known: None }.encode();
    let recorded = world.message(&home, Kind::KeyRequest, 2, &body, at(0));
    let statuses: Vec<_> =
        (0..34).map(|_| world.post(endpoints::KEY, CONTENT_TYPE_SIGN1, recorded.clone(), at(0)).status).collect();
    let explained = statuses.iter().take_while(|status| **status == 200).count();
    // The first is new; to so many its sender is told why; then nobody gets a signature for nothing.
    assert_eq!((explained, statuses[33]), (1 + crate::limits::LOAD.refusals_per_s as usize, 429), "{statuses:?}");
}

#[test]
fn who_asks_the_time_by_a_wrong_clock_is_told_it_also_under_load() {
    let mut world = World::new();
    let (home, _) = world.home(at(0));
    let now = at(DAY_S);
    for _ in 0..crate::limits::LOAD.refusals_per_s {
        world.post(endpoints::TIME, CONTENT_TYPE_SIGN1, vec![0xd2], now);
    }
    // Both were made a day ago; under load each needs a cookie for its address.
    let mut ask = |path: &str, kind: Kind, seq: u64, body: &[u8]| {
        let raw = world.message(&home, kind, seq, body, at(0));
        let cti = Envelope::parse(&raw).unwrap().head().cti;
        let challenged = world.post(path, CONTENT_TYPE_SIGN1, raw.clone(), now);
        assert_eq!(challenged.status, 429);
        let cookie = secure_http::answer_challenge(&challenged.challenge.unwrap(), &raw);
        let request = Request {
            peer: IpAddr::from([192, 0, 2, 1]),
            reads: false,
            path: path.to_owned(),
            content_type: Some(CONTENT_TYPE_SIGN1.to_owned()),
            cookie,
            if_none_match: None,
            body: raw,
        };
        let answer = world.centre.handle(&request, 0, now);
        (answer.status == 200).then(|| world.read(&home, &answer, cti, now))
    };
    let key = KeyRequest { party: Some(party(1)), known: None }.encode();
    assert_eq!(ask(endpoints::KEY, Kind::KeyRequest, 2, &key), None, "a reason is nothing for times of load");
    let (kind, body) = ask(endpoints::TIME, Kind::Time, 3, &[]).expect("the time");
    assert_eq!(kind, Kind::Error);
    assert_eq!(SealedError::decode(&body), Ok(SealedError::Stale { time: now.unix() }));
}

#[test]
fn the_policy_is_signed_anew_before_it_ends_and_troubles_name_an_issuing_key_that_ends() {
    let mut world = World::new();
    let version = |world: &World| world.centre.policy().map(Policy::version);
    world.centre.handle_timeout(at(44 * DAY_S));
    assert_eq!((version(&world), world.centre.troubles().len()), (Some(1), 0));
    world.centre.handle_timeout(at(46 * DAY_S));
    assert_eq!(version(&world), Some(2));
    world.centre.handle_timeout(at(306 * DAY_S));
    assert!(world.centre.troubles().iter().any(|t| t.contains("sign-issuing")), "{:?}", world.centre.troubles());
    world.centre.handle_timeout(at(366 * DAY_S));
    assert!(world.centre.troubles().iter().any(|t| t.contains("does not hold")), "{:?}", world.centre.troubles());
}

#[test]
fn a_database_of_another_centre_does_not_open_with_these_keys() {
    let (ours, theirs) = (World::new().dir, World::new().dir);
    std::fs::copy(theirs.path().join("issuing.key"), ours.path().join("issuing.key")).unwrap();
    let settings = World::new().centre.desk.settings.clone();
    let opened = Centre::open(Store::open(ours.path()).unwrap(), Keyring::new(ours.path(), None), settings, at(0));
    assert!(matches!(opened.err(), Some(CentreError::Keys(KeyringError::Lost { .. }))));
}

#[test]
fn a_party_whose_statements_do_not_all_fit_the_revocation_list_is_refused_as_a_whole() {
    let mut world = World::new();
    let rules = Rules { kem_key_s: 20 * DAY_S, ..Rules::default() };
    world.centre.set_policy(&rules, 90 * DAY_S, "operator:0", at(0).unix()).unwrap();
    let (home, first) = world.home(at(0));
    let then = at(16 * DAY_S);
    let second = world.ask(&home, 2, then).unwrap();
    assert!(first.serial() < second.serial() && first.validity().contains(then.unix()));

    let World { dir, centre } = world;
    drop(centre);
    let database = rusqlite::Connection::open(dir.path().join(crate::store::FILE)).unwrap();
    let sql = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
               INSERT INTO revoked SELECT 1000000 + i, 0, ?2, '' FROM n";
    let full = secure_http::limits::REVOKED_MAX - 1;
    database.execute(sql, rusqlite::params![full, then.unix().plus(DAY_S).0]).unwrap();
    drop(database);

    let mut centre = World::open(&dir, then);
    let refused = centre.revoke(party(1).as_str(), "stolen", "operator:0", then.unix());
    assert!(matches!(refused, Err(AdminError::Full(_))), "{refused:?}");
    assert_eq!(centre.holdings(then.unix()).unwrap().revoked, full);
    // When the others are over there is room for both.
    let later = at(16 * DAY_S + DAY_S + 1);
    centre.revoke(party(1).as_str(), "stolen", "operator:0", later.unix()).unwrap();
    assert_eq!(centre.holdings(later.unix()).unwrap().revoked, 2);
}
