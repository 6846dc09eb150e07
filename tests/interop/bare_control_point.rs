//! A control point with nothing of ours but the UPnP crates: finds devices, subscribes, calls one action, and prints
//! what happens as JSON lines. The interoperability tests point it at foreign devices.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use serde_json::json;
use upnp::control_point::{ControlPoint, ControlPointConfig, ControlPointEvent};
use upnp::ids::TypeUrn;
use upnp::net::Owner;
use upnp::ssdp::message::Target;
use upnp::time::BootTime;
use upnp_net::{Net, NetConfig, NetEvent};

#[derive(Parser)]
struct Args {
    /// What to search for (ST); may be repeated
    #[arg(long)]
    target: Vec<String>,
    /// Service types to subscribe to; may be repeated
    #[arg(long)]
    subscribe: Vec<String>,
    /// An action to call once, on the first device found: SERVICE_TYPE#ACTION
    #[arg(long)]
    call: Option<String>,
    /// Its arguments, NAME=VALUE, in order
    #[arg(long)]
    argument: Vec<String>,
    /// End after this many seconds
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

fn now() -> BootTime {
    BootTime::from_duration(daemon_kit::clock::boottime())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let mut net = Net::bind(NetConfig::default()).await?;
    let targets = args.target.iter().map(|t| Target::parse(t)).collect::<Result<_, _>>()?;
    let subscribe = args.subscribe.iter().map(|t| TypeUrn::parse(t)).collect::<Result<_, _>>()?;
    let mut call = match &args.call {
        Some(text) => {
            let (service, action) = text.split_once('#').context("--call SERVICE_TYPE#ACTION")?;
            Some((TypeUrn::parse(service)?, action.to_owned()))
        }
        None => None,
    };
    let arguments: Vec<(String, String)> = args
        .argument
        .iter()
        .map(|a| a.split_once('=').map(|(n, v)| (n.to_owned(), v.to_owned())).context("--argument NAME=VALUE"))
        .collect::<Result<_>>()?;
    let config = ControlPointConfig {
        targets,
        subscribe,
        user_agent: "Linux UPnP/1.1 bare-control-point/0.1".to_owned(),
        callback_port: net.http_port(),
        mx: 1,
        search_every: Duration::from_secs(5),
        static_devices: Vec::new(),
        seed: 1,
    };
    let mut point = ControlPoint::new(config, now());
    point.handle_interfaces(net.interfaces(), now());
    point.search(now());
    let end = now() + Duration::from_secs(args.seconds);
    let mut stopping = false;
    loop {
        while let Some(event) = point.poll_event() {
            // A publisher may lose what changes while it sends its first event, so the call waits for that.
            let due = match &event {
                ControlPointEvent::Ready { udn, .. } if args.subscribe.is_empty() => Some(udn.clone()),
                ControlPointEvent::Event { udn, .. } => Some(udn.clone()),
                _ => None,
            };
            if let Some(udn) = due
                && let Some((service, action)) = call.take()
                && let Err(error) = point.call(&udn, &service, &action, arguments.clone(), now())
            {
                println!("{}", json!({ "event": "call-failed", "error": error.to_string() }));
            }
            print(&event);
        }
        while let Some(effect) = point.poll_effect() {
            net.apply(effect);
        }
        let at = now();
        if at >= end && !stopping {
            stopping = true;
            point.stop(at);
            continue;
        }
        if stopping && (point.idle() || at >= end + Duration::from_secs(2)) {
            return Ok(());
        }
        let wake =
            point.poll_timeout().unwrap_or(end + Duration::from_secs(2)).min(end.max(at + Duration::from_millis(50)));
        match tokio::time::timeout(wake.since(at), net.next()).await {
            Err(_) => point.handle_timeout(now()),
            Ok(NetEvent::Interfaces(list)) => point.handle_interfaces(&list, now()),
            Ok(NetEvent::Datagram(datagram)) => point.handle_datagram(&datagram, now()),
            Ok(NetEvent::Answer(answer)) if answer.id.owner == Owner::ControlPoint => {
                point.handle_answer(answer, now())
            }
            Ok(NetEvent::Answer(_)) => {}
            Ok(NetEvent::Request(request, responder)) => {
                if let Some(response) = point.handle_request(&request, now()) {
                    responder.send(response);
                }
            }
        }
    }
}

fn print(event: &ControlPointEvent) {
    let line = match event {
        ControlPointEvent::Ready { udn, device, cause } => {
            json!({ "event": "ready", "udn": udn.as_str(), "name": &*device.friendly_name, "type": device.device_type.to_string(), "cause": format!("{cause:?}") })
        }
        ControlPointEvent::Gone { udn, why } => {
            json!({ "event": "gone", "udn": udn.as_str(), "why": format!("{why:?}") })
        }
        ControlPointEvent::Subscribed { udn, service_type } => {
            json!({ "event": "subscribed", "udn": udn.as_str(), "service": service_type.to_string() })
        }
        ControlPointEvent::Event { udn, service_type, variables, multicast } => json!({
            "event": "event", "udn": udn.as_str(), "service": service_type.to_string(), "variables": variables, "multicast": multicast
        }),
        ControlPointEvent::CallDone { result: Ok(out), .. } => json!({ "event": "called", "out": out }),
        ControlPointEvent::CallDone { result: Err(error), .. } => {
            json!({ "event": "call-failed", "error": error.to_string(), "retryable": error.is_retryable() })
        }
        other => json!({ "event": "other", "text": format!("{other:?}") }),
    };
    println!("{line}");
}
