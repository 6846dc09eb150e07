//! Wake-on-LAN by a service beside the daemon (IO): `psm-agent-wake.service` runs `psm-agent wake-on-lan`, which asks every network
//! card, arms it where that is wanted, and leaves what it learned in a file.
//!
//! Asking a driver takes CAP_NET_ADMIN, which is the right to do anything to this machine's network. The daemon, which talks to
//! everybody in the home, does not have it as a service; it has systemd start the other one when links change. Run as root,
//! without the unit, it asks by itself and none of this is used.

use core::time::Duration;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use daemon_kit::state_dir;
use zbus::OwnedObjectPath;

use crate::bus::{BusError, Caller};
use crate::limits::{LINKS_MAX, UNIT_LOOK_FIRST, UNIT_LOOK_LONGEST, WAKE_FILE_BYTES_MAX, WAKE_SERVICE_WITHIN};
use crate::link;
use crate::logind::PROPERTIES;
use crate::operation::{MANAGER, PATH, SYSTEMD, active_state, load_unit};
use crate::wake::{Ability, Waker};

/// The service.
pub const NAME: &str = "psm-agent-wake.service";
const DIRECTORY: &str = "/run/psm-agent-wake";
const FILE: &str = "links.json";
const JOB: &str = "org.freedesktop.systemd1.Job";
/// An Ethernet link, also a wireless one (ARPHRD_ETHER).
const ETHERNET: &str = "1";

/// What each link's driver says, by the link's index.
pub type Abilities = BTreeMap<u32, Ability>;

/// Asks all links, and arms those that can be where `arm` is set; what is learned is left for the daemon, or without a service
/// manager given as text.
///
/// # Errors
/// No netlink, or the file cannot be written.
pub fn run(arm: bool) -> anyhow::Result<Option<String>> {
    let mut waker = Waker::new()?;
    let mut abilities = Abilities::new();
    for (index, name) in links(Path::new("/sys/class/net")).into_iter().take(LINKS_MAX) {
        let wireless = link::is_wireless(&name);
        abilities.insert(index, link::ability(&mut waker, index, &name, wireless, arm));
    }
    let bytes = serde_json::to_vec(&abilities)?;
    match std::env::var_os("RUNTIME_DIRECTORY").map(PathBuf::from) {
        Some(dir) => state_dir::write_atomically(&dir.join(FILE), &bytes)?,
        None => return Ok(Some(String::from_utf8(bytes)?)),
    }
    Ok(None)
}

fn links(sysfs: &Path) -> Vec<(u32, String)> {
    let Ok(entries) = fs::read_dir(sysfs) else { return Vec::new() };
    let of = |name: String| {
        let says = |what: &str| fs::read_to_string(sysfs.join(&name).join(what)).ok();
        (says("type")?.trim() == ETHERNET).then_some(())?;
        Some((says("ifindex")?.trim().parse().ok()?, name))
    };
    entries.flatten().filter_map(|entry| of(entry.file_name().into_string().ok()?)).collect()
}

/// Has the service look again, and reads what it found.
///
/// # Errors
/// Why not, for people.
pub async fn ask(bus: Caller) -> Result<Abilities, String> {
    let asked = async {
        start(&bus).await.map_err(|e| format!("{NAME}: {e}"))?;
        let path = load_unit(&bus, NAME).await.map_err(|e| e.to_string())?;
        match active_state(&bus, &path).await.map_err(|e| e.to_string())?.as_str() {
            "failed" => Err(format!("{NAME} failed")),
            _ => read(&Path::new(DIRECTORY).join(FILE)),
        }
    };
    tokio::time::timeout(WAKE_SERVICE_WITHIN, asked)
        .await
        .unwrap_or_else(|_| Err(format!("{NAME} did not end within {} s", WAKE_SERVICE_WITHIN.as_secs())))
}

/// Starts it and waits for its end: systemd's job is gone then.
async fn start(bus: &Caller) -> Result<(), BusError> {
    let reply = bus.call(SYSTEMD, PATH, MANAGER, "StartUnit", &(NAME, "replace")).await?;
    let job: OwnedObjectPath = reply.body().deserialize()?;
    let mut pause: Duration = UNIT_LOOK_FIRST;
    loop {
        match bus.call(SYSTEMD, job.as_str(), PROPERTIES, "Get", &(JOB, "State")).await {
            Ok(_) => {}
            Err(BusError::Refused { .. }) => return Ok(()),
            Err(error) => return Err(error),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(UNIT_LOOK_LONGEST);
    }
}

fn read(path: &Path) -> Result<Abilities, String> {
    let bytes = state_dir::read_bounded(path, WAKE_FILE_BYTES_MAX).map_err(|e| e.to_string())?;
    let bytes = bytes.ok_or_else(|| format!("{NAME} left nothing"))?;
    serde_json::from_slice(&bytes).map_err(|e| format!("{}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_service_leaves_is_what_the_daemon_reads() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let abilities = Abilities::from([(2, Ability::Armed), (3, Ability::No), (7, Ability::Disarmed)]);
        fs::write(&path, serde_json::to_vec(&abilities).unwrap()).unwrap();
        assert_eq!(read(&path).unwrap(), abilities);
        for bad in ["", "[]", "{\"2\":\"asleep\"}", "{\"x\":\"no\"}"] {
            fs::write(&path, bad).unwrap();
            assert!(read(&path).unwrap_err().contains("links.json"), "{bad:?}");
        }
        fs::write(&path, vec![b' '; WAKE_FILE_BYTES_MAX as usize + 1]).unwrap();
        assert!(read(&path).unwrap_err().contains("larger than"));
        fs::remove_file(&path).unwrap();
        assert_eq!(read(&path).unwrap_err(), "psm-agent-wake.service left nothing");
    }

    #[test]
    fn only_ethernet_links_are_asked() {
        let dir = tempfile::tempdir().unwrap();
        for (name, kind, index) in [("eth0", "1", "2"), ("lo", "772", "1"), ("wg0", "65534", "4")] {
            fs::create_dir(dir.path().join(name)).unwrap();
            fs::write(dir.path().join(name).join("type"), format!("{kind}\n")).unwrap();
            fs::write(dir.path().join(name).join("ifindex"), format!("{index}\n")).unwrap();
        }
        assert_eq!(links(dir.path()), [(2, "eth0".to_owned())]);
        assert_eq!(links(Path::new("/nonexistent")), []);
    }
}
