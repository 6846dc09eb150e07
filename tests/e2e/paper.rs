//! The paper's sequence of twelve minutes (registration, remote change of power, wake-up, de-registration), without its
//! waits, with every packet counted.

use house_tests::house::{AGENT, House};
use house_tests::machine::Power;
use house_tests::traffic::Traffic;
use testkit::lab::sandbox;

use crate::homes::{GATEWAY, SOON, ask, nas, wait_subscribed};

#[test]
fn the_papers_sequence_costs_little_on_the_wire() {
    sandbox::test(|| {
        House::run(GATEWAY, |house| {
            let mut traffic = Traffic::new(house.lab());

            house.add(nas())?;
            house.wait_state("nas", "ON", SOON)?;
            wait_subscribed(house, "nas")?;
            let reg_id = ask(house, "nas", &["wake-up-time", "04:00:00"])?;
            let register = traffic.phase("registration")?;

            house.gateway().hegctl_ok(&["standby", "nas"])?;
            house.appliance("nas")?.wait_power(Power::Asleep, SOON)?;
            house.wait_state("nas", "Standby", SOON)?;
            let change = traffic.phase("remote change of power")?;

            house.gateway().hegctl_ok(&["wake", "nas"])?;
            house.wait_state("nas", "ON", SOON)?;
            wait_subscribed(house, "nas")?;
            let wake = traffic.phase("wake-up")?;

            let mark = house.lab().watcher().mark();
            house.agent("nas", &["request", "withdraw", &reg_id])?;
            house.appliance("nas")?.stop_program(AGENT, SOON)?;
            house.wait_said("nas", "ssdp:byebye", mark, SOON)?;
            let leave = traffic.phase("de-registration")?;

            println!("{}", traffic.table());
            // Loose bounds against a slip that multiplies traffic; the table has the figures.
            for (phase, bytes_max) in [(register, 400_000), (change, 60_000), (wake, 400_000), (leave, 60_000)] {
                assert!(phase.packets() > 0 && phase.bytes() < bytes_max, "{phase:?}");
            }
            Ok(())
        })
    });
}
