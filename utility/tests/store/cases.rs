//! What a store does, whatever database is behind it.

mod channel;
mod events;
mod homes;
mod writers;

use energy_model::{Importance, PowerState, WattHours, Watts};
use futures_util::future::BoxFuture;
use utility::events::LimitDraft;
use utility::sites::{Site, SiteId};
use utility::store::{Added, Store};
use utility_wire::*;

pub(crate) use self::writers::replicas;

type Case = fn(Store) -> BoxFuture<'static, ()>;

macro_rules! cases {
    ($($room:ident: $($name:ident)*;)*) => {
        /// Every case with its name.
        pub(crate) const ALL: &[(&str, Case)] = &[$($((stringify!($name), |store| Box::pin($room::$name(store)))),*),*];
    };
}

cases! {
    homes:
        a_site_is_taken_up_once_and_found_by_its_group
        a_report_is_stored_once_however_often_it_comes
        a_report_that_was_long_on_its_way_does_not_undo_what_a_later_one_said
        consumption_fills_its_gaps_and_merged_intervals_take_the_place_of_small_ones
        the_largest_report_is_taken_whole
        decisions_are_kept_once_in_order_and_forgotten_when_they_are_old
        decisions_are_kept_only_where_people_consent_and_go_with_their_consent
        what_is_old_is_forgotten;
    channel:
        a_message_is_taken_once_and_its_number_its_effect_and_its_evidence_are_one
        keys_begin_anew_only_when_an_operator_says_so_and_then_the_window_does_too
        the_membership_is_one_replicas_at_a_time_and_written_only_by_that_one;
    events:
        prices_are_versioned_and_served_as_stored_bytes
        a_limit_is_superseded_and_cancelled_and_homes_learn_of_it_by_version
        homes_answer_a_limit_and_the_latest_word_counts
        an_appliance_is_controlled_with_consent_and_the_outcome_comes_back_once
        a_rules_step_is_taken_once;
    writers:
        the_log_has_every_change_in_order_also_when_many_write_at_once
        work_that_fails_leaves_nothing_and_harms_nobody_beside_it
        a_token_is_known_by_its_secret_only_and_the_last_admin_stays
        who_waits_is_told_after_the_commit_and_not_of_what_failed;
}

const NOW: u64 = 1_800_000_000;

fn at(seconds: u64) -> UnixTime {
    UnixTime::new(NOW + seconds)
}

fn site_id(i: u32) -> SiteId {
    format!("2fac1234-31f8-41b4-a222-{i:012x}").parse().unwrap()
}

fn site(i: u32, group: &str) -> Site {
    Site {
        id: site_id(i),
        name: format!("Home {i}"),
        zone: "SE3".parse().unwrap(),
        group: group.parse().unwrap(),
        added: at(0),
        last_contact: None,
        last_report: None,
    }
}

async fn with_sites(store: &Store) {
    for (i, group) in [(1, "north/feeder-7"), (2, "north/feeder-70"), (3, "north"), (4, "south")] {
        assert_eq!(store.add_site(&site(i, group), "operator:anna", at(0)).await.unwrap(), Added::New);
    }
}

fn appliance(id: &str, state: Option<PowerState>, consents: bool) -> ApplianceReport {
    ApplianceReport {
        id: id.parse().unwrap(),
        name: "Freezer".parse().unwrap(),
        state,
        since: at(0),
        power: Some(Watts::new(90)),
        rated: None,
        importance: Some(Importance::Critical),
        flexibility: None,
        consents,
    }
}

fn report(batch: u64, made: u64) -> Report {
    Report {
        batch,
        made: at(made),
        complete: false,
        appliances: List::empty(),
        consumption: List::empty(),
        gaps: List::empty(),
        decisions: List::empty(),
    }
}

fn run(start: u64, length: u32, wh: &[u32]) -> Consumption {
    Consumption {
        of: None,
        start: at(start),
        interval: IntervalLength::new(length).unwrap(),
        energy: List::fill(wh.iter().copied().map(WattHours::new)),
    }
}

fn limit(target: &str) -> LimitDraft {
    LimitDraft {
        target: target.parse().unwrap(),
        supersedes: None,
        start: at(600),
        duration_s: Some(1800),
        watts: Watts::new(4200),
        priority: 1,
        randomise_s: 0,
        reason: "peak".to_owned(),
    }
}

fn prices(zone: &str, start: u64, milli: i64) -> PriceSeries {
    let money = ("SEK".parse().unwrap(), Per::MegawattHour);
    PriceSeries::new(zone.parse().unwrap(), 0, money, at(start), 900, vec![milli; 96]).unwrap()
}
