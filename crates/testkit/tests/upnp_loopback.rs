//! Our control point and our root device with one another, over a simulated network in virtual time.
#![expect(clippy::unwrap_used, reason = "helpers of tests, where a panic is a failed test")]

use core::time::Duration;
use std::net::IpAddr;

use bytes::Bytes;
use http::Response;
use testkit::network::{Faults, Host, HostId, Power, ReplyTo, Segment, SimNetwork};
use upnp::Effect;
use upnp::control_point::{ControlPoint, ControlPointConfig, ControlPointEvent, ReadyCause};
use upnp::device::{DeviceConfig, Handled, RootDevice, not_found, presentation_response};
use upnp::error::{ErrorCode, UpnpError};
use upnp::ids::{TypeUrn, Udn};
use upnp::net::{Datagram, HttpAnswer, IncomingRequest, Interface, InterfaceAddress, InterfaceId, Owner};
use upnp::service::{ActionDecl, Allowed, ArgumentDecl, DataType, Direction, Eventing, ServiceDecl, VariableDecl};
use upnp::ssdp::{GoneWhy, Target};
use upnp::time::{BootTime, earliest};

static SWITCH: ServiceDecl = ServiceDecl {
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
            eventing: Eventing::Multicast,
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

const DEVICE_PORT: u16 = 49_200;
const CALLBACK_PORT: u16 = 49_300;
const LAN: Segment = Segment(0);

/// A program that is a light, a control point, or both.
struct Program {
    light: Option<(RootDevice, bool)>,
    control_point: Option<ControlPoint>,
    events: Vec<ControlPointEvent>,
    descriptions_served: u32,
}

impl Program {
    fn light(n: u8, boot_id: u32, now: BootTime) -> Self {
        let config = DeviceConfig {
            udn: udn(n),
            device_type: TypeUrn::parse("urn:schemas-upnp-org:device:BinaryLight:1").unwrap(),
            friendly_name: format!("Light {n}"),
            manufacturer: "Test".into(),
            manufacturer_url: String::new(),
            model_name: "Bulb".into(),
            model_description: String::new(),
            model_number: String::new(),
            services: vec![&SWITCH],
            server: "Linux/6.1 UPnP/1.1 test/1".into(),
            http_port: DEVICE_PORT,
            boot_id,
            max_age: Duration::from_secs(1800),
            host_names: Vec::new(),
            seed: u64::from(boot_id) << 8 | u64::from(n),
        };
        let mut device = RootDevice::new(config, now);
        device.set_variables(&SWITCH, &[("Target", "0".into()), ("Status", "0".into())], now);
        Self { light: Some((device, false)), control_point: None, events: Vec::new(), descriptions_served: 0 }
    }

    fn control_point(seed: u64, now: BootTime) -> Self {
        let config = ControlPointConfig {
            targets: vec![Target::Type(switch())],
            subscribe: vec![switch()],
            user_agent: "Linux/6.1 UPnP/1.1 test/1".into(),
            callback_port: CALLBACK_PORT,
            mx: 2,
            search_every: Duration::from_secs(900),
            static_devices: Vec::new(),
            seed,
        };
        Self {
            light: None,
            control_point: Some(ControlPoint::new(config, now)),
            events: Vec::new(),
            descriptions_served: 0,
        }
    }

    fn device(&mut self) -> &mut RootDevice {
        &mut self.light.as_mut().expect("a light").0
    }

    fn cp(&mut self) -> &mut ControlPoint {
        self.control_point.as_mut().expect("a control point")
    }

    fn turn(&mut self, on: bool, now: BootTime) {
        let value = if on { "1" } else { "0" };
        self.light.as_mut().expect("a light").1 = on;
        self.device().set_variables(&SWITCH, &[("Target", value.into()), ("Status", value.into())], now);
    }

    /// The last value of Status the control point was told for this light.
    fn seen(&self, n: u8) -> Option<&str> {
        self.events.iter().rev().find_map(|e| match e {
            ControlPointEvent::Event { udn: of, variables, .. } if *of == udn(n) => {
                variables.iter().find(|(name, _)| name == "Status").map(|(_, value)| value.as_str())
            }
            _ => None,
        })
    }

    fn count(&self, wanted: impl Fn(&ControlPointEvent) -> bool) -> usize {
        self.events.iter().filter(|e| wanted(e)).count()
    }

    fn collect(&mut self) {
        if let Some(cp) = &mut self.control_point {
            self.events.extend(core::iter::from_fn(|| cp.poll_event()));
        }
    }
}

impl Host for Program {
    fn handle_interfaces(&mut self, interfaces: &[Interface], now: BootTime) {
        if let Some((light, _)) = &mut self.light {
            light.handle_interfaces(interfaces, now);
        }
        if let Some(cp) = &mut self.control_point {
            cp.handle_interfaces(interfaces, now);
        }
        self.collect();
    }

    fn handle_datagram(&mut self, datagram: &Datagram, now: BootTime) {
        if let Some((light, _)) = &mut self.light {
            light.handle_datagram(datagram, now);
        }
        if let Some(cp) = &mut self.control_point {
            cp.handle_datagram(datagram, now);
        }
        self.collect();
    }

    fn handle_request(&mut self, request: IncomingRequest, _: ReplyTo, now: BootTime) -> Option<Response<Bytes>> {
        self.descriptions_served += u32::from(request.request.uri().path() == "/description.xml");
        if let Some((light, on)) = &mut self.light {
            match light.handle_request(&request, now) {
                Handled::Response(response) => return Some(response),
                Handled::Presentation => return Some(presentation_response("light".into())),
                Handled::Action(call) if call.action.name == "GetStatus" => {
                    return Some(call.respond(Ok(vec![("ResultStatus", u8::from(*on).to_string())])));
                }
                Handled::Action(call) => {
                    let wanted = call.arguments[0].1 == "1";
                    if wanted == *on {
                        let refusal = UpnpError::with(ErrorCode(801), "it is so already");
                        return Some(call.respond(Err(refusal)));
                    }
                    self.turn(wanted, now);
                    return Some(call.respond(Ok(vec![])));
                }
                Handled::NotMine => {}
            }
        }
        let response = self.control_point.as_mut().and_then(|cp| cp.handle_request(&request, now));
        self.collect();
        Some(response.unwrap_or_else(not_found))
    }

    fn handle_answer(&mut self, answer: HttpAnswer, now: BootTime) {
        match (answer.id.owner, &mut self.light, &mut self.control_point) {
            (Owner::Device, Some((light, _)), _) => light.handle_answer(answer, now),
            (Owner::ControlPoint, _, Some(cp)) => cp.handle_answer(answer, now),
            _ => panic!("an answer for nobody"),
        }
        self.collect();
    }

    fn handle_timeout(&mut self, now: BootTime) {
        if let Some((light, _)) = &mut self.light {
            light.handle_timeout(now);
        }
        if let Some(cp) = &mut self.control_point {
            cp.handle_timeout(now);
        }
        self.collect();
    }

    fn poll_effect(&mut self) -> Option<Effect> {
        let light = self.light.as_mut().and_then(|(light, _)| light.poll_effect());
        light.or_else(|| self.control_point.as_mut().and_then(ControlPoint::poll_effect))
    }

    fn poll_timeout(&self) -> Option<BootTime> {
        let light = self.light.as_ref().and_then(|(light, _)| light.poll_timeout());
        earliest(light, self.control_point.as_ref().and_then(ControlPoint::poll_timeout))
    }
}

type Net = SimNetwork<Program>;

/// A control point at .254 and lights at .1 and up, all just started.
fn house(lights: u8, seed: u64) -> (Net, HostId, Vec<HostId>) {
    let mut net = SimNetwork::new(seed);
    let cp = net.add(Program::control_point(seed, net.now()), CALLBACK_PORT, vec![(LAN, eth0(254))]);
    let lights = (1..=lights).map(|n| net.add(Program::light(n, 1, net.now()), DEVICE_PORT, vec![(LAN, eth0(n))]));
    let lights = lights.collect::<Vec<_>>();
    (net, cp, lights)
}

/// A house in which every light is subscribed to.
fn settled_house(lights: u8, seed: u64) -> (Net, HostId, Vec<HostId>) {
    let (mut net, cp, hosts) = house(lights, seed);
    let all_seen = |net: &Net| (1..=lights).all(|n| net.host(cp).seen(n).is_some());
    assert!(within(&mut net, 10, all_seen), "not all lights found");
    (net, cp, hosts)
}

fn within(net: &mut Net, seconds: u64, condition: impl FnMut(&Net) -> bool) -> bool {
    let deadline = net.now() + Duration::from_secs(seconds);
    net.run_until(deadline, condition)
}

fn eth0(n: u8) -> Interface {
    let address = |address: IpAddr, prefix_len| InterfaceAddress { address, prefix_len };
    let link_local = format!("fe80::{n:x}").parse().unwrap();
    let addresses = vec![address([10, 88, 0, n].into(), 24), address(link_local, 64)];
    Interface { id: InterfaceId(2), name: "eth0".into(), addresses }
}

fn udn(n: u8) -> Udn {
    Udn::parse(&format!("uuid:00000000-0000-4000-8000-0000000000{n:02x}")).unwrap()
}

fn switch() -> TypeUrn {
    TypeUrn::parse(SWITCH.service_type).unwrap()
}

fn ready(event: &ControlPointEvent, wanted: ReadyCause) -> bool {
    matches!(event, ControlPointEvent::Ready { cause, .. } if *cause == wanted)
}

#[test]
fn a_light_is_found_subscribed_and_its_changes_are_seen() {
    let (mut net, cp, lights) = settled_house(1, 1);
    let known = net.host(cp).control_point.as_ref().unwrap().device(&udn(1)).cloned().unwrap();
    assert_eq!((&*known.friendly_name, &*known.model_name), ("Light 1", "Bulb"));
    assert_eq!(net.host(cp).seen(1), Some("0"));
    assert_eq!(net.host(cp).count(|e| matches!(e, ControlPointEvent::Subscribed { .. })), 1);

    net.with(lights[0], |light, now| light.turn(true, now));
    assert!(within(&mut net, 1, |net| net.host(cp).seen(1) == Some("1")));
    // By NOTIFY and by multicast, once each.
    net.run_for(Duration::from_secs(5));
    let count = |by_multicast: bool| {
        net.host(cp).count(|e| {
            matches!(e, ControlPointEvent::Event { multicast, variables, .. }
                if *multicast == by_multicast && variables.iter().any(|(_, v)| v == "1"))
        })
    };
    assert_eq!((count(false), count(true)), (1, 1));
}

#[test]
fn calls_are_answered_and_refusals_keep_code_and_words() {
    let (mut net, cp, _) = settled_house(1, 2);
    let call = |net: &mut Net, action: &'static str, arguments: &[(&str, &str)]| {
        let arguments = arguments.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let id = net.with(cp, |p, now| p.cp().call(&udn(1), &switch(), action, arguments, now)).unwrap();
        let mut found = None;
        within(net, 5, |net| {
            found = net.host(cp).events.iter().find_map(|e| match e {
                ControlPointEvent::CallDone { call, result, .. } if *call == id => Some(result.clone()),
                _ => None,
            });
            found.is_some()
        });
        found.expect("the call ends")
    };
    assert_eq!(call(&mut net, "SetTarget", &[("newTargetValue", "1")]), Ok(vec![]));
    assert_eq!(call(&mut net, "GetStatus", &[]), Ok(vec![("ResultStatus".to_owned(), "1".to_owned())]));
    let refusal = UpnpError::with(ErrorCode(801), "it is so already");
    assert_eq!(call(&mut net, "SetTarget", &[("newTargetValue", "1")]), Err(refusal.into()));
    let no_action = call(&mut net, "Explode", &[]).unwrap_err();
    assert!(matches!(no_action, upnp::control_point::CallError::Fault(e) if e.code == ErrorCode::INVALID_ACTION));
}

#[test]
fn a_restarted_light_is_subscribed_again_without_reading_its_description_again() {
    let (mut net, cp, lights) = settled_house(1, 3);
    let now = net.now();
    net.replace(lights[0], Program::light(1, 2, now));
    assert!(within(&mut net, 3, |net| net.host(cp).count(|e| ready(e, ReadyCause::Rebooted)) == 1));
    assert!(within(&mut net, 3, |net| net.host(cp).count(|e| matches!(e, ControlPointEvent::Subscribed { .. })) == 2));
    assert_eq!(net.host(lights[0]).descriptions_served, 0);
    net.with(lights[0], |light, now| light.turn(true, now));
    assert!(within(&mut net, 1, |net| net.host(cp).seen(1) == Some("1")));
}

#[test]
fn a_light_that_says_goodbye_is_gone_within_two_seconds() {
    let (mut net, cp, lights) = settled_house(2, 4);
    net.with(lights[0], |light, now| light.device().stop(now));
    let gone =
        |e: &ControlPointEvent| matches!(e, ControlPointEvent::Gone { udn: of, why: GoneWhy::ByeBye } if *of == udn(1));
    assert!(within(&mut net, 2, |net| net.host(cp).count(gone) == 1));
    assert_eq!(net.host(cp).control_point.as_ref().unwrap().devices().count(), 1);
}

#[test]
fn a_light_that_vanishes_expires_and_is_found_when_it_is_back() {
    let (mut net, cp, lights) = settled_house(1, 5);
    net.set_power(lights[0], Power::Asleep);
    let gone = |e: &ControlPointEvent| matches!(e, ControlPointEvent::Gone { why: GoneWhy::Expired, .. });
    assert!(within(&mut net, 2000, |net| net.host(cp).count(gone) == 1));
    net.set_power(lights[0], Power::Up);
    net.with(lights[0], |light, now| light.device().resumed(now));
    assert!(within(&mut net, 3, |net| net.host(cp).count(|e| ready(e, ReadyCause::Appeared)) == 2));
}

#[test]
fn a_stopped_control_point_leaves_no_subscription_behind() {
    let (mut net, cp, lights) = settled_house(30, 6);
    net.with(cp, |p, now| p.cp().stop(now));
    assert!(within(&mut net, 5, |net| net.host(cp).control_point.as_ref().unwrap().idle()));
    for light in lights {
        assert_eq!(net.with(light, |l, _| l.device().subscribers()), 0);
    }
}

#[test]
fn a_light_at_another_address_is_followed() {
    let (mut net, cp, lights) = settled_house(1, 7);
    net.set_links(lights[0], vec![(LAN, eth0(77))]);
    let moved = |net: &Net| {
        let known = net.host(cp).control_point.as_ref().unwrap().device(&udn(1)).cloned();
        known.is_some_and(|k| k.address == IpAddr::from([10, 88, 0, 77]))
    };
    assert!(within(&mut net, 10, moved));
    net.with(lights[0], |light, now| light.turn(true, now));
    assert!(within(&mut net, 10, |net| net.host(cp).seen(1) == Some("1")));
}

#[test]
fn a_control_point_at_another_address_takes_its_subscriptions_along() {
    let (mut net, cp, lights) = settled_house(3, 8);
    net.set_links(cp, vec![(LAN, eth0(200))]);
    net.run_for(Duration::from_secs(10));
    for (light, n) in lights.iter().zip(1..) {
        net.with(*light, |light, now| light.turn(true, now));
        let by_notify = |e: &ControlPointEvent| {
            matches!(e, ControlPointEvent::Event { udn: of, multicast: false, variables, .. }
                if *of == udn(n) && variables.iter().any(|(_, v)| v == "1"))
        };
        assert!(within(&mut net, 2, |net| net.host(cp).count(by_notify) == 1));
    }
}

#[test]
fn a_control_point_that_slept_for_hours_hears_events_again_at_once() {
    let (mut net, cp, lights) = settled_house(5, 9);
    net.set_power(cp, Power::Asleep);
    net.run_for(Duration::from_secs(3 * 3600));
    for light in &lights {
        net.with(*light, |light, now| light.turn(true, now));
    }
    net.run_for(Duration::from_secs(60));
    net.set_power(cp, Power::Up);
    net.with(cp, |p, now| p.cp().resumed(now));
    assert!(within(&mut net, 10, |net| (1..=5).all(|n| net.host(cp).seen(n) == Some("1"))));
}

#[test]
fn a_day_passes_without_a_lost_event_and_with_little_traffic() {
    let (mut net, cp, lights) = settled_house(3, 10);
    let before = net.traffic(cp);
    for hour in 0..24u8 {
        net.run_for(Duration::from_secs(3600));
        let on = hour % 2 == 0;
        for (light, n) in lights.iter().zip(1..) {
            net.with(*light, |light, now| light.turn(on, now));
            assert!(within(&mut net, 2, |net| net.host(cp).seen(n) == Some(if on { "1" } else { "0" })), "hour {hour}");
        }
    }
    assert_eq!(net.host(cp).count(|e| matches!(e, ControlPointEvent::SubscriptionLost { .. })), 0);
    // A renewal each 15 to 22 minutes and light.
    assert!(net.traffic(cp).requests - before.requests <= 3 * 24 * 4, "{:?}", net.traffic(cp));
}

#[test]
fn the_same_seed_gives_the_same_story() {
    let story = |seed| {
        let (mut net, cp, lights) = house(4, seed);
        net.set_faults(Faults { loss: 0.3, duplication: 0.3, reply_loss: 0.2, ..Faults::default() });
        for round in 0..10 {
            net.run_for(Duration::from_secs(7));
            net.with(lights[round % 4], |l, now| l.turn(round % 3 == 0, now));
        }
        let traffic: Vec<_> = lights.iter().map(|l| net.traffic(*l)).collect();
        format!("{traffic:?} {:?}", net.host(cp).events)
    };
    assert_eq!(story(5), story(5));
    assert_ne!(story(5), story(6));
}

#[test]
fn on_a_bad_network_every_light_is_seen_as_it_is_in_the_end() {
    for seed in 0..24 {
        let (mut net, cp, lights) = house(8, seed);
        net.set_faults(Faults {
            loss: 0.2,
            duplication: 0.2,
            delay: (Duration::from_millis(1), Duration::from_millis(400)),
            connect_failure: 0.1,
            reply_loss: 0.1,
        });
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..60 {
            net.run_for(Duration::from_secs(rng.u64(1..40)));
            let light = rng.usize(0..lights.len());
            let on = rng.bool();
            net.with(lights[light], |l, now| l.turn(on, now));
            if rng.u8(0..10) == 0 {
                let boot_id = net.with(lights[light], |l, _| l.device().boot_id()) + 1;
                let now = net.now();
                net.replace(lights[light], Program::light(light as u8 + 1, boot_id, now));
            }
        }
        net.set_faults(Faults::default());
        // Who was out of reach for long is tried again within minutes.
        net.run_for(Duration::from_secs(600));
        for light in &lights {
            net.with(*light, |l, now| {
                let on = l.light.as_ref().unwrap().1;
                l.turn(!on, now);
            });
        }
        let settled = |net: &Net| {
            lights.iter().zip(1..).all(|(light, n)| {
                let on = net.host(*light).light.as_ref().unwrap().1;
                net.host(cp).seen(n) == Some(if on { "1" } else { "0" })
            })
        };
        assert!(within(&mut net, 5, settled), "seed {seed}");
    }
}

#[test]
fn forty_lights_switched_on_together_are_found_and_subscribed_within_ten_seconds() {
    let (net, cp, _) = settled_house(40, 11);
    assert_eq!(net.host(cp).control_point.as_ref().unwrap().devices().count(), 40);
}
