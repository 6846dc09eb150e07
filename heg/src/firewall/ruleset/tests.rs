//! The rules are judged by what becomes of packets, not by their text: a small reading of the JSON plays the kernel. What the
//! kernel itself makes of them is seen in the lab.

use proptest::prelude::*;

use super::super::settings::Mode;
use super::*;

/// A packet as far as the rules look at it.
#[derive(Clone, Debug)]
struct Packet {
    by: &'static str,
    from: IpAddr,
    kind: Kind,
    new: bool,
    card: &'static str,
    subscribes: bool,
    /// Its source, or all strangers, sent too much.
    flood: (bool, bool),
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Tcp(u16),
    /// From port, to port.
    Udp(u16, u16),
    Icmp(&'static str),
    Icmpv6(&'static str),
}

fn packet(by: &'static str, from: &str, kind: Kind) -> Packet {
    let from = from.parse().unwrap();
    Packet { by, from, kind, new: true, card: "02:00:00:00:00:99", subscribes: false, flood: (false, false) }
}

/// Dropped for the reason counted, or let through.
type Verdict = Result<(), String>;

/// The rules in the hands of a kernel that can do no more than they ask for.
struct Kernel {
    sets: BTreeMap<String, Vec<Value>>,
    chains: BTreeMap<String, Vec<Vec<Value>>>,
    policies: BTreeMap<String, String>,
}

impl Kernel {
    fn with(plan: &Plan) -> Self {
        let text = plan.replacement(&Feature::ALL.into(), &Counts::new(), "made_test");
        let value: Value = serde_json::from_str(&text).unwrap();
        let mut kernel = Self { sets: BTreeMap::new(), chains: BTreeMap::new(), policies: BTreeMap::new() };
        for command in value["nftables"].as_array().unwrap() {
            let Some(added) = command.get("add") else { continue };
            let text = |v: &Value, key: &str| v[key].as_str().unwrap_or_default().to_owned();
            if let Some(element) = added.get("element") {
                kernel.sets.insert(text(element, "name"), element["elem"].as_array().unwrap().clone());
            } else if let Some(chain) = added.get("chain") {
                kernel.chains.entry(text(chain, "name")).or_default();
                kernel.policies.insert(text(chain, "name"), text(chain, "policy"));
            } else if let Some(rule) = added.get("rule") {
                let chain = kernel.chains.get_mut(&text(rule, "chain")).expect("a chain is made before its rules");
                chain.push(rule["expr"].as_array().unwrap().clone());
            }
        }
        kernel
    }

    fn input(&self, p: &Packet) -> Verdict {
        self.base("input", p)
    }

    fn forward(&self, p: &Packet) -> Verdict {
        if self.chains.contains_key("forward") { self.base("forward", p) } else { Ok(()) }
    }

    fn base(&self, chain: &str, p: &Packet) -> Verdict {
        match self.chain(chain, p) {
            Some(verdict) => verdict,
            None if self.policies[chain] == "accept" => Ok(()),
            None => Err("policy".to_owned()),
        }
    }

    fn chain(&self, chain: &str, p: &Packet) -> Option<Verdict> {
        self.chains[chain].iter().find_map(|rule| self.rule(rule, p))
    }

    fn rule(&self, rule: &[Value], p: &Packet) -> Option<Verdict> {
        let mut counter = String::new();
        for statement in rule {
            let (word, body) = statement.as_object().unwrap().iter().next().unwrap();
            match word.as_str() {
                "match" if !self.matches(body, p) => return None,
                "match" | "log" => {}
                "limit" if body["inv"] == true && !p.flood.1 => return None,
                "limit" => {}
                "meter" if !p.flood.0 || !self.family_fits(&body["key"], p) => return None,
                "meter" => {}
                "counter" => counter = body.as_str().unwrap().to_owned(),
                "accept" => return Some(Ok(())),
                "drop" => return Some(Err(counter)),
                "jump" => return self.chain(body["target"].as_str().unwrap(), p),
                other => panic!("{other}"),
            }
        }
        None
    }

    fn family_fits(&self, key: &Value, p: &Packet) -> bool {
        let key = key.get("elem").map_or(key, |e| &e["val"]);
        (key["payload"]["protocol"] == "ip") == p.from.is_ipv4()
    }

    fn matches(&self, body: &Value, p: &Packet) -> bool {
        let left = &body["left"];
        let field = |part: &Value| {
            (part["protocol"].as_str().unwrap_or("").to_owned(), part["field"].as_str().unwrap_or("").to_owned())
        };
        // What a packet does not have matches neither way.
        let value: Value = if let Some(part) = left.get("payload") {
            if part["base"] == "ih" {
                return p.subscribes;
            }
            let (protocol, name) = field(part);
            match (protocol.as_str(), name.as_str(), p.kind) {
                ("ip", "saddr", _) if p.from.is_ipv4() => json!(p.from.to_string()),
                ("ip6", "saddr", _) if p.from.is_ipv6() => json!(p.from.to_string()),
                ("ether", "saddr", _) => json!(p.card),
                ("tcp", "dport", Kind::Tcp(port)) => json!(port),
                ("udp", "sport", Kind::Udp(port, _)) | ("udp", "dport", Kind::Udp(_, port)) => json!(port),
                ("icmp", "type", Kind::Icmp(word)) | ("icmpv6", "type", Kind::Icmpv6(word)) => json!(word),
                _ => return false,
            }
        } else if let Some(part) = left.get("meta") {
            match part["key"].as_str().unwrap() {
                "iifname" => json!(p.by),
                "nfproto" => json!(if p.from.is_ipv4() { "ipv4" } else { "ipv6" }),
                "l4proto" => json!(match p.kind {
                    Kind::Tcp(_) => "tcp",
                    Kind::Udp(..) => "udp",
                    Kind::Icmp(_) => "icmp",
                    Kind::Icmpv6(_) => "ipv6-icmp",
                }),
                other => panic!("{other}"),
            }
        } else {
            assert_eq!(left["ct"]["key"], "state");
            json!(if p.new { "new" } else { "established" })
        };
        let found = self.among(&body["right"], &value);
        if body["op"] == "!=" { !found } else { found }
    }

    fn among(&self, right: &Value, value: &Value) -> bool {
        let any = |list: &[Value]| list.iter().any(|one| self.among(one, value));
        match right {
            Value::String(name) if name.starts_with('@') => self.sets.get(&name[1..]).is_some_and(|list| any(list)),
            Value::Array(list) => any(list),
            Value::Object(o) if o.contains_key("set") => any(o["set"].as_array().unwrap()),
            Value::Object(o) if o.contains_key("prefix") => {
                let (address, bits) = (&o["prefix"]["addr"], &o["prefix"]["len"]);
                let prefix: Prefix = format!("{}/{bits}", address.as_str().unwrap()).parse().unwrap();
                prefix.covers(Prefix::host(value.as_str().unwrap().parse().unwrap()))
            }
            plain => plain == value,
        }
    }
}

const HTTP: u16 = 49200;

fn names(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|s| (*s).to_owned()).collect()
}

fn host() -> Plan {
    Plan {
        shape: Shape {
            lan: names(&["eth0"]),
            inner: names(&["docker0"]),
            prefixes: ["192.168.1.0/24", "2001:db8:1::/64"].map(|p| p.parse().unwrap()).into(),
            ..Shape::default()
        },
        http_port: Some(HTTP),
        appliances: [MacAddress::new([2, 0, 0, 0, 0, 1]).unwrap()].into(),
        ..Plan::default()
    }
}

fn router() -> Plan {
    let plan = host();
    let shape = Shape { router: true, wan: names(&["wan0"]), ..plan.shape };
    let settings = Settings { mode: Mode::Router, ..Settings::default() };
    Plan { shape, settings, ssh_ports: [22].into(), ..plan }
}

fn dropped(counter: &str) -> Verdict {
    Err(counter.to_owned())
}

const ANYONE: &str = "198.51.100.9";
const ANYONE6: &str = "2001:db8:9::9";
const HOME: &str = "192.168.1.20";
const HOME6: &str = "2001:db8:1::20";

#[test]
fn on_a_host_only_the_gateways_own_ports_are_guarded() {
    let kernel = Kernel::with(&host());
    for (port, by, from) in [
        (22, "eth0", ANYONE),
        (80, "eth0", HOME),
        (445, "eth0", HOME6),
        (22, "wwan0", ANYONE6),
        (8080, "docker0", "172.17.0.2"),
    ] {
        assert_eq!(kernel.input(&packet(by, from, Kind::Tcp(port))), Ok(()), "{port} {by} {from}");
        assert_eq!(kernel.forward(&packet(by, from, Kind::Tcp(port))), Ok(()));
    }
    for kind in [Kind::Tcp(HTTP), Kind::Udp(40000, 1900), Kind::Udp(40000, 7900)] {
        for from in [HOME, HOME6, "fe80::20"] {
            assert_eq!(kernel.input(&packet("eth0", from, kind)), Ok(()), "{kind:?} {from}");
        }
        for (by, from) in
            [("eth0", ANYONE), ("eth0", ANYONE6), ("wwan0", HOME), ("wwan0", "fe80::20"), ("docker0", "172.17.0.2")]
        {
            assert_eq!(kernel.input(&packet(by, from, kind)), dropped("dropped_foreign"), "{kind:?} {by} {from}");
        }
        assert_eq!(kernel.input(&packet("lo", "127.0.0.1", kind)), Ok(()));
    }
}

#[test]
fn a_baseline_without_networks_or_port_keeps_our_ports_closed_and_others_as_they_were() {
    let kernel = Kernel::with(&Plan::default());
    assert_eq!(kernel.input(&packet("eth0", HOME, Kind::Udp(40000, 1900))), dropped("dropped_foreign"));
    assert_eq!(kernel.input(&packet("eth0", HOME, Kind::Tcp(22))), Ok(()));
}

#[test]
fn a_router_lets_in_from_the_wan_what_belongs_to_us_and_nothing_else() {
    let kernel = Kernel::with(&router());
    for by in ["wan0", "usb0"] {
        for (from, kind) in [
            (ANYONE, Kind::Tcp(22)),
            (ANYONE6, Kind::Tcp(80)),
            (ANYONE, Kind::Udp(53, 53)),
            (ANYONE, Kind::Icmp("echo-request")),
            (ANYONE6, Kind::Icmpv6("echo-request")),
            // Answers to a search from another port than 1900, and what only looks like DHCP.
            (ANYONE, Kind::Udp(1900, 40000)),
            (ANYONE6, Kind::Udp(547, 546)),
            (ANYONE, Kind::Udp(68, 67)),
        ] {
            assert_eq!(kernel.input(&packet(by, from, kind)), dropped("dropped_wan"), "{by} {from} {kind:?}");
            assert_eq!(kernel.forward(&packet(by, from, kind)), dropped("dropped_forward"), "{by} {from} {kind:?}");
            let known = Packet { new: false, ..packet(by, from, kind) };
            assert_eq!((kernel.input(&known), kernel.forward(&known)), (Ok(()), Ok(())), "{by} {from} {kind:?}");
        }
        for from in [HOME, HOME6, ANYONE, "fe80::1"] {
            assert_eq!(
                kernel.input(&packet(by, from, Kind::Tcp(HTTP))),
                dropped("dropped_foreign"),
                "a made-up source: {from}"
            );
        }
    }
    for (from, kind) in [
        (ANYONE, Kind::Udp(67, 68)),
        ("fe80::1", Kind::Udp(547, 546)),
        ("fe80::1", Kind::Udp(40000, 546)),
        (ANYONE, Kind::Icmp("destination-unreachable")),
        (ANYONE6, Kind::Icmpv6("packet-too-big")),
        ("fe80::1", Kind::Icmpv6("nd-router-advert")),
        ("fe80::1", Kind::Icmpv6("nd-neighbor-solicit")),
    ] {
        assert_eq!(kernel.input(&packet("wan0", from, kind)), Ok(()), "{from} {kind:?}");
    }
    for (by, from) in [("eth0", HOME), ("eth0", HOME6), ("docker0", "172.17.0.2")] {
        let p = packet(by, from, Kind::Tcp(22));
        assert_eq!((kernel.input(&p), kernel.forward(&p)), (Ok(()), Ok(())), "{by}");
    }
}

#[test]
fn named_ports_and_ssh_sources_are_open_on_the_wan_side_as_set() {
    let mut plan = router();
    plan.settings.wan_tcp = vec![443];
    plan.ssh_ports = [22, 2222].into();
    plan.ssh = [ANYONE, ANYONE6].map(|a| a.parse().unwrap()).into();
    let kernel = Kernel::with(&plan);
    assert_eq!(kernel.input(&packet("wan0", "198.51.100.77", Kind::Tcp(443))), Ok(()));
    for (from, port, want) in [
        (ANYONE, 22, Ok(())),
        (ANYONE6, 2222, Ok(())),
        (ANYONE, 80, dropped("dropped_wan")),
        ("198.51.100.77", 22, dropped("dropped_wan")),
    ] {
        assert_eq!(kernel.input(&packet("wan0", from, Kind::Tcp(port))), want, "{from} {port}");
    }
    plan.settings.ssh = Ssh::Lan;
    assert_eq!(Kernel::with(&plan).input(&packet("wan0", ANYONE, Kind::Tcp(22))), dropped("dropped_wan"));
}

#[test]
fn the_sealed_endpoint_is_open_at_a_bounded_rate_and_only_to_whom_is_named() {
    for mut plan in [router(), host()] {
        plan.sealed_port = Some(8444);
        let sealed = |from, flood| Packet { flood, ..packet("wan0", from, Kind::Tcp(8444)) };
        plan.utility = ["203.0.113.5".parse().unwrap()].into();
        let kernel = Kernel::with(&plan);
        assert_eq!(kernel.input(&sealed(ANYONE, (false, false))), Ok(()));
        assert_eq!(kernel.input(&sealed(ANYONE6, (true, false))), dropped("flood_sealed"));
        assert_eq!(kernel.input(&sealed(ANYONE, (false, true))), dropped("flood_sealed"));
        assert_eq!(
            kernel.input(&sealed("203.0.113.5", (false, true))),
            Ok(()),
            "strangers do not crowd the utility out"
        );
        let known = Packet { new: false, ..sealed(ANYONE, (true, true)) };
        assert_eq!(kernel.input(&known), Ok(()), "a connection that is open is no flood");
        plan.settings.utility_addresses = vec!["2001:db8:9::/48".parse().unwrap()];
        let kernel = Kernel::with(&plan);
        assert_eq!(kernel.input(&sealed(ANYONE6, (false, false))), Ok(()));
        assert_eq!(kernel.input(&sealed(ANYONE, (false, false))), dropped("dropped_wan"));
        assert!(plan.counters().any(|(name, _)| name == "dropped_wan"));
    }
}

#[test]
fn a_closed_lan_side_keeps_what_a_home_needs_of_its_router() {
    let mut plan = router();
    plan.settings.lan_input = LanInput::Closed;
    plan.settings.lan_tcp = vec![445];
    let kernel = Kernel::with(&plan);
    for kind in [
        Kind::Tcp(22),
        Kind::Tcp(53),
        Kind::Tcp(445),
        Kind::Tcp(HTTP),
        Kind::Udp(68, 67),
        Kind::Udp(5353, 5353),
        Kind::Udp(1900, 40000),
        Kind::Icmp("echo-request"),
    ] {
        assert_eq!(kernel.input(&packet("eth0", HOME, kind)), Ok(()), "{kind:?}");
    }
    assert_eq!(kernel.input(&packet("eth0", HOME, Kind::Tcp(8080))), dropped("dropped_lan"));
    assert_eq!(kernel.forward(&packet("eth0", HOME, Kind::Tcp(8080))), Ok(()));
}

#[test]
fn a_flood_is_stopped_for_its_source_and_strangers_cannot_crowd_out_an_appliance() {
    for plan in [host(), router()] {
        let kernel = Kernel::with(&plan);
        let ssdp = |card, flood| Packet { card, flood, ..packet("eth0", HOME, Kind::Udp(40000, 1900)) };
        assert_eq!(
            kernel.input(&ssdp("02:00:00:00:00:01", (true, false))),
            dropped("flood_ssdp"),
            "an appliance gone wild"
        );
        assert_eq!(kernel.input(&ssdp("02:00:00:00:00:99", (false, true))), dropped("flood_ssdp"));
        assert_eq!(kernel.input(&ssdp("02:00:00:00:00:01", (false, true))), Ok(()));
        let http = |new, subscribes, flood| Packet {
            new,
            subscribes,
            flood: (flood, false),
            ..packet("eth0", HOME6, Kind::Tcp(HTTP))
        };
        assert_eq!(kernel.input(&http(true, false, true)), dropped("flood_connections"));
        assert_eq!(kernel.input(&http(false, true, true)), dropped("flood_subscribe"));
        assert_eq!(kernel.input(&http(false, false, true)), Ok(()), "a busy connection is no flood");
        assert_eq!(kernel.input(&http(false, true, false)), Ok(()));
    }
}

#[test]
fn sets_change_without_the_rules_and_other_tables_are_never_named() {
    let features: BTreeSet<Feature> = Feature::ALL.into();
    let (before, mut after) = (router(), router());
    after.shape.prefixes.push("10.9.0.0/16".parse().unwrap());
    after.appliances.clear();
    let change = after.sets_since(&before, &features).unwrap();
    let commands: Value = serde_json::from_str(&change).unwrap();
    let touched: Vec<String> = commands["nftables"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| {
            let (verb, what) = c.as_object().unwrap().iter().next().unwrap();
            let (kind, fields) = what.as_object().unwrap().iter().next().unwrap();
            format!("{verb} {kind} {}", fields["name"].as_str().unwrap())
        })
        .collect();
    assert_eq!(touched, ["flush set lan4", "add element lan4", "flush set appliances"]);
    assert_eq!(before.sets_since(&before, &features), None, "nothing to be done");
    after.settings.wan_udp = vec![51820];
    assert_eq!(after.sets_since(&before, &features), None, "the rules differ");
    let replacement = after.replacement(&features, &Counts::new(), "made_test");
    for text in [change, replacement, removal()] {
        let commands: Value = serde_json::from_str(&text).unwrap();
        for command in commands["nftables"].as_array().unwrap() {
            let (_, what) = command.as_object().unwrap().iter().next().unwrap();
            let (kind, fields) = what.as_object().unwrap().iter().next().unwrap();
            let table = if kind == "table" { &fields["name"] } else { &fields["table"] };
            assert_eq!((table.as_str(), fields["family"].as_str()), (Some("heg"), Some("inet")), "{command}");
        }
    }
}

#[test]
fn whatever_is_dropped_is_told_and_never_without_a_bound() {
    let mut plan = router();
    (plan.sealed_port, plan.settings.lan_input) = (Some(8444), LanInput::Closed);
    plan.settings.utility_addresses = vec!["2001:db8:9::/48".parse().unwrap()];
    let told = |expr: &[Value]| expr.iter().any(|s| s.get("log").is_some());
    for rules in Kernel::with(&plan).chains.values() {
        for (n, rule) in rules.iter().enumerate() {
            if told(rule) {
                let limit = rule.iter().find_map(|s| s.get("limit")).expect("a bound before the log");
                assert_eq!((limit["per"].as_str(), limit.get("inv")), (Some("minute"), None), "{limit}");
            }
            if rule.iter().any(|s| s.get("drop").is_some()) {
                assert!(n > 0 && told(&rules[n - 1]), "dropped without a word: {rule:?}");
            }
        }
    }
}

#[test]
fn counters_go_on_where_they_were() {
    let counts = Counts::from([("dropped_wan".to_owned(), Count { packets: 7, bytes: 5_000_000_000 })]);
    let text = router().replacement(&BTreeSet::new(), &counts, "made_test");
    let commands: Value = serde_json::from_str(&text).unwrap();
    let wan =
        commands["nftables"].as_array().unwrap().iter().find(|c| c["add"]["counter"]["name"] == "dropped_wan").unwrap();
    assert_eq!(
        (&wan["add"]["counter"]["packets"], &wan["add"]["counter"]["bytes"]),
        (&json!(7), &json!(5_000_000_000u64))
    );
}

proptest! {
    /// Whatever is dropped is counted, for a reason that people are shown; and nothing new ever gets from the WAN into the home.
    #[test]
    fn every_drop_is_counted_and_shown(
        by in prop::sample::select(vec!["eth0", "wan0", "docker0", "usb0", "lo"]),
        from in prop::sample::select(vec![HOME, HOME6, ANYONE, ANYONE6, "fe80::1", "172.17.0.2"]),
        kind in prop_oneof![
            any::<u16>().prop_map(Kind::Tcp), Just(Kind::Tcp(HTTP)), Just(Kind::Tcp(8444)), Just(Kind::Udp(1900, 1900)),
            (any::<u16>(), any::<u16>()).prop_map(|(s, d)| Kind::Udp(s, d)),
            prop::sample::select(vec!["echo-request", "redirect", "time-exceeded"]).prop_map(Kind::Icmp),
        ],
        (new, subscribes, flood) in any::<(bool, bool, (bool, bool))>(),
        (shape, closed, sealed) in (any::<bool>(), any::<bool>(), any::<bool>()),
    ) {
        let mut plan = if shape { router() } else { host() };
        plan.settings.lan_input = if closed { LanInput::Closed } else { LanInput::Keep };
        plan.sealed_port = sealed.then_some(8444);
        let kernel = Kernel::with(&plan);
        let p = Packet { new, subscribes, flood, ..packet(by, from, kind) };
        for verdict in [kernel.input(&p), kernel.forward(&p)] {
            if let Err(counter) = verdict {
                prop_assert!(plan.counters().any(|(name, _)| name == counter), "{}", counter);
            }
        }
        if shape && new && matches!(by, "wan0" | "usb0") {
            prop_assert!(kernel.forward(&p).is_err());
        }
    }
}
