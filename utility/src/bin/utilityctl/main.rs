//! utilityctl: shows and commands a utility's server, for people and scripts.

mod args;
mod init;
mod output;
mod server;

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{CommandFactory, Parser};
use daemon_kit::clock;
use daemon_kit::control::client::encoded;
use daemon_kit::control::{ErrorBody, wants_json};
use daemon_kit::exit::Exit;
use http::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tariff::limits::PRICE_FILE_BYTES_MAX;
use utility::api::*;
use utility::client::Answer;
use utility::limits::{FEED_BYTES_MAX, RULES_BYTES_MAX};
use utility::rules::{Rules, dry_run};
use utility::{readings, rules};

use args::{
    Args, Command, ControlCommand, EvidenceCommand, KeysCommand, LimitCommand, OperatorCommand, Order, PolicyCommand,
    PriceCommand, RulesCommand, SiteCommand, SiteFacts,
};
use output::{Output, line};
use server::{Refused, Server, TOKEN_BYTES_MAX, read};

/// How a control ended, where sysexits.h has no word for it. utilityctl(1) lists them.
mod code {
    pub(crate) const REFUSED: u8 = 2;
    pub(crate) const EXPIRED: u8 = 5;
    pub(crate) const CANCELLED: u8 = 6;
}

/// A request for changes is held back for so long by the server.
const WATCH_S: u64 = 50;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            if error.use_stderr() && wants_json(std::env::args_os().skip(1)) {
                print_error("usage", &one_line(&error));
            }
            // Help and version come this way too; nothing is left to be done when the terminal is gone.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { ExitCode::SUCCESS };
        }
    };
    let json = args.json;
    match run(args) {
        Ok(code) => ExitCode::from(code),
        Err(error) => failed(&error, json),
    }
}

fn failed(error: &anyhow::Error, json: bool) -> ExitCode {
    if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe) {
        // Whoever read has seen enough.
        return ExitCode::SUCCESS;
    }
    let (exit, code) = match error.downcast_ref::<Refused>() {
        Some(refused) => (refused.exit(), refused.code.clone()),
        None => (Exit::of(error), ErrorBody::of(error).code),
    };
    if json {
        print_error(&code, &format!("{error:#}"));
    }
    let _ = writeln!(io::stderr(), "utilityctl: {error:#}");
    exit.into()
}

fn print_error(code: &str, error: &str) {
    let body = ErrorBody { error: error.to_owned(), code: code.to_owned() };
    // Nothing is left to be done when stdout is gone.
    let _ = serde_json::to_writer(io::stdout(), &body).map(|()| writeln!(io::stdout()));
}

/// What is wrong with the command line, without the usage that people get.
fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let text = text.split("\n\nUsage:").next().unwrap_or_default();
    let words: Vec<&str> = text.trim_start_matches("error: ").split_whitespace().collect();
    words.join(" ")
}

fn run(args: Args) -> anyhow::Result<u8> {
    let output = Output::new(clock::zone());
    match args.command {
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "utilityctl", &mut script);
            io::stdout().write_all(&script).context(Exit::IoErr)?;
            Ok(0)
        }
        Command::Init { host } => init::run(args.server, args.token_file, host, args.json),
        Command::Rules(RulesCommand::Check { file }) => {
            let rules = rules_of(&file)?;
            for rule in rules.iter().filter(|_| !args.json) {
                line(format!("{}: {}", rule.name(), rule.words()))?;
            }
            if args.json {
                line(serde_json::json!({ "rules": rules.len() }))?;
            }
            Ok(0)
        }
        Command::Rules(RulesCommand::DryRun { file, readings, all }) => {
            let text = text_of(&readings, FEED_BYTES_MAX as u64)?;
            let read = readings::read(&text).with_context(|| readings.display().to_string()).context(Exit::DataErr)?;
            let steps = dry_run(&rules_of(&file)?, &read).into_iter();
            let steps: Vec<rules::DryStep> = steps.filter(|s| all || s.does != "nothing").collect();
            if args.json {
                line(serde_json::to_string(&steps)?)?
            } else {
                output.dry_run(&steps)?
            }
            Ok(0)
        }
        command => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context(Exit::OsErr)?;
            let server = Server::new(args.server, args.token_file)?;
            runtime.block_on(Utility { server, output, json: args.json }.run(command))
        }
    }
}

/// The content of a file; `-` is the standard input.
fn text_of(path: &Path, bytes_max: u64) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        io::stdin().take(bytes_max + 1).read_to_string(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(bytes_max + 1).read_to_string(&mut text))
    };
    read.with_context(|| format!("cannot read {}", path.display())).context(Exit::NoInput)?;
    anyhow::ensure!(
        text.len() as u64 <= bytes_max,
        anyhow::anyhow!("{} has more than {bytes_max} bytes", path.display()).context(Exit::DataErr)
    );
    Ok(text)
}

fn rules_of(file: &Path) -> anyhow::Result<Rules> {
    let text = text_of(file, RULES_BYTES_MAX)?;
    Rules::parse(&text).with_context(|| file.display().to_string()).context(Exit::DataErr)
}

struct Utility {
    server: Server,
    output: Output,
    json: bool,
}

impl Utility {
    async fn run(&self, command: Command) -> anyhow::Result<u8> {
        match command {
            Command::Status => self.show("/v1/status", Output::status).await,
            Command::Sites { group, after, limit } => {
                let query = query(&[("limit", Some(limit.to_string())), ("group", group), ("after", after)]);
                self.show(&format!("/v1/sites{query}"), |o, v: &Vec<SiteView>| o.sites(v)).await
            }
            Command::Site(command) => self.site(command).await,
            Command::Enrol { token, id } => {
                let token = if token == "-" { text_of(Path::new("-"), TOKEN_BYTES_MAX)? } else { token };
                let body = EnrolBody { token: token.trim().to_owned(), id };
                self.made(Method::POST, "/v1/enrol", &body, Output::keys).await
            }
            Command::Keys(command) => self.keys(command).await,
            Command::Policy(PolicyCommand::Show) => self.show("/v1/policy", Output::policy).await,
            Command::Policy(PolicyCommand::Set { file }) => {
                let text = text_of(&file, PRICE_FILE_BYTES_MAX as u64)?;
                let sent = self.server.upload(Method::PUT, "/v1/policy", text.into_bytes()).await;
                self.print(&sent.with_context(|| file.display().to_string())?, Output::policy)
            }
            Command::Evidence(EvidenceCommand::Export { site, since }) => self.export(&site, since).await,
            Command::Price(command) => self.price(command).await,
            Command::Limit(command) => self.limit(command).await,
            Command::Control(command) => self.control(command).await,
            Command::Rules(_) => self.show("/v1/rules", |o, v: &Vec<RuleView>| o.rules(v)).await,
            Command::Watch => self.watch().await,
            Command::Audit { since, limit } => {
                let query = query(&[("limit", Some(limit.to_string())), ("since", since.map(|n| n.to_string()))]);
                self.show(&format!("/v1/changes{query}"), |o, v: &ChangesView| {
                    v.changes.iter().try_for_each(|c| o.change(c))
                })
                .await
            }
            Command::Operator(command) => self.operator(command).await,
            Command::Init { .. } | Command::Completion { .. } => Ok(0),
        }
    }

    /// An answer, as it came or as a table.
    fn print<T: DeserializeOwned>(
        &self,
        answer: &Answer,
        print: impl Fn(&Output, &T) -> io::Result<()>,
    ) -> anyhow::Result<u8> {
        if self.json {
            line(String::from_utf8_lossy(&answer.body))?;
        } else {
            print(&self.output, &read(answer)?)?;
        }
        Ok(0)
    }

    async fn show<T: DeserializeOwned>(
        &self,
        path: &str,
        print: impl Fn(&Output, &T) -> io::Result<()>,
    ) -> anyhow::Result<u8> {
        self.print(&self.server.get(path).await?, print)
    }

    async fn made<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
        print: impl Fn(&Output, &T) -> io::Result<()>,
    ) -> anyhow::Result<u8> {
        self.print(&self.server.send(method, path, body).await?, print)
    }

    async fn take_back(&self, path: &str, done: &str) -> anyhow::Result<u8> {
        self.server.delete(path).await?;
        if self.json {
            line(serde_json::json!({}))?
        } else {
            line(done)?
        }
        Ok(0)
    }

    async fn site(&self, command: SiteCommand) -> anyhow::Result<u8> {
        let body = |f: &SiteFacts, id: Option<String>| SiteBody {
            id,
            name: f.name.clone(),
            zone: f.zone.clone(),
            group: f.group.clone(),
        };
        match command {
            SiteCommand::Add { facts, no_token, no_qr } => {
                let body = body(&facts, Some(facts.uuid.clone()));
                let answer = self.server.send(Method::POST, "/v1/sites", &body).await?;
                // The same again is no reason for another token.
                let wanted = !no_token && answer.status == StatusCode::CREATED;
                let token = if wanted { self.token(&facts.uuid).await } else { Ok(None) };
                self.added(&answer, token, wanted, no_qr)
            }
            SiteCommand::Token { uuid, days, no_qr } => {
                let with_code = !no_qr && io::stdout().is_terminal();
                let path = format!("/v1/sites/{}/token", encoded(&uuid));
                let print = |o: &Output, t: &SiteTokenView| o.token(&t.token, with_code);
                self.made(Method::POST, &path, &SiteTokenBody { days }, print).await
            }
            SiteCommand::Change(facts) => {
                let path = format!("/v1/sites/{}", encoded(&facts.uuid));
                let body = body(&facts, None);
                self.made(Method::PUT, &path, &body, |_, s: &SiteView| line(format!("site {} changed", s.id))).await
            }
            SiteCommand::Show { uuid } => self.show(&format!("/v1/sites/{}", encoded(&uuid)), Output::site).await,
            SiteCommand::Consumption { uuid, appliance, from, to } => {
                let query = query(&[("meter", appliance), ("from", from), ("to", to)]);
                let path = format!("/v1/sites/{}/consumption{query}", encoded(&uuid));
                self.show(&path, |o, v: &Vec<IntervalView>| o.consumption(v)).await
            }
        }
    }

    /// A token for a gateway; none while this utility is not enrolled itself.
    async fn token(&self, uuid: &str) -> anyhow::Result<Option<String>> {
        let path = format!("/v1/sites/{}/token", encoded(uuid));
        match self.server.send(Method::POST, &path, &SiteTokenBody { days: None }).await {
            Ok(answer) => Ok(Some(read::<SiteTokenView>(&answer)?.token)),
            Err(error) if error.downcast_ref::<Refused>().is_some_and(|r| r.code == "not-enrolled") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A new site and its token: one document, or lines. The site is there also where no token could be had.
    fn added(
        &self,
        answer: &Answer,
        token: anyhow::Result<Option<String>>,
        wanted: bool,
        no_qr: bool,
    ) -> anyhow::Result<u8> {
        let site: SiteView = read(answer)?;
        if self.json {
            let token = token.with_context(|| format!("site {} taken up, but without a token", site.id))?;
            let mut shown: serde_json::Map<String, serde_json::Value> = read(answer)?;
            shown.insert("token".to_owned(), token.into());
            line(serde_json::to_string(&shown)?)?;
            return Ok(0);
        }
        line(format!("site {} taken up", site.id))?;
        match token? {
            Some(token) => self.output.token(&token, !no_qr && io::stdout().is_terminal())?,
            None if wanted => {
                line("no token for its gateway yet: this utility is not enrolled at a KMC (utilityctl enrol)")?;
            }
            None => {}
        }
        Ok(0)
    }

    async fn keys(&self, command: KeysCommand) -> anyhow::Result<u8> {
        match command {
            KeysCommand::Show { uuid: None } => self.show("/v1/keys", Output::keys).await,
            KeysCommand::Show { uuid: Some(uuid) } => {
                self.show(&format!("/v1/sites/{}/keys", encoded(&uuid)), Output::site_keys).await
            }
            KeysCommand::RollOver => {
                self.made(Method::POST, "/v1/keys/roll-over", &serde_json::json!({}), Output::keys).await
            }
            KeysCommand::Revoke { uuid, reason } => {
                let path = format!("/v1/sites/{}/revoke", encoded(&uuid));
                self.server.send(Method::POST, &path, &RevokeBody { reason }).await?;
                line(if self.json { "{}" } else { "revoked" })?;
                Ok(0)
            }
        }
    }

    /// All pages as one object.
    async fn export(&self, site: &str, since: Option<String>) -> anyhow::Result<u8> {
        let (mut since, mut after) = (since, None::<u64>);
        let mut whole = EvidenceView { statements: Vec::new(), messages: Vec::new(), more: false };
        loop {
            let query = query(&[("since", since.clone()), ("after", after.map(|n| n.to_string()))]);
            let path = format!("/v1/sites/{}/evidence{query}", encoded(site));
            let page: EvidenceView = read(&self.server.get(&path).await?)?;
            whole.statements = page.statements;
            whole.messages.extend(page.messages);
            let last = whole.messages.last().map(|m| (m.taken.clone(), m.seq));
            match last {
                Some((taken, seq)) if page.more => (since, after) = (Some(taken), Some(seq)),
                _ => break,
            }
        }
        line(serde_json::to_string_pretty(&whole)?)?;
        Ok(0)
    }

    async fn price(&self, command: PriceCommand) -> anyhow::Result<u8> {
        match command {
            PriceCommand::Publish { file, zone, time_zone, currency, per, part_of_day, dry_run } => {
                let text = text_of(&file, PRICE_FILE_BYTES_MAX as u64)?;
                let flag = |on: bool| on.then(|| "true".to_owned());
                let query = query(&[
                    ("time-zone", time_zone),
                    ("currency", currency),
                    ("per", per),
                    ("part-of-day", flag(part_of_day)),
                    ("dry-run", flag(dry_run)),
                ]);
                let path = format!("/v1/prices/{}{query}", encoded(&zone));
                let sent = self.server.upload(Method::POST, &path, text.into_bytes()).await;
                self.print(&sent.with_context(|| file.display().to_string())?, Output::published)
            }
            PriceCommand::Show { zone } => {
                self.show(&format!("/v1/prices/{}", encoded(&zone)), |o, v: &Vec<PricesView>| o.prices(v)).await
            }
        }
    }

    async fn limit(&self, command: LimitCommand) -> anyhow::Result<u8> {
        match command {
            LimitCommand::List { target, limit } => {
                let query = query(&[("limit", Some(limit.to_string())), ("target", target)]);
                self.show(&format!("/v1/limits{query}"), |o, v: &Vec<LimitView>| o.limits(v)).await
            }
            LimitCommand::Make { target, watts, duration, start, priority, randomise, supersedes, reason } => {
                let randomise_s = u16::try_from(randomise.map_or(0, |r| r.0));
                let body = LimitBody {
                    target,
                    watts,
                    start,
                    duration_s: duration.map(|d| d.0),
                    priority,
                    randomise_s: randomise_s.context("--randomise is at most an hour").context(Exit::Usage)?,
                    supersedes,
                    reason,
                };
                self.made(Method::POST, "/v1/limits", &body, |_, m: &Made| line(format!("limit {}", m.id))).await
            }
            LimitCommand::Cancel { id } => self.take_back(&format!("/v1/limits/{id}"), "cancelled").await,
            LimitCommand::Responses { id } => self.show(&format!("/v1/limits/{id}/responses"), Output::responses).await,
        }
    }

    async fn control(&self, command: ControlCommand) -> anyhow::Result<u8> {
        match &command {
            ControlCommand::List { site, limit } => {
                let query = query(&[("limit", Some(limit.to_string())), ("site", site.clone())]);
                self.show(&format!("/v1/controls{query}"), |o, v: &Vec<ControlView>| o.controls(v)).await
            }
            ControlCommand::Cancel { id } => self.take_back(&format!("/v1/controls/{id}"), "cancelled").await,
            order => match order.order() {
                Some((order, action)) => self.order(order, action).await,
                None => Ok(0),
            },
        }
    }

    /// Orders, and unless told otherwise waits for what comes of it.
    async fn order(&self, order: &Order, action: energy_model::PowerState) -> anyhow::Result<u8> {
        let body = ControlBody {
            site: order.site.clone(),
            appliance: order.appliance.clone(),
            action,
            within_s: order.within.0,
            reason: order.reason.clone(),
        };
        // From before the order, so that its outcome is among what follows.
        let mut since = self.last_change().await?;
        let made: Made = read(&self.server.send(Method::POST, "/v1/controls", &body).await?)?;
        loop {
            let answer =
                self.server.get(&format!("/v1/controls{}", query(&[("site", Some(order.site.clone()))]))).await?;
            let all: Vec<ControlView> = read(&answer)?;
            let control =
                all.into_iter().find(|c| c.id == made.id).context("the control is gone").context(Exit::Software)?;
            let code = match control.progress.as_str() {
                "done" => 0,
                "refused" => code::REFUSED,
                "expired" => code::EXPIRED,
                "cancelled" => code::CANCELLED,
                _ if order.no_wait => 0,
                _ => {
                    since = self.changes(since).await?.last;
                    continue;
                }
            };
            if self.json {
                line(serde_json::to_string(&control)?)?
            } else {
                self.output.outcome(&control)?
            }
            return Ok(code);
        }
    }

    async fn last_change(&self) -> anyhow::Result<u64> {
        Ok(read::<ChangesView>(&self.server.get("/v1/changes?limit=1").await?)?.last)
    }

    /// What changed since, as soon as something has.
    async fn changes(&self, since: u64) -> anyhow::Result<ChangesView> {
        let path = format!("/v1/changes?since={since}&wait={WATCH_S}");
        read(&self.server.wait(&path, Duration::from_secs(WATCH_S)).await?)
    }

    async fn watch(&self) -> anyhow::Result<u8> {
        let mut since = self.last_change().await?;
        if !self.json {
            line("-- watching --")?;
        }
        loop {
            let news = self.changes(since).await?;
            since = news.last;
            for change in &news.changes {
                if self.json { line(serde_json::to_string(change)?)? } else { self.output.change(change)? }
            }
        }
    }

    async fn operator(&self, command: OperatorCommand) -> anyhow::Result<u8> {
        match command {
            OperatorCommand::List => self.show("/v1/operators", |o, v: &Vec<OperatorView>| o.operators(v)).await,
            OperatorCommand::Add { name, role } => {
                let body = OperatorBody { name, role };
                self.made(Method::POST, "/v1/operators", &body, |_, t: &TokenView| line(&t.token)).await
            }
            OperatorCommand::Remove { name } => {
                self.take_back(&format!("/v1/operators/{}", encoded(&name)), "removed").await
            }
        }
    }
}

/// `?a=b&c=d` of those that are given.
fn query(pairs: &[(&str, Option<String>)]) -> String {
    let given: Vec<String> =
        pairs.iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded(value.as_deref()?)))).collect();
    if given.is_empty() { String::new() } else { format!("?{}", given.join("&")) }
}
