//! A control point on rupnp: finds the device of a type, calls one action without arguments but UUID and Address, prints the reply.
//! Usage: rupnp-peer DEVICE_OR_SERVICE_TYPE SERVICE_TYPE ACTION ARGUMENTS_XML

use std::time::Duration;

use futures_util::TryStreamExt;
use rupnp::ssdp::{SearchTarget, URN};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, target, service, action, arguments] = args.as_slice() else {
        return Err("usage: rupnp-peer TARGET SERVICE ACTION ARGUMENTS_XML".into());
    };
    let target: SearchTarget = target.parse().map_err(|_| "search target")?;
    let service: URN = service.parse().map_err(|_| "service type")?;
    let devices = rupnp::discover(&target, Duration::from_secs(3), None).await?;
    let mut devices = std::pin::pin!(devices);
    let device = devices.try_next().await?.ok_or("no device found")?;
    let found = device.find_service(&service).ok_or("no such service")?;
    let reply = found.action(device.url(), action, arguments).await?;
    for (name, value) in reply {
        println!("{name}={value}");
    }
    Ok(())
}
