//! The service descriptions byte for byte as control points get them: a change here is a change of the protocol.
//!
//! The files in `tests/scpd/` have a line break between elements for the reader; the wire has none. To accept an
//! intended change: `ACCEPT=1 cargo test -p energy-services --test scpd`.

use std::fs;
use std::path::Path;

use energy_services::{appliance_info, energy_gateway, low_power_device, power_management};
use upnp::scpd;
use upnp::service::{Eventing, ServiceDecl};

const ALL: [&ServiceDecl; 4] = [
    &power_management::DECLARATION,
    &energy_gateway::DECLARATION,
    &appliance_info::DECLARATION,
    &low_power_device::DECLARATION,
];

#[test]
fn each_service_description_is_the_one_on_record() {
    for service in ALL {
        let written = scpd::write(service).replace("><", ">\n<");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/scpd/{}.xml", service.short_name()));
        if std::env::var_os("ACCEPT").is_some() {
            fs::write(&path, &written).unwrap();
        }
        let recorded = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(written, recorded, "{} differs", path.display());
    }
}

#[test]
fn each_service_description_reads_back_as_declared() {
    for service in ALL {
        let read = scpd::parse(scpd::write(service).as_bytes()).unwrap();
        let declared: Vec<_> = service.actions.iter().map(|a| a.name).collect();
        assert_eq!(read.actions.iter().map(|a| a.name.as_str()).collect::<Vec<_>>(), declared);
        for (action, declared) in read.actions.iter().zip(service.actions) {
            let triple =
                |(name, direction, variable): (&str, _, &str)| (name.to_owned(), direction, variable.to_owned());
            let wanted: Vec<_> = declared.arguments.iter().map(|a| triple((a.name, a.direction, a.variable))).collect();
            let found: Vec<_> = action.arguments.iter().map(|a| triple((&a.name, a.direction, &a.variable))).collect();
            assert_eq!(found, wanted, "{}", action.name);
        }
        for (variable, declared) in read.variables.iter().zip(service.variables) {
            assert_eq!(
                (variable.name.as_str(), variable.data_type.as_str()),
                (declared.name, declared.data_type.name())
            );
            assert_eq!(variable.send_events, declared.eventing != Eventing::No);
            assert_eq!(variable.multicast, declared.eventing == Eventing::Multicast);
        }
        assert_eq!(read.variables.len(), service.variables.len());
    }
}
