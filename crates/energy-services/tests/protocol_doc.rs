//! docs/protocol.md says what the code does: its tables are held to the declarations.

use std::fs;
use std::path::Path;

use energy_model::RefusalKind;
use energy_services::{appliance_info, energy_gateway, errors, low_power_device, power_management};
use upnp::service::{Direction, Eventing};

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/protocol.md");
    fs::read_to_string(&path).expect("docs/protocol.md is there")
}

#[test]
fn every_refusal_stands_in_the_document_with_its_code_and_meaning() {
    let document = document();
    for &kind in RefusalKind::ALL {
        let row = format!("| {} | `{kind}` | {} |", errors::code(kind), errors::meaning(kind));
        assert!(document.contains(&row), "missing: {row}");
    }
}

#[test]
fn every_action_stands_in_the_document_with_its_arguments() {
    let document = document();
    for service in [
        &power_management::DECLARATION,
        &energy_gateway::DECLARATION,
        &appliance_info::DECLARATION,
        &low_power_device::DECLARATION,
    ] {
        assert!(document.contains(&format!("`{}`", service.service_type)), "{} is missing", service.service_type);
        for action in service.actions {
            let names = |direction| {
                let of_direction = action.arguments.iter().filter(|a| a.direction == direction).map(|a| a.name);
                let names = of_direction.collect::<Vec<_>>().join(", ");
                if names.is_empty() { "-".to_owned() } else { names }
            };
            let row = format!("| `{}` | {} | {} |", action.name, names(Direction::In), names(Direction::Out));
            assert!(document.contains(&row), "missing: {row}");
        }
        for variable in service.variables.iter().filter(|v| v.eventing != Eventing::No) {
            assert!(document.contains(&format!("| `{}` | ", variable.name)), "{} is missing", variable.name);
        }
    }
}
