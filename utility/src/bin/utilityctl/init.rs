//! `utilityctl init`: a utility and its key management centre on this machine, from nothing to members of each other.
//!
//! It does what an operator would by hand, with the programs and services that are installed: the centre's keys are made by `heg-kmc` as
//! its own user, and what the utility gets of it is a token. Each step looks whether it is done already, so that it can be said again.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use daemon_kit::clock;
use daemon_kit::exit::Exit;
use http::{Method, StatusCode};
use nix::unistd::Group;
use serde_json::{Value, json};
use utility::api::{EnrolBody, KeysView};
use utility::client::HttpUrl;

use crate::output::line;
use crate::server::{Refused, Server, read};

const KMC_CONFIG: &str = "/etc/heg/heg-kmc.toml";
const UTILITY_CONFIG: &str = "/etc/heg/heg-utility.toml";
const KMC_DATABASE: &str = "/var/lib/heg-kmc/kmc.db";
/// The passphrase of the centre's key files, where heg-kmc.service is given it.
const PASSPHRASE: &str = "/etc/heg/heg-kmc.passphrase.cred";
/// What has it given.
const PASSPHRASE_DROP_IN: &str = "/etc/systemd/system/heg-kmc.service.d/passphrase.conf";
const KMC_PORT: u16 = 8440;
const HOMES_PORT: u16 = 8460;
/// A configuration file of ours has some kilobytes.
const CONFIG_BYTES_MAX: u64 = 1 << 20;
/// From the start of a service to its first answer, on a slow card.
const UP_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Somewhere outside (RFC 5737). Nothing is sent there; the kernel is asked which way it would be.
const OUTSIDE: &str = "192.0.2.1:9";

/// What was there before and what is there now.
struct Done {
    made: bool,
    fingerprint: String,
    keys: KeysView,
    host: String,
}

/// Does it all and says what comes next.
///
/// # Errors
/// The step that failed, with the words of the program that did it. What was done before it stays, and is not done again.
pub(crate) fn run(
    url: Option<HttpUrl>,
    token_file: Option<std::path::PathBuf>,
    host: Option<String>,
    json: bool,
) -> anyhow::Result<u8> {
    if !nix::unistd::geteuid().is_root() {
        return Err(anyhow::anyhow!("init has to be root: it makes keys as another user and starts services"))
            .context(Exit::NoPerm);
    }
    let host = host.map_or_else(own_address, Ok)?;
    let everywhere = everywhere();
    let kmc =
        [("listen", Value::from(with_port(everywhere, KMC_PORT))), ("host", Value::from(with_port(&host, KMC_PORT)))];
    configure(Path::new(KMC_CONFIG), "heg-kmc", "http", &kmc)?;
    let homes = [
        ("listen", json!([with_port(everywhere, HOMES_PORT)])),
        ("reachable", Value::from(with_port(&host, HOMES_PORT))),
    ];
    configure(Path::new(UTILITY_CONFIG), "heg-utility", "homes", &homes)?;
    said(Command::new("heg-kmc").arg("--check"))?;
    said(Command::new("heg-utility").arg("--check"))?;
    let made = !Path::new(KMC_DATABASE).exists();
    if made {
        found_centre()?;
    }
    hand_passphrase()?;
    said(Command::new("systemctl").args(["--quiet", "enable", "heg-kmc.service", "heg-utility.service"]))?;
    // Again, where it runs: the configuration may be new.
    said(Command::new("systemctl").args(["restart", "heg-kmc.service", "heg-utility.service"]))?;
    let status = until_up("heg-kmc", || said(Command::new("heg-kmc").args(["status", "--json"])))?;
    let status: Value = serde_json::from_str(&status).context("heg-kmc's status").context(Exit::Software)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context(Exit::OsErr)?;
    let keys = runtime.block_on(async {
        // The token of the first operator is made by the server's first start.
        let server = until_up("heg-utility", || Server::new(url.clone(), token_file.clone()))?;
        enrol(&server).await
    })?;
    let text = |name: &str| status.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let done = Done { made, fingerprint: text("fingerprint"), keys, host: text("host") };
    if json {
        line(done.json())?
    } else {
        line(done.text())?
    }
    Ok(0)
}

impl Done {
    fn json(&self) -> Value {
        json!({ "kmc": self.keys.kmc, "utility": self.keys.id, "fingerprint": self.fingerprint, "kmc-host": self.host })
    }

    fn text(&self) -> String {
        let Self { made, fingerprint, keys, host } = self;
        let made = if *made { "made now" } else { "was there" };
        format!(
            "Key management centre {} ({made}), for homes at {host}\n\
             Fingerprint of its root key: {fingerprint}\n\
             Utility {}, enrolled there. Its operator \"admin\" is whoever may read its state directory.\n\
             \n\
             What comes next:\n\
             \x20 systemctl stop heg-kmc                                  for its root key to go offline, twice:\n\
             \x20 runuser -u heg-kmc -- heg-kmc root export FILE --passphrase-file - --remove\n\
             \x20 systemctl start heg-kmc\n\
             \x20 utilityctl operator add NAME --role operator            a token for each person\n\
             \x20 utilityctl site add UUID --zone ZONE --group GROUP      takes up a home: UUID is its gateway's, by `hegctl status` there\n\
             \x20 hegctl enrol TOKEN                                      there, with what that prints\n\
             \x20 utilityctl price publish FILE --zone ZONE               prices for the homes of a zone\n\
             \x20 utilityctl status                                       what is still missing\n\
             Ports {KMC_PORT} and {HOMES_PORT} of this machine have to be open to homes.",
            keys.kmc, keys.id
        )
    }
}

/// Makes the centre's keys, as its service would: the same user, directory and passphrase.
fn found_centre() -> anyhow::Result<()> {
    let mut command = Command::new("systemd-run");
    command.args(["--quiet", "--wait", "--pipe", "--collect", "--service-type=exec"]);
    for property in ["User=heg-kmc", "Group=heg-kmc", "StateDirectory=heg-kmc", "StateDirectoryMode=0700", "UMask=0077"]
    {
        command.args(["-p", property]);
    }
    if Path::new(PASSPHRASE).exists() {
        command.args(["-p", &format!("LoadCredentialEncrypted=heg-kmc.passphrase:{PASSPHRASE}")]);
    }
    said(command.args(["heg-kmc", "init", "--json"])).map(drop)
}

/// Has the centre's service given the passphrase of its keys, where there is one.
fn hand_passphrase() -> anyhow::Result<()> {
    let drop_in = Path::new(PASSPHRASE_DROP_IN);
    if !Path::new(PASSPHRASE).exists() || drop_in.exists() {
        return Ok(());
    }
    let text = format!("# By utilityctl init.\n[Service]\nLoadCredentialEncrypted=heg-kmc.passphrase:{PASSPHRASE}\n");
    let dir = drop_in.parent().map_or(Ok(()), fs::create_dir_all);
    dir.and_then(|()| replace(drop_in, &text, 0, 0o644)).context(PASSPHRASE_DROP_IN).context(Exit::IoErr)?;
    said(Command::new("systemctl").arg("daemon-reload")).map(drop)
}

/// The utility's standing, made now if there is none.
async fn enrol(server: &Server) -> anyhow::Result<KeysView> {
    let began = clock::boottime();
    loop {
        match server.get("/v1/keys").await {
            Ok(answer) => return read(&answer),
            Err(error) if error.downcast_ref::<Refused>().is_some_and(|r| r.code == "not-enrolled") => break,
            // It may still be starting.
            Err(error) if refused(&error).is_some() || clock::boottime() > began + UP_WITHIN => return Err(error),
            Err(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
    let token = said(Command::new("heg-kmc").args(["token", "new", "--role", "utility", "--no-qr", "--json"]))?;
    let token: Value = serde_json::from_str(&token).context("heg-kmc's token").context(Exit::Software)?;
    let token =
        token.get("text").and_then(Value::as_str).context("heg-kmc printed no token").context(Exit::Software)?;
    let body = EnrolBody { token: token.to_owned(), id: None };
    match server.send(Method::POST, "/v1/enrol", &body).await {
        Ok(answer) => read(&answer),
        // The server may itself have finished meanwhile what was begun and broken off before.
        Err(error) => server.get("/v1/keys").await.map_or(Err(error), |answer| read(&answer)),
    }
}

fn refused(error: &anyhow::Error) -> Option<StatusCode> {
    error.downcast_ref::<Refused>().map(|refused| refused.status)
}

/// Runs a program to its end; what it printed.
fn said(command: &mut Command) -> anyhow::Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("{name} cannot be run")).context(Exit::Unavailable)?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        let why = if why.trim().is_empty() { String::from_utf8_lossy(&output.stdout) } else { why };
        return Err(anyhow::anyhow!("{name}: {}", why.trim())).context(Exit::Failure);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Tries until it succeeds; the last reason when it does not in time.
fn until_up<T>(name: &str, mut attempt: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let began = clock::boottime();
    loop {
        match attempt() {
            Ok(done) => return Ok(done),
            Err(error) if clock::boottime() > began + UP_WITHIN => {
                return Err(error.context(format!("{name} does not answer; journalctl -u {name} may say why")));
            }
            Err(_) => thread::sleep(LOOK_EVERY),
        }
    }
}

/// This machine's address on its way out.
fn own_address() -> anyhow::Result<String> {
    let ask = || -> io::Result<String> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect(OUTSIDE)?;
        Ok(socket.local_addr()?.ip().to_string())
    };
    ask().context("this machine has no way out; say --host NAME, as homes reach it").context(Exit::Usage)
}

/// All of this machine's addresses, those of IPv4 too; these alone where it has no IPv6.
fn everywhere() -> &'static str {
    if TcpListener::bind("[::]:0").is_ok() { "::" } else { "0.0.0.0" }
}

fn with_port(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Sets what is not set in the configuration file of a service, whose group has the same name. Nothing that somebody has set is changed.
fn configure(path: &Path, group: &str, section: &str, wanted: &[(&str, Value)]) -> anyhow::Result<()> {
    let read = daemon_kit::state_dir::read_bounded(path, CONFIG_BYTES_MAX)?;
    let text = String::from_utf8(read.unwrap_or_default()).with_context(|| path.display().to_string());
    let text = text.context(Exit::Config)?;
    let new =
        with_settings(&text, section, wanted).with_context(|| path.display().to_string()).context(Exit::Config)?;
    let Some(new) = new else { return Ok(()) };
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).with_context(|| dir.display().to_string()).context(Exit::IoErr)?;
    }
    let group = Group::from_name(group)
        .context("the groups of this machine")
        .context(Exit::OsErr)?
        .with_context(|| format!("there is no group {group}; the package makes it, or systemd-sysusers"));
    let group = group.context(Exit::Unavailable)?.gid.as_raw();
    replace(path, &new, group, 0o640).with_context(|| path.display().to_string()).context(Exit::IoErr)
}

/// Writes a file beside and renames it, so that a loss of power leaves one or the other. Mode and owner stay; a new file belongs to root
/// and `group`, with `mode`.
fn replace(path: &Path, text: &str, group: u32, mode: u32) -> io::Result<()> {
    // What a link points to, not the link.
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let (owner, group, mode) = match path.metadata() {
        Ok(old) => (old.uid(), old.gid(), old.permissions().mode()),
        Err(_) => (0, group, mode),
    };
    let mut beside = path.clone().into_os_string();
    beside.push(".new");
    let written = || {
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(text.as_bytes())?;
        fchown(&file, Some(owner), Some(group))?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    written().inspect_err(|_| {
        // Best effort: the next attempt writes it anew.
        let _ = fs::remove_file(&beside);
    })?;
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

/// The text with the settings that it lacks; none when it lacks nothing.
fn with_settings(text: &str, section: &str, wanted: &[(&str, Value)]) -> anyhow::Result<Option<String>> {
    let table: toml::Table = toml::from_str(text)?;
    let of_section = table.get(section).and_then(toml::Value::as_table);
    let missing: Vec<_> = wanted.iter().filter(|(key, _)| of_section.is_none_or(|t| !t.contains_key(*key))).collect();
    if missing.is_empty() {
        return Ok(None);
    }
    // A string of JSON is one of TOML, and so is an array of them.
    let lines: String = missing.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
    let head = format!("[{section}]");
    let is_head = |l: &str| l.split('#').next().is_some_and(|l| l.trim() == head);
    match (of_section, text.lines().position(is_head)) {
        (None, _) => {
            let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
            Ok(Some(format!("{text}{gap}\n# By utilityctl init.\n{head}\n{lines}")))
        }
        (Some(_), Some(at)) => {
            let mut out = String::new();
            for (number, l) in text.lines().enumerate() {
                out += l;
                out.push('\n');
                if number == at {
                    out += &lines;
                }
            }
            Ok(Some(out))
        }
        (Some(_), None) => bail!("add to {section}: {}", lines.trim().replace('\n', ", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> Option<String> {
        let wanted = [("listen", "[::]:8440".into()), ("host", "192.0.2.7:8440".into())];
        with_settings(text, "http", &wanted).unwrap()
    }

    #[test]
    fn what_is_missing_is_added_and_what_is_set_stays() {
        assert_eq!(
            set("# nothing\n").unwrap(),
            "# nothing\n\n# By utilityctl init.\n[http]\nlisten = \"[::]:8440\"\nhost = \"192.0.2.7:8440\"\n"
        );
        let own = "[log]\nlevel = \"debug\"\n[http] # ours\nhost = \"kmc.example\"\n";
        assert_eq!(
            set(own).unwrap(),
            "[log]\nlevel = \"debug\"\n[http] # ours\nlisten = \"[::]:8440\"\nhost = \"kmc.example\"\n"
        );
        assert_eq!(set("[http]\nlisten = \"127.0.0.1:1\"\nhost = \"a\"\n"), None);
        let again = set("").unwrap();
        assert_eq!(set(&again), None, "said again it changes nothing");
    }

    #[test]
    fn a_file_that_is_written_in_another_way_is_not_edited_but_named() {
        let error = with_settings("http = { host = \"a\" }\n", "http", &[("listen", "b".into())]).unwrap_err();
        assert_eq!(error.to_string(), "add to http: listen = \"b\"");
        assert!(with_settings("[http\n", "http", &[]).is_err());
    }

    #[test]
    fn several_addresses_are_an_array() {
        let new = with_settings("", "homes", &[("listen", json!([with_port("::", 8460)]))]).unwrap().unwrap();
        let config: toml::Table = toml::from_str(&new).unwrap();
        assert_eq!(config["homes"]["listen"].as_array().unwrap()[0].as_str(), Some("[::]:8460"));
    }

    #[test]
    fn a_file_that_is_replaced_keeps_mode_and_owner_and_what_a_link_points_to() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o604)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let before = file.metadata().unwrap();
        replace(&link, "new", 0, 0o640).unwrap();
        let after = file.metadata().unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!((after.mode(), after.uid(), after.gid()), (before.mode(), before.uid(), before.gid()));
        assert!(link.is_symlink());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left beside it");
    }

    #[test]
    fn an_address_of_ipv6_is_told_from_its_port() {
        assert_eq!(with_port("kmc.example", 8440), "kmc.example:8440");
        assert_eq!(with_port("2001:db8::1", 8440), "[2001:db8::1]:8440");
    }
}
