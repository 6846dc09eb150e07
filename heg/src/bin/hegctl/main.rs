//! hegctl: shows and commands the home energy gateway on this machine, for people and scripts.

mod args;
mod completion;
mod firewall;
mod output;
mod planning;
mod rules;
mod since;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use daemon_kit::clock;
use daemon_kit::control::client::{self, ClientError, encoded};
use daemon_kit::control::{ErrorBody, wants_json};
use daemon_kit::exit::Exit;
use heg::api::firewall::{FirewallView, PlanView as FirewallPlanView};
use heg::api::planning::{PlanView, RuleView, SavingsView, WhyView};
use heg::api::prices::PricesView;
use heg::api::utility::{ConsentBody, EnrolBody, UtilityView};
use heg::api::{ApplianceView, EntryView, OutcomeView, RegistrationView, ScheduleBody, StatusView, WatchLine};
use heg::config::DEFAULT_SOCKET;
use serde::Serialize;
use serde::de::DeserializeOwned;

use args::{Args, Command, Plan};
use firewall::Verb;
use output::Output;
use rules::RuleCommand;

/// How a command ended, where sysexits.h has no word for it. hegctl(1) lists them.
mod code {
    pub(crate) const FAILED: u8 = 1;
    pub(crate) const REFUSED: u8 = 2;
    pub(crate) const DECLINED: u8 = 3;
    pub(crate) const UNREACHABLE: u8 = 4;
    pub(crate) const TIMED_OUT: u8 = 5;
    pub(crate) const SUPERSEDED: u8 = 6;
}

/// Environment variable that names the socket where `--socket` does not.
const SOCKET_ENV: &str = "HEG_SOCKET";

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            if error.use_stderr() && wants_json(std::env::args_os().skip(1)) {
                print_error(&ErrorBody { error: one_line(&error), code: "usage".to_owned() });
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
    if let Some(error) = error.downcast_ref::<io::Error>()
        && error.kind() == io::ErrorKind::BrokenPipe
    {
        // Whoever read has seen enough.
        return ExitCode::SUCCESS;
    }
    let code = match error.downcast_ref::<ClientError>() {
        Some(error @ ClientError::Refused { code, .. }) => refused(code).unwrap_or(error.exit().code()),
        Some(error) => error.exit().code(),
        None => Exit::of(error).code(),
    };
    if json {
        print_error(&ErrorBody::of(error));
    }
    let _ = writeln!(io::stderr(), "hegctl: {error:#}");
    ExitCode::from(code)
}

fn print_error(body: &ErrorBody) {
    // Nothing is left to be done when stdout is gone.
    let _ = serde_json::to_writer(io::stdout(), body).map(|()| writeln!(io::stdout()));
}

/// What is wrong with the command line, without the usage that people get.
fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let text = text.split("\n\nUsage:").next().unwrap_or_default();
    let words: Vec<&str> = text.trim_start_matches("error: ").split_whitespace().collect();
    words.join(" ")
}

/// The exit code of an error the gateway named, if this version knows it.
fn refused(code: &str) -> Option<u8> {
    Some(match code {
        "unknown-appliance" | "unknown-registration" | "unknown-rule" => Exit::NoInput.code(),
        "ambiguous-appliance" | "ambiguous-registration" => Exit::DataErr.code(),
        "bad-request" => Exit::Usage.code(),
        "not-stored" | "database" => Exit::IoErr.code(),
        "configuration" => Exit::Config.code(),
        "firewall" => Exit::Unavailable.code(),
        "nothing-waits" | "change-waits" => code::FAILED,
        "busy" | "timeout" | "stopping" | "no-answer" | "too-many" | "not-yet" => Exit::TempFail.code(),
        "foreign-registration" | "not-authorized" | "token-refused" => Exit::NoPerm.code(),
        "too-many-registrations" | "too-many-rules" | "configured-rule" | "still-there" | "enrolled" => code::FAILED,
        _ => return None,
    })
}

fn run(args: Args) -> anyhow::Result<u8> {
    if let Command::Completion { shell } = args.command {
        io::stdout().write_all(completion::script(shell).as_bytes()).context(Exit::IoErr)?;
        return Ok(0);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context(Exit::OsErr)?;
    let socket = args.socket.or_else(|| std::env::var_os(SOCKET_ENV).map(PathBuf::from));
    let gateway = Gateway {
        socket: socket.unwrap_or_else(|| DEFAULT_SOCKET.into()),
        output: Output::new(args.json, clock::zone()),
    };
    runtime.block_on(gateway.run(args.command))
}

struct Gateway {
    socket: PathBuf,
    output: Output,
}

impl Gateway {
    async fn run(&self, command: Command) -> anyhow::Result<u8> {
        match command {
            Command::Status => self.show::<StatusView>("/v1/status", Output::status).await,
            Command::Appliances { names: true } => {
                self.show::<Vec<ApplianceView>>("/v1/appliances", |output, all| output.names(all)).await
            }
            Command::Appliances { names: false } => {
                self.show::<Vec<ApplianceView>>("/v1/appliances", Output::appliances).await
            }
            Command::Show { id } => self.show::<ApplianceView>(&appliance(&id), Output::appliance).await,
            Command::On { id } => self.order(&format!("{}/on", appliance(&id)), &()).await,
            Command::Off { id } => self.order(&format!("{}/off", appliance(&id)), &()).await,
            Command::Standby { id } => self.order(&format!("{}/standby", appliance(&id)), &()).await,
            Command::Wake { id } => self.order(&format!("{}/wake", appliance(&id)), &()).await,
            Command::Schedule { id, plan } => {
                let path = format!("{}/schedule", appliance(&id));
                match plan {
                    None => self.show::<Vec<RegistrationView>>(&path, Output::registrations).await,
                    Some(plan) => self.order(&path, &body(plan)).await,
                }
            }
            Command::Withdraw { reg_id, appliance } => {
                let query = appliance.map(|id| format!("?appliance={}", encoded(&id))).unwrap_or_default();
                self.take_back(&format!("/v1/registrations/{reg_id}{query}")).await
            }
            Command::Forget { id } => self.take_back(&appliance(&id)).await,
            Command::Journal { since, limit, appliance } => {
                let mut path = format!("/v1/journal?limit={limit}");
                if let Some(since) = since {
                    let at = since.moment(clock::wall(), self.output.zone()).context(Exit::Usage)?;
                    path += &format!("&since={}", encoded(&at.to_string()));
                }
                if let Some(id) = appliance {
                    path += &format!("&appliance={}", encoded(&id));
                }
                self.show::<Vec<EntryView>>(&path, Output::journal).await
            }
            Command::Prices => self.show::<PricesView>("/v1/prices", Output::prices).await,
            Command::Rule { rule: RuleCommand::List { appliance } } => {
                let query = appliance.map(|id| format!("?appliance={}", encoded(&id))).unwrap_or_default();
                self.show::<Vec<RuleView>>(&format!("/v1/rules{query}"), Output::rules).await
            }
            Command::Rule { rule: RuleCommand::Add(add) } => {
                let form = add.form(clock::wall(), self.output.zone()).context(Exit::Usage)?;
                self.order("/v1/rules", &form).await
            }
            Command::Rule { rule: RuleCommand::Remove { rule } } => self.take_back(&format!("/v1/rules/{rule}")).await,
            Command::Plan => self.show::<PlanView>("/v1/plan", Output::plan).await,
            Command::Why { id } => self.show::<WhyView>(&format!("{}/why", appliance(&id)), Output::why).await,
            Command::Savings => self.show::<SavingsView>("/v1/savings", Output::savings).await,
            Command::Firewall { verb } => self.firewall(verb.unwrap_or(Verb::Status)).await,
            Command::Watch => self.watch().await,
            Command::Enrol { token, replace } => self.order("/v1/utility/enrol", &EnrolBody { token, replace }).await,
            Command::Utility => self.show::<UtilityView>("/v1/utility", Output::utility).await,
            Command::Consent { words } => {
                let body = consent(&words).context(Exit::Usage)?;
                self.order("/v1/utility/consent", &body).await
            }
            Command::Completion { .. } => Ok(0),
        }
    }

    async fn show<T: DeserializeOwned + Serialize>(
        &self,
        path: &str,
        print: impl Fn(&Output, &T) -> io::Result<()>,
    ) -> anyhow::Result<u8> {
        let answer = client::get(&self.socket, path).await?;
        if self.output.is_json() {
            self.output.raw(&answer.text())?;
        } else {
            print(&self.output, &answer.json::<T>()?)?;
        }
        Ok(0)
    }

    async fn firewall(&self, verb: Verb) -> anyhow::Result<u8> {
        let answer = match verb.order() {
            None if matches!(verb, Verb::Plan) => {
                return self.show::<FirewallPlanView>("/v1/firewall/plan", firewall::plan).await;
            }
            None => return self.show::<FirewallView>("/v1/firewall", firewall::status).await,
            Some(path) => client::post(&self.socket, path, &()).await?,
        };
        if self.output.is_json() {
            self.output.raw(&answer.text())?;
        } else {
            firewall::status(&self.output, &answer.json()?)?;
        }
        Ok(0)
    }

    async fn order(&self, path: &str, body: &impl Serialize) -> anyhow::Result<u8> {
        self.outcome(client::post(&self.socket, path, body).await?)
    }

    async fn take_back(&self, path: &str) -> anyhow::Result<u8> {
        self.outcome(client::delete(&self.socket, path).await?)
    }

    fn outcome(&self, answer: client::Answer) -> anyhow::Result<u8> {
        let outcome: OutcomeView = answer.json()?;
        if self.output.is_json() {
            self.output.raw(&answer.text())?;
        } else {
            self.output.outcome(&outcome)?;
        }
        Ok(match outcome.outcome.as_str() {
            "done" | "already" => 0,
            "refused" => code::REFUSED,
            "declined" => code::DECLINED,
            "unreachable" => code::UNREACHABLE,
            "timed-out" => code::TIMED_OUT,
            "superseded" => code::SUPERSEDED,
            _ => code::FAILED,
        })
    }

    async fn watch(&self) -> anyhow::Result<u8> {
        let mut lines = client::stream(&self.socket, "/v1/watch").await?;
        while let Some(line) = lines.next_line().await? {
            if self.output.is_json() {
                self.output.raw(&line)?;
            } else {
                let line: WatchLine = serde_json::from_str(&line).context(Exit::DataErr)?;
                self.output.watch(&line)?;
            }
        }
        anyhow::bail!(anyhow::anyhow!("the gateway stopped").context(Exit::TempFail))
    }
}

/// `[ID] yes|no`
fn consent(words: &[String]) -> anyhow::Result<ConsentBody> {
    let (answer, appliance) = match words {
        [answer] => (answer, None),
        [appliance, answer] => (answer, Some(appliance.clone())),
        _ => anyhow::bail!("expected [ID] yes|no"),
    };
    let allow = match answer.as_str() {
        "yes" => true,
        "no" => false,
        other => anyhow::bail!("{other:?}: expected yes or no"),
    };
    Ok(ConsentBody { appliance, allow })
}

fn appliance(id: &str) -> String {
    format!("/v1/appliances/{}", encoded(id))
}

fn body(plan: Plan) -> ScheduleBody {
    match plan {
        Plan::Standby { start, stop } => ScheduleBody::Standby { start: start.0, stop: stop.0 },
        Plan::Wake { at } => ScheduleBody::Wake { at: at.0 },
        Plan::NoStandby { start, stop } => ScheduleBody::NoStandby { start: start.0, stop: stop.0 },
    }
}
