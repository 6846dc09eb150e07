//! Key management, a utility that is its member, and homes.

use secure_http::EnrolmentToken;

use crate::daemons::{KmcDaemon, UtilityDaemon, party};
use crate::gateway::Gateway;

/// Which party the utility is.
pub(crate) const UTILITY: u8 = 200;

/// See the module.
pub(crate) struct World {
    /// `heg-kmc`.
    pub(crate) kmc: KmcDaemon,
    /// `heg-utility`.
    pub(crate) utility: UtilityDaemon,
}

impl World {
    /// Both running, and the utility enrolled.
    pub(crate) async fn new() -> Self {
        let kmc = KmcDaemon::start().await;
        let utility = UtilityDaemon::start(&kmc.token("utility", Some(party(UTILITY)), &kmc.address)).await;
        Self { kmc, utility }
    }

    /// A home that is enrolled, knows its utility, and reaches the KMC at that address.
    pub(crate) async fn home_over(&self, number: u8, kmc: &str) -> Gateway {
        let token = self.utility.token(number);
        let token = EnrolmentToken::new(kmc, token.secret().clone(), token.fingerprint()).expect("an address");
        let mut home = Gateway::new(&token, party(number));
        home.settle().await;
        home
    }

    /// The same over a wire that nobody sits on.
    pub(crate) async fn home(&self, number: u8) -> Gateway {
        self.home_over(number, &self.kmc.address).await
    }
}
