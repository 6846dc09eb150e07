//! Made-up gateways on the network must not keep the real one out.

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use energy_model::CallerId;
    use http::Response;
    use psm_agent::gateway_link::{GatewayLink, Origin, Wish};
    use psm_agent::limits::GATEWAYS_MAX;
    use upnp::Effect;
    use upnp::net::{Channel, Datagram, HttpAnswer, HttpRequest, Interface, InterfaceAddress, InterfaceId};
    use upnp::soap;
    use upnp::time::BootTime;

    const SERVICE: &str = "urn:heg-energy-org:service:EnergyGateway:1";
    const DEVICE: &str = "urn:heg-energy-org:device:HomeEnergyGateway:1";
    const REAL: u8 = 1;

    #[test]
    fn gateways_that_give_no_registration_never_keep_out_the_one_that_does() {
        let mut house = House::new();
        // More made-up ones than there are places, then ours.
        for n in 2..2 + GATEWAYS_MAX as u8 {
            house.announce(n, "ssdp:alive");
        }
        house.announce(REAL, "ssdp:alive");
        assert_eq!(house.registered(), [udn(REAL)]);

        // Ours restarts, and more made-up ones come meanwhile.
        house.announce(REAL, "ssdp:byebye");
        for n in 20..20 + GATEWAYS_MAX as u8 {
            house.announce(n, "ssdp:alive");
        }
        house.announce(REAL, "ssdp:alive");
        assert_eq!(house.registered(), [udn(REAL)]);
        assert!(house.link.gateways().any(|g| g.udn == udn(REAL) && g.location.is_some()));
        assert!(house.link.gateways().count() <= GATEWAYS_MAX);
    }

    struct House {
        link: GatewayLink,
        now: BootTime,
    }

    impl House {
        fn new() -> Self {
            let now = BootTime::ZERO;
            let own: CallerId = "11111111-2222-4333-8444-555555555555".parse().unwrap();
            let mut link =
                GatewayLink::new(own, "Linux/6 UPnP/1.1 x/1".into(), 49152, vec![], (vec![], vec![]), 1, now);
            let address = InterfaceAddress { address: [10, 88, 0, 254].into(), prefix_len: 24 };
            let eth0 = Interface { id: InterfaceId(2), name: "eth0".into(), addresses: vec![address] };
            link.handle_interfaces(&[eth0], now);
            link.set_configured([Wish::WakeUpTime("06:30:00".parse().unwrap())], now);
            assert_eq!(link.wishes().next().unwrap().1, Origin::Configuration);
            Self { link, now }
        }

        /// Says it in the name of a gateway and lets a minute pass.
        fn announce(&mut self, n: u8, what: &str) {
            let text = format!(
                "NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nCACHE-CONTROL: max-age=7200\r\nNT: {DEVICE}\r\n\
                 NTS: {what}\r\nUSN: {}::{DEVICE}\r\nLOCATION: http://10.88.0.{n}:8080/d.xml\r\n\
                 BOOTID.UPNP.ORG: {}\r\n\r\n",
                udn(n),
                self.now.since_boot().as_secs() + 1
            );
            let datagram = Datagram {
                interface: InterfaceId(2),
                channel: Channel::Ssdp,
                multicast: true,
                from: ([10, 88, 0, n], 1900).into(),
                payload: text.into(),
            };
            self.link.handle_datagram(&datagram, self.now);
            let end = self.now + Duration::from_secs(60);
            loop {
                while let Some(effect) = self.link.poll_effect() {
                    if let Effect::Request(request) = effect {
                        let answer = HttpAnswer { id: request.id, result: Ok(answer(&request)) };
                        self.link.handle_answer(answer, self.now);
                    }
                }
                let Some(due) = self.link.poll_timeout().filter(|due| *due <= end) else { break };
                self.now = self.now.max(due);
                self.link.handle_timeout(self.now);
            }
            self.now = end;
        }

        /// The gateways with a registration.
        fn registered(&self) -> Vec<String> {
            self.link.gateways().filter(|g| !g.registrations.is_empty()).map(|g| g.udn).collect()
        }
    }

    fn udn(n: u8) -> String {
        format!("uuid:{n:08x}-0000-4000-8000-000000000000")
    }

    /// All describe themselves well; every second made-up one answers calls with nonsense and every other one not at all.
    fn answer(request: &HttpRequest) -> Response<Bytes> {
        let n = match request.to.ip() {
            std::net::IpAddr::V4(ip) => ip.octets()[3],
            std::net::IpAddr::V6(_) => panic!("not asked over IPv6"),
        };
        let body = match (request.request.method().as_str(), n) {
            ("GET", n) => Bytes::from(format!(
                "<root xmlns=\"urn:schemas-upnp-org:device-1-0\"><device><deviceType>{DEVICE}</deviceType><UDN>{}</UDN>\
                 <serviceList><service><serviceType>{SERVICE}</serviceType><serviceId>x</serviceId><SCPDURL>/s</SCPDURL>\
                 <controlURL>/c</controlURL><eventSubURL/></service></serviceList></device></root>",
                udn(n)
            )),
            (_, REAL) => soap::write_response(SERVICE, "WakeUpTime", &[("RegID", "7")]),
            (_, n) if n % 2 == 0 => Bytes::from_static(b"nonsense"),
            _ => return Response::builder().status(503).body(Bytes::new()).unwrap(),
        };
        Response::new(body)
    }
}
