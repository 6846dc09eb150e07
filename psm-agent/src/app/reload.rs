//! The configuration is read again while the daemon runs (IO).

use std::path::Path;

use upnp::time::BootTime;

use super::{App, wall};
use crate::config::Config;
use crate::rtc::{self, Rtc};

impl App {
    /// SIGHUP: a configuration that is wrong changes nothing.
    pub(super) fn reload(&mut self, now: BootTime) {
        self.systemd.reloading();
        match Config::load(self.config_path.as_deref()) {
            Ok(new) => {
                // The socket may have been named on the command line.
                let new = Config { control: self.config.control.clone(), ..new };
                for key in self.config.needs_restart(&new) {
                    tracing::warn!(key, "changed; takes effect after a restart");
                }
                self.logging.set(&new.log.level);
                if let Some(links) = &mut self.links {
                    links.set_arm(new.wake.arm);
                }
                // The same clock is kept, with what is known of its alarm.
                if new.wake.rtc != self.config.wake.rtc {
                    self.rtc = Rtc::find(&new.wake.rtc, Path::new(rtc::SYSFS));
                }
                self.agent.handle_config(&new, now);
                self.agent.handle_wall(wall(), now);
                self.config = Config { operation: self.config.operation.clone(), ..new };
                self.tell_wake();
                self.config_error = None;
                tracing::info!("configuration read again");
            }
            Err(error) => {
                let error = format!("{:#}", anyhow::Error::from(error));
                tracing::warn!(error, "new configuration not taken, the old one is kept");
                self.config_error = Some(error);
            }
        }
        self.tell_sources();
        self.systemd.ready(&self.agent.status_line());
    }
}
