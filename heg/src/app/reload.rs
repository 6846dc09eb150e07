//! The configuration is read again while the daemon runs.

use std::time::Duration;

use daemon_kit::clock;

use super::{App, watch_prices};
use crate::config::Config;
use crate::gateway::Input;
use crate::now::Now;
use crate::{planner, utility};

const NOT_RELOADED: &str = "the configuration was not reloaded";
const NEEDS_RESTART: &str = "a restart is needed for changes to";

impl App {
    /// SIGHUP: a configuration that is wrong changes nothing.
    pub(super) fn reload(&mut self, now: Now) {
        self.systemd.reloading();
        match Config::load(self.named.as_deref()) {
            Ok(config) => {
                self.troubles.retain(|t| !t.starts_with(NOT_RELOADED) && !t.starts_with(NEEDS_RESTART));
                let fixed = self.config.needs_restart(&config);
                if !fixed.is_empty() {
                    let trouble = format!("{NEEDS_RESTART} {}", fixed.join(", "));
                    tracing::warn!("{trouble}");
                    self.troubles.push(trouble);
                }
                self.logging.set(&config.log.level);
                self.home.set_write_every(Duration::from_secs(config.store.write_every_s.into()));
                self.worker.retain(config.retention());
                self.home.handle(Input::Configured(config.settings(config.zone(clock::zone()))), now);
                self.take_tariff(&config, now);
                self.home.handle_planner(planner::Input::Configured(config.planning(config.zone(clock::zone()))), now);
                self.home.handle_utility(utility::Input::Configured(config.utility_settings()), now);
                // What needs a restart stays as it is running, so that the next reload still tells.
                let Config {
                    log,
                    commands,
                    store,
                    tariff,
                    appliance,
                    firewall,
                    mut utility,
                    metrics,
                    plan,
                    load,
                    rule,
                    ..
                } = config;
                self.firewall.configured(firewall.clone());
                self.config.discovery.poll_every_s = config.discovery.poll_every_s;
                (utility.listen, utility.reachable) =
                    (self.config.utility.listen, self.config.utility.reachable.clone());
                self.config = Config {
                    log,
                    commands,
                    store,
                    tariff,
                    utility,
                    appliance,
                    firewall,
                    metrics,
                    plan,
                    load,
                    rule,
                    ..self.config.clone()
                };
                tracing::info!("configuration read again");
            }
            Err(error) => {
                tracing::warn!(%error, "configuration not taken; the old one stays");
                self.troubles.retain(|t| !t.starts_with(NOT_RELOADED));
                self.troubles.push(format!("{NOT_RELOADED}: {error}"));
            }
        }
        self.systemd.ready(&self.status_line(now));
    }

    /// Another tariff: whoever looks at the file or feed of before stops.
    pub(super) fn take_tariff(&mut self, config: &Config, now: Now) {
        if self.config.tariff == config.tariff && config.tariff.zone.is_some() {
            return;
        }
        self.home.set_tariff(config.tariff.settings(clock::zone()), now);
        match watch_prices(config, self.price_seed) {
            Ok(news) => self.price_news = news,
            Err(error) => tracing::warn!(%error, "prices are not looked for as configured now"),
        }
    }
}
