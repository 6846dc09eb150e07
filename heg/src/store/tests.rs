//! The database: restarts, crashes, damage, a full disk.

use energy_model::{Flexibility, Importance, PowerState, WakeMethod};

use super::*;
use crate::journal::{Cause, Ending};

const RETENTION: Retention = Retention { age: Duration::from_secs(90 * 24 * 3600), entries: 1000 };

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn noon() -> Timestamp {
    at("2026-11-22T12:00:00Z")
}

fn open(path: &Path) -> Opened {
    Store::open(path, RETENTION, noon()).unwrap()
}

fn tv() -> Profile {
    Profile {
        udn: Udn::parse("uuid:tv").unwrap(),
        name: "TV's \u{1f4fa}".into(),
        maker: "".into(),
        model: "M'); DROP TABLE journal;--".into(),
        address: Some("fe80::1".parse().unwrap()),
        mac: Some("02:00:00:00:00:01".parse().unwrap()),
        wake_method: Some(WakeMethod::WoWlan),
        facts: Some(Facts {
            rated_power: Watts::new(u32::MAX),
            importance: Importance::Low,
            flexibility: Flexibility::StandbyAble,
            minimum_on_s: 1,
            minimum_off_s: 2,
        }),
        power: None,
        state: Some(PowerState::Standby),
        since: noon(),
        last_known: Some(PowerState::Standby),
        last_seen: None,
        known_by: KnownBy::OwnRequest,
        last_refusal: "802 GoToStandby a film is on".into(),
    }
}

fn wish(reg: u32, wish: Wish) -> Registration {
    let due = matches!(wish, Wish::WakeUp(_)).then(|| at("2026-11-23T05:30:00Z"));
    Registration { reg: RegId::new(reg).unwrap(), udn: tv().udn, by: Registrant::Person(1000), wish, made: noon(), due }
}

fn wakes(reg: u32) -> Registration {
    wish(reg, Wish::WakeUp("06:30:00".parse().unwrap()))
}

fn entry(n: i64) -> Entry {
    Entry {
        at: noon().checked_add(Duration::from_secs(n as u64)).unwrap(),
        udn: Some(tv().udn),
        action: format!("action {n}").into(),
        cause: Cause::Person(0),
        ending: Ending::Done,
        reason: "".into(),
    }
}

fn batch(registrations: &[Registration], entries: std::ops::Range<i64>) -> Batch {
    Batch {
        registrations: registrations.iter().map(|r| (r.key(), Some(r.clone()))).collect(),
        journal: entries.map(entry).collect(),
        ..Batch::default()
    }
}

#[test]
fn what_was_written_is_there_after_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    let period: DailyWindow = "22:00:00-06:00:00".parse().unwrap();
    let all = [wakes(7), wish(8, Wish::NoStandby(period)), wish(7, Wish::Standby(period))];
    let mut written = batch(&all, 0..2);
    written.appliances.insert(tv().udn, Some(tv()));
    open(&path).store.write(&written, noon()).unwrap();

    let Opened { mut store, restored, set_aside } = open(&path);
    assert_eq!((restored.appliances, restored.last_reg, set_aside), (vec![tv()], 8, None));
    assert_eq!(restored.registrations.len(), 3);
    assert!(all.iter().all(|r| restored.registrations.contains(r)));
    let journal = store.journal(&JournalQuery { limit: 10, ..Default::default() }).unwrap();
    assert_eq!(journal, [entry(0), entry(1)]);

    let mut gone = Batch::default();
    gone.registrations.insert(Key::Here(RegId::new(7).unwrap()), None);
    gone.registrations.insert(Key::Here(RegId::new(8).unwrap()), None);
    gone.appliances.insert(tv().udn, None);
    store.write(&gone, noon()).unwrap();
    drop(store);
    let restored = open(&path).restored;
    assert_eq!((restored.appliances.len(), restored.registrations.len()), (0, 1), "the appliance's own 7 stays");
    assert_eq!(restored.last_reg, 8, "a number once given is never given again");
}

#[test]
fn a_process_killed_in_the_middle_of_a_write_leaves_the_state_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    open(&path).store.write(&batch(&[wakes(1)], 0..50), noon()).unwrap();
    // A transaction that has changed pages and is never committed, frozen on disk as a crash would leave it.
    let store = open(&path).store;
    store
        .connection
        .execute_batch("PRAGMA cache_size=1; BEGIN; UPDATE journal SET reason = hex(randomblob(900));")
        .unwrap();
    let crashed = tempfile::tempdir().unwrap();
    for file in fs::read_dir(dir.path()).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), crashed.path().join(file.file_name())).unwrap();
    }
    assert!(crashed.path().join("heg.db-journal").exists(), "the crash left a hot rollback journal");

    let Opened { store, restored, set_aside } = open(&crashed.path().join(FILE));
    assert_eq!((restored.registrations, set_aside), (vec![wakes(1)], None));
    let journal = store.journal(&JournalQuery { limit: 100, ..Default::default() }).unwrap();
    assert_eq!(journal, (0..50).map(entry).collect::<Vec<_>>());
}

#[test]
fn a_damaged_database_is_set_aside_under_a_new_name_and_a_new_one_begun() {
    let damage = "this is no database ".repeat(100);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    fs::write(&path, &damage).unwrap();
    let Opened { mut store, restored, set_aside } = open(&path);
    let note = set_aside.unwrap();
    let aside = fs::read_dir(dir.path()).unwrap().map(|f| f.unwrap().path()).find(|p| *p != path).unwrap();
    assert!(note.contains(aside.to_str().unwrap()), "{note}");
    assert_eq!(fs::read_to_string(&aside).unwrap(), damage);
    assert_eq!(i64::from(restored.last_reg), noon().as_second() / 60, "above any number given before");
    store.write(&batch(&[wakes(restored.last_reg + 1)], 0..1), noon()).unwrap();
    drop(store);
    assert_eq!(open(&path).restored.last_reg, restored.last_reg + 1);
}

#[test]
fn pages_overwritten_in_the_middle_are_found_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    open(&path).store.write(&batch(&[], 0..500), noon()).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let n = bytes.len();
    assert!(n > 20_000);
    bytes[8192..n - 4096].fill(0xa5);
    fs::write(&path, &bytes).unwrap();
    assert!(open(&path).set_aside.is_some());
    assert!(open(&path).set_aside.is_none(), "only once");
}

#[test]
fn only_a_few_damaged_databases_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    for hour in 0..6 {
        fs::write(&path, "broken".repeat(100)).unwrap();
        let later = noon().checked_add(Duration::from_secs(hour * 3600)).unwrap();
        Store::open(&path, RETENTION, later).unwrap();
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1 + SET_ASIDE_MAX);
}

#[test]
fn a_database_of_a_later_version_is_left_alone_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    open(&path).store.connection.execute_batch("PRAGMA user_version=99").unwrap();
    let error = Store::open(&path, RETENTION, noon()).unwrap_err();
    assert!(matches!(error, StoreError::TooNew { found: 99, .. }), "{error}");
    assert_eq!(error.exit(), Exit::DataErr);
    assert!(error.to_string().contains("heg.db has schema 99"), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn an_empty_database_is_migrated_step_by_step_and_keeps_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch(MIGRATIONS[0]).unwrap();
    connection.execute_batch("INSERT INTO meta VALUES ('last-reg', 41); PRAGMA user_version=1").unwrap();
    drop(connection);
    assert_eq!(open(&path).restored.last_reg, 41);
    let version: u32 = open(&path).store.connection.query_row("PRAGMA user_version", [], |r| r.get(0)).unwrap();
    assert_eq!(version as usize, MIGRATIONS.len());
}

#[test]
fn a_full_disk_is_told_and_nothing_of_the_batch_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    let mut store = open(&path).store;
    store.write(&batch(&[], 0..1), noon()).unwrap();
    store.fill_disk(true);
    let large = batch(&[wakes(1)], 0..2000);
    assert!(matches!(store.write(&large, noon()), Err(StoreError::Full(_))));
    assert_eq!(store.journal(&JournalQuery { limit: 10, ..Default::default() }).unwrap().len(), 1);
    store.fill_disk(false);
    store.write(&large, noon()).unwrap();
    drop(store);
    assert_eq!(open(&path).restored.registrations, [wakes(1)]);
}

#[test]
fn the_journal_is_bounded_by_age_and_number() {
    let dir = tempfile::tempdir().unwrap();
    let retention = Retention { age: Duration::from_secs(3600), entries: 10 };
    let mut store = Store::open(&dir.path().join(FILE), retention, noon()).unwrap().store;
    store.write(&batch(&[], 0..30), noon()).unwrap();
    let all = JournalQuery { limit: 1000, ..Default::default() };
    assert_eq!(store.journal(&all).unwrap(), (20..30).map(entry).collect::<Vec<_>>());
    let later = noon().checked_add(Duration::from_secs(2 * 3600)).unwrap();
    store.write(&batch(&[], 7200..7201), later).unwrap();
    assert_eq!(store.journal(&all).unwrap(), [entry(7200)]);
}

#[test]
fn a_clock_that_leaps_ahead_for_a_while_does_not_empty_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    let retention = Retention { age: Duration::from_secs(90 * 86_400), entries: 1000 };
    let mut store = Store::open(&path, retention, noon()).unwrap().store;
    store.write(&batch(&[], 0..30), noon()).unwrap();
    let years = 4 * 365 * 86_400;
    let at = |seconds: i64| noon().checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap();
    store.write(&batch(&[], years..years + 1), at(years)).unwrap();
    store.write(&batch(&[], years + 7200..years + 7201), at(years + 7200)).unwrap();
    drop(store);
    let mut store = Store::open(&path, retention, at(years + 20_000)).unwrap().store;
    store.write(&batch(&[], years + 20_000..years + 20_001), at(years + 20_000)).unwrap();
    let all = JournalQuery { limit: 1000, ..Default::default() };
    assert_eq!(store.journal(&all).unwrap().len(), 33, "it may be a wrong clock");
    let week = years + 8 * 86_400;
    store.write(&batch(&[], week..week + 1), at(week)).unwrap();
    assert_eq!(store.journal(&all).unwrap().len(), 4, "it has become the time");
}

#[test]
fn the_journal_is_read_by_moment_appliance_and_number_latest_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(&dir.path().join(FILE)).store;
    let mut written = batch(&[], 0..5);
    written.journal[4].udn = None;
    store.write(&written, noon()).unwrap();
    let read = |query| {
        store.journal(&query).unwrap().iter().map(|e| e.at.duration_since(noon()).as_secs()).collect::<Vec<_>>()
    };
    let limit = 100;
    assert_eq!(read(JournalQuery { since: Some(entry(3).at), limit, udn: None }), [3, 4]);
    assert_eq!(read(JournalQuery { since: None, limit, udn: Some(tv().udn) }), [0, 1, 2, 3]);
    assert_eq!(read(JournalQuery { since: None, limit: 2, udn: None }), [3, 4]);
}

#[test]
fn a_row_that_makes_no_sense_is_left_out_and_the_others_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    let mut store = open(&path).store;
    store.write(&batch(&[wakes(1), wakes(2)], 0..0), noon()).unwrap();
    store.connection.execute_batch("UPDATE registration SET wish = 'Dance' WHERE reg = 1").unwrap();
    drop(store);
    assert_eq!(open(&path).restored.registrations, [wakes(2)]);
}
