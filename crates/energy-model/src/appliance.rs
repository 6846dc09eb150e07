//! How much an appliance matters to the people at home and how far its work can be moved.

words! {
    /// Importance class of an appliance's work; greater first in order. The gateway takes power from the least first.
    pub enum Importance {
        /// Health, safety or frozen food: never switched off by a plan.
        Critical = "Critical",
        /// Comfort that people notice at once.
        High = "High",
        /// The default.
        Normal = "Normal",
        /// Nobody minds.
        Low = "Low",
    }
}

words! {
    /// What a plan may do with an appliance's work.
    pub enum Flexibility {
        /// Nothing: it runs when it runs.
        Fixed = "Fixed",
        /// Its power may be lowered while it runs.
        Curtailable = "Curtailable",
        /// Its start may be moved; once started it runs to its end.
        Deferrable = "Deferrable",
        /// It may be paused and continued.
        Interruptible = "Interruptible",
        /// It may be sent to standby and woken when wanted.
        StandbyAble = "StandbyAble",
    }
}
