//! The words of home energy management: power states, times of day, registrations, power, importance.
