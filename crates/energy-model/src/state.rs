//! What state an appliance is in and how it can be woken (the paper's Table I).

words! {
    /// The state of an appliance's operation, as the evented variable `PowerState` tells it. That an appliance's state
    /// is not known is no value of this type: say it with an `Option`.
    pub enum PowerState {
        /// It does its work.
        On = "ON",
        /// It is idle and may be switched off.
        Off = "OFF",
        /// It sleeps and can be woken.
        Standby = "Standby",
    }
}

words! {
    /// How an appliance in standby can be woken over the network.
    pub enum WakeMethod {
        /// Wake-on-LAN: a magic packet on its wired link.
        Wol = "WOL",
        /// Wake on wireless LAN.
        WoWlan = "WoWLAN",
        /// It cannot be woken over the network. Ours; the paper names only the other two.
        None = "None",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_letter_for_letter() {
        for state in PowerState::ALL {
            assert_eq!(state.to_string().parse(), Ok(*state));
        }
        assert!("on".parse::<PowerState>().is_err());
        assert_eq!("Sleep".parse::<PowerState>().unwrap_err().to_string(), "expected one of ON, OFF, Standby");
        assert_eq!("WoWLAN".parse(), Ok(WakeMethod::WoWlan));
    }
}
