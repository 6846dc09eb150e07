//! The operator's side: commands that work on the state directory, and those that ask the daemon and print what it says.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use daemon_kit::control::client::{self, encoded};
use daemon_kit::exit::Exit;
use daemon_kit::state_dir;
use getrandom::SysRng;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use rand_core::{Rng as _, UnwrapErr};
use secure_http::PartyId;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::{
    AuditAnswer, PolicyBody, PolicyView, RevokeBody, StatementView, StatusView, TokenBody, TokenView, moment,
};
use crate::app::{keep_memory_private, keyring, now};
use crate::args::{Command, PolicyCommand, RootCommand, StatementsCommand, TokenCommand, TokenRole};
use crate::centre::{self, hex};
use crate::config::Config;
use crate::key_file::Passphrase;
use crate::limits::POLICY_FILE_BYTES_MAX;
use crate::store::Store;

/// Carries out a command.
///
/// # Errors
/// What the daemon refuses, or a file that can't be read or written.
pub fn run(command: Command, config: &Config, socket: Option<PathBuf>, json: bool) -> anyhow::Result<Exit> {
    match command {
        Command::Init { id, days } => init(config, id, days, json),
        Command::Root { command } => root(config, command, json),
        command => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context(Exit::OsErr)?;
            let daemon = Daemon { socket: socket.unwrap_or_else(|| config.socket()), json };
            runtime.block_on(daemon.ask(command))
        }
    }
}

/// Prints an error as JSON where that was asked for.
pub fn failed(error: &anyhow::Error, json: bool) {
    if json {
        let body = daemon_kit::control::ErrorBody::of(error);
        // Nothing is left to be done when stdout is gone.
        let _ = serde_json::to_writer(io::stdout(), &body).map(|()| writeln!(io::stdout()));
    }
}

fn init(config: &Config, id: Option<PartyId>, days: u64, json: bool) -> anyhow::Result<Exit> {
    keep_memory_private()?;
    let dir = config.state_dir();
    state_dir::ensure(&dir)?;
    let id = id.map_or_else(random_id, Ok)?;
    let founding = centre::found(&dir, &keyring(config, &dir)?, id, days, now().unix()).context(Exit::Failure)?;
    let fingerprint = hex(&founding.fingerprint.0);
    if json {
        return print(&format!("{{\"id\":\"{}\",\"fingerprint\":\"{fingerprint}\"}}\n", founding.id));
    }
    print(&format!(
        "Key management centre {} in {}\nFingerprint of its root key: {fingerprint}\nTake the root key offline: heg-kmc root export FILE --passphrase-file - --remove\n",
        founding.id,
        dir.display()
    ))
}

/// UUID version 4 (RFC 9562, 5.4).
fn random_id() -> anyhow::Result<PartyId> {
    let mut bytes = [0; 16];
    UnwrapErr(SysRng).fill_bytes(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = hex(&bytes);
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    parts.join("-").parse().context(Exit::Software)
}

fn root(config: &Config, command: RootCommand, json: bool) -> anyhow::Result<Exit> {
    keep_memory_private()?;
    let dir = config.state_dir();
    let mut store = Store::open(&dir).context(Exit::Unavailable)?;
    let (keyring, now) = (keyring(config, &dir)?, now().unix());
    let passphrase = |path: &Path| Passphrase::read(path).context(Exit::NoInput);
    let said = match command {
        RootCommand::Export { file, passphrase_file, remove } => {
            let passphrase = passphrase(&passphrase_file)?;
            centre::export_root(&mut store, &keyring, &file, &passphrase, remove, now).context(Exit::Failure)?;
            format!("root key in {}{}", file.display(), if remove { ", removed here" } else { ", also still here" })
        }
        RootCommand::Import { file, passphrase_file } => {
            let passphrase = passphrase(&passphrase_file)?;
            centre::import_root(&mut store, &keyring, &file, &passphrase, now).context(Exit::Failure)?;
            "root key imported".to_owned()
        }
        RootCommand::SignIssuing { root, passphrase_file, days } => {
            let passphrase = passphrase_file.as_deref().map(passphrase).transpose()?;
            let exported = root.as_deref().zip(passphrase.as_ref());
            let until = centre::sign_issuing(&mut store, &keyring, exported, days, now).context(Exit::Failure)?;
            format!("new issuing key until {}; start the daemon", moment(until))
        }
        RootCommand::Recover { party, root, passphrase_file } => {
            let passphrase = passphrase_file.as_deref().map(passphrase).transpose()?;
            let exported = root.as_deref().zip(passphrase.as_ref());
            let serial = centre::recover(&mut store, &keyring, &party, exported, now).context(Exit::Failure)?;
            format!("peers of {party} take the keys of statement {} from now on; start the daemon", serial.0)
        }
    };
    if json { print(&format!("{}\n", serde_json::json!({ "done": said }))) } else { print(&format!("{said}\n")) }
}

struct Daemon {
    socket: PathBuf,
    json: bool,
}

impl Daemon {
    async fn ask(&self, command: Command) -> anyhow::Result<Exit> {
        match command {
            Command::Token { command } => self.token(command).await,
            Command::Statements { command: StatementsCommand::List { subject } } => {
                let path = format!("/v1/statements?subject={}", encoded(&subject));
                self.show(&path, |all: &Vec<StatementView>| statements(all)).await
            }
            Command::Statements { command: StatementsCommand::Show { which } } => {
                self.show(&format!("/v1/statements/{}", encoded(&which)), statement).await
            }
            Command::Revoke { which, reason } => {
                self.order("/v1/revocations", &RevokeBody { which, reason }, statement).await
            }
            Command::Policy { command: PolicyCommand::Show } => self.show("/v1/policy", policy).await,
            Command::Policy { command: PolicyCommand::Set { file } } => {
                let text = state_dir::read_bounded(&file, POLICY_FILE_BYTES_MAX as u64)?;
                let text = text.with_context(|| format!("{} is not there", file.display())).context(Exit::NoInput)?;
                let toml = String::from_utf8(text).context(Exit::DataErr)?;
                self.order("/v1/policy", &PolicyBody { toml }, policy).await
            }
            Command::Audit { since } => {
                let since = since.map_or(0, |at| at.as_second().max(0));
                let answer = client::get(&self.socket, &format!("/v1/audit?since={since}")).await?;
                let log: AuditAnswer = answer.json()?;
                print(&if self.json { answer.text() + "\n" } else { audit(&log) })?;
                Ok(if log.broken_at.is_none() { Exit::Ok } else { Exit::DataErr })
            }
            Command::Status => self.show("/v1/status", status).await,
            Command::Init { .. } | Command::Root { .. } => Ok(Exit::Usage),
        }
    }

    async fn token(&self, command: TokenCommand) -> anyhow::Result<Exit> {
        match command {
            TokenCommand::New { role, uuid, utility, premises, valid, no_qr } => {
                let role = match role {
                    TokenRole::Heg => "heg",
                    TokenRole::Utility => "utility",
                };
                let [uuid, utility] = [uuid, utility].map(|party| party.map(|party| party.to_string()));
                let body = TokenBody { role: role.to_owned(), uuid, utility, premises, days: valid };
                self.order("/v1/tokens", &body, |token| printed(token, !no_qr && io::stdout().is_terminal())).await
            }
            TokenCommand::List => self.show("/v1/tokens", |all: &Vec<TokenView>| tokens(all)).await,
            TokenCommand::Revoke { id } => {
                let answer = client::delete(&self.socket, &format!("/v1/tokens/{}", encoded(&id))).await?;
                self.answered(&answer, |token: &TokenView| format!("token {} is {}\n", token.id, token.state))
            }
        }
    }

    async fn show<T: DeserializeOwned>(&self, path: &str, text: impl Fn(&T) -> String) -> anyhow::Result<Exit> {
        self.answered(&client::get(&self.socket, path).await?, text)
    }

    async fn order<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        text: impl Fn(&T) -> String,
    ) -> anyhow::Result<Exit> {
        self.answered(&client::post(&self.socket, path, body).await?, text)
    }

    fn answered<T: DeserializeOwned>(
        &self,
        answer: &client::Answer,
        text: impl Fn(&T) -> String,
    ) -> anyhow::Result<Exit> {
        print(&if self.json { answer.text() + "\n" } else { text(&answer.json()?) })
    }
}

fn print(text: &str) -> anyhow::Result<Exit> {
    io::stdout().write_all(text.as_bytes()).context(Exit::IoErr)?;
    Ok(Exit::Ok)
}

/// The text, and above it the code that a phone reads. In upper case it takes the smaller sort of characters.
fn printed(token: &TokenView, with_code: bool) -> String {
    let text = token.text.as_deref().unwrap_or_default();
    let code = with_code.then(|| qr(text)).flatten().unwrap_or_default();
    format!("{code}{text}\nname {}, until {}\n", token.id, token.until)
}

/// A QR code in half blocks, in bright white on black whatever the terminal's colours are: the light modules are drawn. None for a text too
/// long for one.
fn qr(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text.to_ascii_uppercase(), EcLevel::M).ok()?;
    let image = code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
    Some(image.lines().map(|line| format!("\x1b[97;40m{line}\x1b[0m\n")).collect())
}

fn tokens(all: &[TokenView]) -> String {
    let mut out = String::new();
    for t in all {
        let uuid = t.uuid.as_deref().unwrap_or("-");
        // Writing to a string does not fail.
        let _ = writeln!(out, "{}  {:8} {:8} until {}  {:36}  {}", t.id, t.state, t.role, t.until, uuid, t.premises);
    }
    out
}

fn statements(all: &[StatementView]) -> String {
    let mut out = String::new();
    for s in all {
        let _ = writeln!(out, "{:>6}  {:10} {:8} {}  until {}", s.serial, s.state, s.role, s.subject, s.until);
    }
    out
}

fn statement(s: &StatementView) -> String {
    let previous = s.previous.map_or_else(|| "-".to_owned(), |serial| serial.to_string());
    format!(
        "Serial    {}\nSubject   {}\nRole      {}\nState     {}\nKey       {}\nFrom      {}\nUntil     {}\nPrevious  {previous}\nUtility   {}\nReached   {}\nCOSE      {}\n",
        s.serial,
        s.subject,
        s.role,
        s.state,
        s.kid,
        s.from,
        s.until,
        s.utility.as_deref().unwrap_or("-"),
        s.host.as_deref().unwrap_or("-"),
        s.cose
    )
}

fn policy(p: &PolicyView) -> String {
    format!(
        "Version       {}\nFrom          {}\nUntil         {}\nKey size      {} bits\nSigning key   {} s\nSealing key   {} s\nMessage       {} s\nSkew          {} s\nRefresh       {} s\n",
        p.version, p.from, p.until, p.min_key_bits, p.sig_key_s, p.kem_key_s, p.message_s, p.skew_s, p.refresh_s
    )
}

fn audit(log: &AuditAnswer) -> String {
    let mut out = String::new();
    for e in &log.entries {
        let _ = writeln!(out, "{:>6}  {}  {}  {}  {}  {}", e.seq, e.time, e.actor, e.action, e.subject, e.detail);
    }
    if let Some(seq) = log.broken_at {
        let _ = writeln!(out, "THE LOG WAS EDITED: entry {seq} does not follow from the one before");
    }
    out
}

fn status(s: &StatusView) -> String {
    let mut out = format!(
        "Centre       {} (version {})\nAddress      {}, local {}\nIn tokens    {}\nFingerprint  {}\nRoot key     until {}\nIssuing key  until {}\nPolicy       version {}\nRevocations  version {}, {} statements\nIn force     {} gateways, {} utilities\nOpen tokens  {}\nEvidence     {} messages\nAudit head   {}\n",
        s.id,
        s.version,
        s.address,
        s.local_address,
        s.host,
        s.fingerprint,
        s.root_until,
        s.issuing_until,
        s.policy,
        s.revocations,
        s.revoked,
        s.gateways,
        s.utilities,
        s.open_tokens,
        s.evidence,
        s.audit_head
    );
    for trouble in &s.troubles {
        let _ = writeln!(out, "TROUBLE      {trouble}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_the_longest_host_still_has_a_code() {
        let text = format!("HEG1:{}:{}:{}", "a".repeat(253), "B".repeat(26), "C".repeat(26));
        let code = qr(&text).unwrap();
        let lines: Vec<_> = code.lines().collect();
        // Two rows of modules a line, in a quiet zone of four modules.
        assert!(lines[0].starts_with("\x1b[97;40m████"), "the quiet zone is light");
        assert!(lines.len() > 20 && lines.iter().all(|line| line.chars().count() == lines[0].chars().count()));
        assert_eq!(qr(&"x".repeat(5000)), None);
    }

    #[test]
    fn a_random_identity_is_a_uuid_of_version_4() {
        let id = random_id().unwrap().to_string();
        assert!(id.as_bytes()[14] == b'4' && b"89ab".contains(&id.as_bytes()[19]), "{id}");
    }
}
