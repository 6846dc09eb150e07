//! The database: restarts, crashes, damage, a full disk.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};

use energy_model::{Flexibility, Importance, PowerState, WakeMethod};

use super::*;
use crate::journal::{Cause, Ending};
use crate::limits::{LOG_PAGES, SET_ASIDE_MAX};

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

/// The files of a database without its index, which is in memory and does not outlive a power cut.
fn files(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let dir = fs::read_dir(path.parent().unwrap()).unwrap().map(|file| file.unwrap());
    let all = dir.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap()));
    all.filter(|(name, _)| !name.ends_with("-shm")).collect()
}

fn opened_from(files: &BTreeMap<String, Vec<u8>>) -> (tempfile::TempDir, Opened) {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    let opened = open(&dir.path().join(FILE));
    (dir, opened)
}

fn mode(connection: &Connection) -> String {
    connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap()
}

fn all(store: &Store) -> Vec<Entry> {
    store.journal(&JournalQuery { limit: 10_000, ..Default::default() }).unwrap()
}

#[test]
fn a_process_killed_in_the_middle_of_a_write_leaves_the_state_before_it() {
    // As it is now, and as an earlier version left it, with a rollback journal.
    for (now, left) in [("WAL", "heg.db-wal"), ("DELETE", "heg.db-journal")] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let mut store = open(&path).store;
        store.write(&batch(&[wakes(1)], 0..50), noon()).unwrap();
        store.connection.query_row(&format!("PRAGMA journal_mode={now}"), [], |_| Ok(())).unwrap();
        // A transaction that has written pages and is never committed.
        let begun = "PRAGMA cache_size=1; BEGIN; UPDATE journal SET reason = hex(randomblob(900));";
        store.connection.execute_batch(begun).unwrap();
        let crashed = files(&path);
        assert!(crashed[left].len() > 4096, "{left} holds what was begun");

        let (_dir, Opened { store, restored, set_aside }) = opened_from(&crashed);
        assert_eq!((restored.registrations, set_aside), (vec![wakes(1)], None));
        assert_eq!(all(&store), (0..50).map(entry).collect::<Vec<_>>());
        assert_eq!(mode(&store.connection), "wal");
    }
}

/// `after`, with every sector that is not as `before` torn by a power cut.
fn torn(before: &[u8], after: &[u8]) -> Vec<u8> {
    let mut torn = after.to_vec();
    for (n, sector) in torn.chunks_mut(4096).enumerate() {
        let at = n * 4096;
        let old = before.get(at..(at + sector.len()).min(before.len())).unwrap_or_default();
        if old != sector {
            sector.fill(0xa5);
        }
    }
    torn
}

#[test]
fn a_power_cut_in_a_write_or_while_the_log_is_copied_loses_nothing_acknowledged_before() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    let mut store = open(&path).store;
    // Every few writes the log is copied into the database and begun anew.
    store.connection.execute_batch("PRAGMA wal_autocheckpoint=20").unwrap();
    let mut before = files(&path);
    let (mut copied, mut begun_anew) = (0, 0);
    for n in 1..60 {
        store.write(&batch(&[wakes(n)], n.into()..i64::from(n) + 1), noon()).unwrap();
        let after = files(&path);
        let part = |files: &BTreeMap<String, Vec<u8>>, name: &str| files.get(name).cloned().unwrap_or_default();
        let [log_torn, database_torn] =
            ["heg.db-wal", FILE].map(|name| torn(&part(&before, name), &part(&after, name)));

        // In the write: the log is torn, and the database not yet touched.
        let mut cut = before.clone();
        cut.insert("heg.db-wal".into(), log_torn);
        let (_dir, Opened { store: found, restored, set_aside }) = opened_from(&cut);
        assert_eq!((restored.last_reg, set_aside), (n - 1, None));
        assert_eq!(all(&found), (1..n.into()).map(entry).collect::<Vec<_>>());

        // While the log is copied: it is whole, and the database torn.
        if after[FILE] != before[FILE] {
            copied += 1;
            let mut cut = after.clone();
            cut.insert(FILE.into(), database_torn);
            let (_dir, Opened { store: found, restored, set_aside }) = opened_from(&cut);
            assert_eq!((restored.last_reg, set_aside), (n, None));
            assert_eq!(all(&found), (1..=n.into()).map(entry).collect::<Vec<_>>());
        }
        begun_anew += u32::from(part(&before, "heg.db-wal").get(..32) != Some(&after["heg.db-wal"][..32]));
        before = after;
    }
    assert!(copied > 3 && begun_anew > 3, "{copied} {begun_anew}");
}

#[test]
fn the_log_is_bounded_and_gone_after_an_orderly_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    let mut store = open(&path).store;
    let log = dir.path().join("heg.db-wal");
    let mut largest = 0;
    for n in 0..i64::from(LOG_PAGES) {
        store.write(&batch(&[], n..n + 1), noon()).unwrap();
        largest = largest.max(fs::metadata(&log).unwrap().len());
    }
    let bound = u64::from(LOG_PAGES + 20) * 4120;
    assert!(largest > bound / 2 && largest < bound, "{largest}");
    let database = fs::metadata(&path).unwrap().len();
    assert_eq!(store.size(), (LOG_PAGES.into(), database + fs::metadata(&log).unwrap().len()));
    for name in ["heg.db", "heg.db-wal", "heg.db-shm"] {
        let mode = fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    drop(store);
    assert_eq!(files(&path).into_keys().collect::<Vec<_>>(), [FILE]);
}

#[test]
fn a_database_of_an_earlier_version_is_changed_in_its_place_and_one_may_go_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    open(&path).store.write(&batch(&[wakes(1)], 0..9), noon()).unwrap();
    // What the earlier version does when it opens a database, whatever form it has.
    let earlier = || {
        let connection = Connection::open(&path).unwrap();
        connection.query_row("PRAGMA journal_mode=DELETE", [], |_| Ok(())).unwrap();
        assert_eq!(mode(&connection), "delete");
        connection.execute_batch("CREATE INDEX IF NOT EXISTS journal_at ON journal (at)").unwrap();
        connection.query_row("SELECT count(*) FROM journal", [], |row| row.get::<_, u32>(0)).unwrap()
    };
    assert_eq!(earlier(), 9);
    let Opened { mut store, restored, set_aside } = open(&path);
    assert_eq!((mode(&store.connection).as_str(), restored.registrations, set_aside), ("wal", vec![wakes(1)], None));
    let sql = "SELECT count(*) FROM sqlite_schema WHERE name = 'journal_at'";
    assert_eq!(store.connection.query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap(), 0);
    store.write(&batch(&[wakes(2)], 9..10), noon()).unwrap();
    assert_eq!(all(&store), (0..10).map(entry).collect::<Vec<_>>());
    drop(store);
    assert_eq!(earlier(), 10);
}

#[test]
fn others_read_and_copy_it_while_it_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    let mut store = open(&path).store;
    store.write(&batch(&[wakes(1)], 0..5), noon()).unwrap();
    let reader = Connection::open_with_flags(&path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let copy = tempfile::tempdir().unwrap();
    let copy = copy.path().join(FILE);
    reader.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    store.write(&batch(&[wakes(2)], 5..6), noon()).unwrap();
    let entries: u32 = reader.query_row("SELECT count(*) FROM journal", [], |row| row.get(0)).unwrap();
    assert_eq!(entries, 6);
    assert_eq!(open(&copy).restored.registrations, [wakes(1)]);
}

#[test]
fn where_the_index_of_the_log_cannot_be_made_the_database_is_opened_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    let mut store = open(&path).store;
    store.write(&batch(&[wakes(1)], 0..5), noon()).unwrap();
    let killed = files(&path);
    drop(store);
    for (name, bytes) in killed {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    // No index can be made under this name.
    std::os::unix::fs::symlink("nowhere", dir.path().join("heg.db-shm")).unwrap();
    let Opened { mut store, restored, .. } = open(&path);
    assert_eq!((mode(&store.connection).as_str(), restored.registrations), ("wal", vec![wakes(1)]));
    store.write(&batch(&[wakes(2)], 5..6), noon()).unwrap();
    drop(store);
    fs::remove_file(dir.path().join("heg.db-shm")).unwrap();
    assert_eq!(open(&path).restored.registrations, [wakes(1), wakes(2)]);
}

#[test]
fn a_damaged_database_is_set_aside_under_a_new_name_and_a_new_one_begun() {
    let damage = "this is no database ".repeat(100);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    fs::write(&path, &damage).unwrap();
    let Opened { mut store, restored, set_aside } = open(&path);
    let note = set_aside.unwrap();
    let damaged = |path: &PathBuf| path.to_str().unwrap().contains("heg.db.damaged-");
    let aside = fs::read_dir(dir.path()).unwrap().map(|f| f.unwrap().path()).find(damaged).unwrap();
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
fn a_damaged_database_takes_its_log_along_unread() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    open(&path).store.write(&batch(&[], 0..500), noon()).unwrap();
    let mut store = open(&path).store;
    store.write(&batch(&[wakes(1)], 500..510), noon()).unwrap();
    let mut killed = files(&path);
    drop(store);
    let n = killed[FILE].len();
    killed.get_mut(FILE).unwrap()[8192..n - 8192].fill(0xa5);

    let (dir, opened) = opened_from(&killed);
    let note = opened.set_aside.unwrap();
    assert_eq!(opened.restored.registrations, [], "nothing of the old log is in the new database");
    drop(opened.store);
    let path = dir.path().join(FILE);
    let kept: Vec<_> = files(&path).into_iter().filter(|(name, _)| name != FILE).collect();
    assert_eq!(kept.len(), 2, "{note}");
    assert!(note.contains(&kept[0].0) && kept[1].0 == format!("{}-wal", kept[0].0), "{note}");
    assert!(kept[0].1 == killed[FILE] && kept[1].1 == killed["heg.db-wal"], "as they were found");

    for hour in 1..6 {
        fs::write(&path, "broken".repeat(100)).unwrap();
        Store::open(&path, RETENTION, noon().checked_add(Duration::from_secs(hour * 3600)).unwrap()).unwrap();
    }
    assert_eq!(files(&path).len(), 1 + SET_ASIDE_MAX, "its log goes with the oldest");
}

#[test]
fn damage_found_while_running_takes_nothing_from_the_database_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    let many = Retention { entries: 10_000, ..RETENTION };
    Store::open(&path, many, noon()).unwrap().store.write(&batch(&[], 0..5000), noon()).unwrap();
    // Fewer entries are kept from now on, so that the first write goes through the old ones: more than are in memory.
    let retention = Retention { entries: 10, ..RETENTION };
    let (mut worker, _) = worker::Worker::<()>::open(&path, retention, noon()).unwrap();
    let size = fs::metadata(&path).unwrap().len() as usize;
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&vec![0xa5; size - 8192], 8192).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let lost = batch(&[wakes(1)], 5000..5001);
    worker.write(lost.clone(), noon());
    let worker::Done::BeganAnew(again, note) = runtime.block_on(worker.next()) else { panic!("not found") };
    assert!(again == lost && note.contains("the database was damaged"), "{note}");
    // The old connection is closed by now: the new log must have outlived it.
    worker.write(again, noon());
    assert!(matches!(runtime.block_on(worker.next()), worker::Done::Written(Ok(()))));
    let mut killed = files(&path);
    killed.retain(|name, _| !name.contains("damaged"));
    let (_dir, Opened { restored, set_aside, .. }) = opened_from(&killed);
    assert_eq!((restored.registrations, set_aside), (vec![wakes(1)], None));
    worker.close();
    assert_eq!(open(&path).restored.registrations, [wakes(1)]);
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
fn of_the_journal_what_was_ordered_and_decided_is_found_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(&dir.path().join(FILE)).store;
    assert!(store.decided().unwrap().is_empty());
    let mut written = batch(&[], 0..5);
    for (entry, action) in
        written.journal.iter_mut().zip(["plan off", "PowerState ON", "GoToStandby", "rule 1: on", "plan start"])
    {
        entry.action = action.into();
    }
    written.journal[4].udn = None;
    store.write(&written, noon()).unwrap();
    let found: Vec<_> = store.decided().unwrap().into_iter().map(|e| e.action.to_string()).collect();
    assert_eq!(found, ["plan off", "GoToStandby"]);
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
