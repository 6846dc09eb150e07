//! Our own address toward a peer, by the kernel's routing table.

use std::io;
use std::net::IpAddr;

use upnp::net::InterfaceId;

use crate::netlink;

/// The source address this host would use toward `to`, and the interface it would leave by.
///
/// Fails with the kernel's error where there is no route. The kernel answers at once: nothing waits in it.
pub async fn route_source(to: IpAddr) -> io::Result<(IpAddr, InterfaceId)> {
    let (source, link) = netlink::route(to)?;
    Ok((source, InterfaceId(link)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn the_route_to_this_host_is_from_the_address_itself() {
        let to: IpAddr = "127.0.0.1".parse().unwrap();

        let (source, _) = route_source(to).await.unwrap();

        assert_eq!(source, to);
    }
}
