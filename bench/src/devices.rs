//! Devices on our stack: a light switch to be measured, and a house full of appliances for a gateway to be measured with.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::task::LocalSet;
use upnp::device::{ActionCall, DeviceConfig, Handled, RootDevice};
use upnp::ids::{TypeUrn, Udn, uuid_v4};
use upnp::net::Owner;
use upnp::service::{ActionDecl, Allowed, ArgumentDecl, DataType, Direction, Eventing, ServiceDecl, VariableDecl};
use upnp::time::BootTime;
use upnp_net::{Net, NetConfig, NetEvent};

/// SwitchPower:1 of the UPnP Forum.
pub(crate) static SWITCH_POWER: ServiceDecl = ServiceDecl {
    service_type: "urn:schemas-upnp-org:service:SwitchPower:1",
    service_id: "urn:upnp-org:serviceId:SwitchPower",
    variables: &[
        VariableDecl {
            name: "Target",
            data_type: DataType::Boolean,
            eventing: Eventing::No,
            allowed: Allowed::Any,
            max_rate: None,
        },
        VariableDecl {
            name: "Status",
            data_type: DataType::Boolean,
            eventing: Eventing::Unicast,
            allowed: Allowed::Any,
            max_rate: None,
        },
    ],
    actions: &[
        ActionDecl {
            name: "SetTarget",
            arguments: &[ArgumentDecl { name: "newTargetValue", direction: Direction::In, variable: "Target" }],
        },
        ActionDecl {
            name: "GetStatus",
            arguments: &[ArgumentDecl { name: "ResultStatus", direction: Direction::Out, variable: "Status" }],
        },
    ],
};

fn now() -> BootTime {
    BootTime::from_duration(daemon_kit::clock::boottime())
}

fn device(
    number: u16,
    device_type: &str,
    name: &str,
    services: Vec<&'static ServiceDecl>,
    net: &Net,
) -> Result<RootDevice> {
    let udn = Udn::parse(&format!("uuid:{}", uuid_v4(0x1234_5678_9abc_def0_0000_0000_0000_0000 | u128::from(number))))?;
    let config = DeviceConfig {
        udn,
        device_type: TypeUrn::parse(device_type)?,
        friendly_name: name.to_owned(),
        manufacturer: "house-bench".to_owned(),
        manufacturer_url: String::new(),
        model_name: "bench".to_owned(),
        model_description: String::new(),
        model_number: String::new(),
        services,
        server: "Linux/6 UPnP/1.1 house-bench/0.1".to_owned(),
        http_port: net.http_port(),
        boot_id: 1,
        max_age: Duration::from_secs(1800),
        host_names: Vec::new(),
        seed: u64::from(number) + 1,
    };
    let mut device = RootDevice::new(config, now());
    device.handle_interfaces(net.interfaces(), now());
    Ok(device)
}

/// Drives one device for ever.
async fn drive(
    mut net: Net,
    mut device: RootDevice,
    mut act: impl FnMut(&mut RootDevice, &ActionCall) -> http::Response<bytes::Bytes>,
) {
    loop {
        while let Some(effect) = device.poll_effect() {
            net.apply(effect);
        }
        let wait = device.poll_timeout().map_or(Duration::from_secs(60), |at| at.since(now()));
        match tokio::time::timeout(wait, net.next()).await {
            Err(_) => device.handle_timeout(now()),
            Ok(NetEvent::Interfaces(list)) => device.handle_interfaces(&list, now()),
            Ok(NetEvent::Datagram(datagram)) => device.handle_datagram(&datagram, now()),
            Ok(NetEvent::Answer(answer)) if answer.id.owner == Owner::Device => device.handle_answer(answer, now()),
            Ok(NetEvent::Answer(_)) => {}
            Ok(NetEvent::Request(request, responder)) => match device.handle_request(&request, now()) {
                Handled::Response(response) => responder.send(response),
                Handled::Action(call) => responder.send(act(&mut device, &call)),
                Handled::Presentation | Handled::NotMine => drop(responder),
            },
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")
}

/// A light switch whose Status follows its Target at once.
pub(crate) fn light(port: u16) -> Result<()> {
    runtime()?.block_on(async {
        let net = Net::bind(NetConfig { http_port: port, ..NetConfig::default() }).await?;
        let mut device = device(0, "urn:schemas-upnp-org:device:BinaryLight:1", "Light", vec![&SWITCH_POWER], &net)?;
        device.set_variables(&SWITCH_POWER, &[("Target", "0".to_owned()), ("Status", "0".to_owned())], now());
        let mut status = "0".to_owned();
        drive(net, device, |device, call| {
            let out = match call.action.name {
                "SetTarget" => {
                    status = call.arguments.first().map(|(_, v)| v.clone()).unwrap_or_default();
                    device.set_variables(&SWITCH_POWER, &[("Status", status.clone())], now());
                    Vec::new()
                }
                _ => vec![("ResultStatus", status.clone())],
            };
            call.respond(Ok(out))
        })
        .await;
        Ok(())
    })
}

/// From one appliance's start to the next one's.
const APART: Duration = Duration::from_millis(100);

/// A house full of appliances that are ON and answer everything with plausible values.
pub(crate) fn appliances(count: u16) -> Result<()> {
    use energy_services::{appliance_info, power_management};
    let runtime = runtime()?;
    let local = LocalSet::new();
    runtime.block_on(local.run_until(async {
        let mut tasks = Vec::new();
        for number in 1..=count {
            let net = Net::bind(NetConfig::default()).await?;
            let services = vec![&power_management::DECLARATION, &appliance_info::DECLARATION];
            let name = format!("Appliance {number}");
            let mut device = device(number, energy_services::MANAGED_APPLIANCE, &name, services, &net)?;
            device.set_variables(&power_management::DECLARATION, &[("PowerState", "ON".to_owned())], now());
            tasks.push(tokio::task::spawn_local(drive(net, device, move |_, call| {
                call.respond(Ok(canned(call, number)))
            })));
            // All in one millisecond they would overflow the queues of the kernel, which no home does.
            tokio::time::sleep(APART).await;
        }
        for task in tasks {
            task.await.context("an appliance ended")?;
        }
        Ok(())
    }))
}

fn canned(call: &ActionCall, number: u16) -> Vec<(&'static str, String)> {
    let value = |argument: &ArgumentDecl| {
        let variable = call.service.variable(argument.variable)?;
        let text = match (variable.allowed, variable.data_type) {
            (Allowed::List([first, ..]), _) => (*first).to_owned(),
            (_, DataType::Ui4 | DataType::I4) => "1".to_owned(),
            (_, DataType::Boolean) => "0".to_owned(),
            (_, DataType::Time) => "00:00:00".to_owned(),
            _ if argument.name.contains("MAC") => format!("52:54:00:00:{:02x}:{:02x}", number >> 8, number & 0xff),
            _ => String::new(),
        };
        Some((argument.name, text))
    };
    call.action.arguments.iter().filter(|a| a.direction == Direction::Out).filter_map(value).collect()
}
