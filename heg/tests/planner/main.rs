//! Gateway and planner together in virtual time, over appliances that obey, refuse, and are switched by hand.

#![expect(clippy::unwrap_used, reason = "helpers of tests, where a panic is a failed test")]

use std::collections::BTreeMap;
use std::time::Duration;

use energy_model::{Flexibility, Importance, PowerState, RegId, WakeMethod, Watts};
use heg::commands::{CallFailure, Patience, Verb};
use heg::config::Config;
use heg::gateway::{Answer, AskId, Effect, Gateway, Input, Order, Reply, Request, Restored, Settings, Wanted};
use heg::journal::{Cause, Ending, Entry};
use heg::now::Now;
use heg::plan::Span;
use heg::plan::slots::PriceSpan;
use heg::planner::{self, Change, Planner};
use heg::registry::{Facts, Found, Offers};
use heg::rules::precedence::Ruler;
use heg::rules::{Author, RuleId};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use upnp::ids::Udn;
use upnp::time::BootTime;
use utility_wire::{EventId, Limit, LimitSet, UnixTime};

use PowerState::{Off, On, Standby};

mod clock;
mod house;
mod limits;
mod orders;
mod plan;
mod reasons;
mod restart;
mod says;
mod work;

use house::{House, Machine, at, settings, udn};

/// Prices of a day in cents, hour by hour: cheap at night and at noon, dear in the evening.
const CENTS: [i64; 24] =
    [20, 18, 12, 10, 14, 20, 28, 32, 30, 24, 18, 14, 12, 14, 18, 24, 30, 38, 42, 40, 34, 28, 26, 22];

/// Limits as low as the tests like.
const NO_FLOOR: &str = "[plan]\nfloor-w = 0\n";
const PUMP: &str = "[[load]]\nudn = 'uuid:pump'\nplan = 'yes'\n";
const WASHER: &str = "[[load]]\nudn = 'uuid:washer'\nplan = 'yes'\nkind = 'Deferrable'
    phases = [{ minutes = 60, watts = 2000 }, { minutes = 60, watts = 500 }]
    every-day = { start = '22:00:00', end = '06:00:00' }\n";
const CAR: &str = "[[load]]\nudn = 'uuid:car'\nplan = 'yes'\nkind = 'Interruptible'\npower-w = 4000\nenergy-wh = 8000
    every-day = { start = '18:00:00', end = '07:00:00' }\n";
