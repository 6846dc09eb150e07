//! The store's suite: the same cases on SQLite and on PostgreSQL, and what only one of them has.

#![expect(clippy::unwrap_used, reason = "helpers of tests, where a panic is a failed test")]

mod cases;
#[path = "../support/keys.rs"]
mod keys;
#[path = "../support/messages.rs"]
mod messages;

use std::path::Path;

use testkit::lab::sandbox::skip;
use testkit::postgres::Cluster;
use utility::store::{Store, StoreError};

#[test]
fn every_case_passes_on_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let mut next = 0;
    run_all(move || {
        next += 1;
        let path = dir.path().join(format!("{next}.db"));
        Box::pin(async move { Store::sqlite(&path).unwrap() })
    });
}

#[test]
fn every_case_passes_on_postgresql() {
    let cluster = match Cluster::installed() {
        Ok(()) => Cluster::start().unwrap(),
        Err(missing) => return skip(missing),
    };
    run_all(|| {
        let database = cluster.database().unwrap();
        Box::pin(async move { Store::postgres(&database, 8).await.unwrap() })
    });
}

/// Runs every case on a store of its own, and names those that failed.
fn run_all(mut store: impl FnMut() -> futures_util::future::BoxFuture<'static, Store>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut failed = Vec::new();
    for (name, case) in cases::ALL {
        println!("{name}");
        let store = store();
        let ran = runtime.block_on(async move { tokio::spawn(async move { case(store.await).await }).await });
        if ran.is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "failed: {failed:#?}");
}

#[test]
fn two_replicas_on_one_postgresql_hear_each_other_and_never_give_a_number_twice() {
    let cluster = match Cluster::installed() {
        Ok(()) => Cluster::start().unwrap(),
        Err(missing) => return skip(missing),
    };
    let database = cluster.database().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (one, other) = tokio::join!(Store::postgres(&database, 4), Store::postgres(&database, 4));
        cases::replicas(one.unwrap(), other.unwrap()).await;
    });
}

#[test]
fn a_database_of_a_later_version_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("utility.db");
    drop(Store::sqlite(&path).unwrap());
    let version = version(&path);
    set_version(&path, 99);
    assert!(matches!(Store::sqlite(&path), Err(StoreError::TooNew { found: 99, .. })));
    set_version(&path, version);
    Store::sqlite(&path).unwrap();
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("utility.db");
    let text = "not a database, whatever its name says. ".repeat(100);
    std::fs::write(&path, &text).unwrap();
    assert!(matches!(Store::sqlite(&path), Err(StoreError::Damaged(_))));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn a_database_file_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("utility.db");
    let _store = Store::sqlite(&path).unwrap();
    for name in ["utility.db", "utility.db-wal", "utility.db-shm"] {
        let mode = std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn postgresql_that_is_not_there_or_not_understood_is_told_and_never_a_panic() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let open = |connection: &str| runtime.block_on(Store::postgres(connection, 1)).err().unwrap();
    assert!(matches!(open("hots=nowhere"), StoreError::Connection(_)));
    assert!(matches!(open("host=/nonexistent user=x dbname=x"), StoreError::Unavailable(_)));
}

/// The schema's version: bytes 60 to 63 of a SQLite file, its `user_version`.
fn version(path: &Path) -> u32 {
    use std::os::unix::fs::FileExt as _;
    let mut bytes = [0; 4];
    std::fs::File::open(path).unwrap().read_exact_at(&mut bytes, 60).unwrap();
    u32::from_be_bytes(bytes)
}

fn set_version(path: &Path, version: u32) {
    use std::os::unix::fs::FileExt as _;
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(&version.to_be_bytes(), 60).unwrap();
}
