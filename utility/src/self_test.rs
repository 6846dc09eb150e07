//! `heg-utility self-test`: does this build work on this machine? It needs no configuration and leaves nothing behind.

use anyhow::{Context as _, ensure};
use daemon_kit::exit::Exit;
use daemon_kit::identity;
use daemon_kit::self_test::TemporaryDir;
use getrandom::SysRng;
use rand_core::UnwrapErr;

use crate::app::wall;
use crate::sites::Site;
use crate::store::Store;

/// Runs all checks and prints what came of them.
///
/// # Errors
/// Standard output is gone.
pub fn run() -> anyhow::Result<Exit> {
    let checks: [daemon_kit::self_test::Check; 2] = [("sealed messages", sealed), ("database", database)];
    daemon_kit::self_test::run("heg-utility", env!("CARGO_PKG_VERSION"), &checks)
}

fn sealed() -> anyhow::Result<String> {
    let now = secure_http::UnixTime(wall().seconds());
    let tested = secure_http::self_test(&mut UnwrapErr(SysRng), now)?;
    Ok(format!("{} bytes sealed and opened with fresh keys, {} forgeries refused", tested.sealed_bytes, tested.refused))
}

/// A site is written, the file closed, and the site read by a later opening.
fn database() -> anyhow::Result<String> {
    let (dir, now) = (TemporaryDir::new()?, wall());
    let path = dir.path().join("utility.db");
    let site = Site {
        id: identity::random_uuid()?.parse()?,
        name: "Self-test".to_owned(),
        zone: "SE3".parse()?,
        group: "north/feeder-7".parse()?,
        added: now,
        last_contact: None,
        last_report: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context(Exit::OsErr)?;
    runtime.block_on(async {
        Store::sqlite(&path)?.add_site(&site, "self-test", now).await?;
        let store = Store::sqlite(&path)?;
        let (read, changes) = (store.site(&site.id).await?, store.changes(0, 10).await?);
        ensure!(read.as_ref() == Some(&site), "a site reads back as {read:?}");
        ensure!(!changes.is_empty(), "the change is not in the log");
        Ok(format!("SQLite {}, written and read back", rusqlite::version()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_the_server_is_made_of_works_here() {
        for check in [sealed, database] {
            check().unwrap();
        }
    }
}
