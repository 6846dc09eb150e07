//! From a shape and settings to nftables rules, as the JSON that `nft -j` takes (libnftables-json(5)). PURE.
//!
//! Everything is in one table of our own, `inet heg`. Other tables are never named: what they drop stays dropped, what they
//! accept we may still drop. Rules and sets are apart, so that a new address or appliance changes a set and no rule.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use energy_model::MacAddress;
use serde_json::{Value, json};
use upnp::net::{EVENT_PORT, SSDP_PORT};

use super::prefix::{Prefix, merged};
use super::settings::{LanInput, Settings, Ssh};
use super::shape::Shape;
use crate::limits::{
    CONNECTIONS_PER_SOURCE_BURST, CONNECTIONS_PER_SOURCE_MAX, CONNECTIONS_PER_SOURCE_RATE, FIREWALL_LOG_PER_MINUTE,
    FIREWALL_PREFIXES_MAX, FIREWALL_SSH_SOURCES_MAX, ICMP_RATE, METER_FORGETS_AFTER_S, METER_SOURCES_MAX,
    SEALED_PER_SOURCE_BURST, SEALED_PER_SOURCE_PER_MINUTE, SEALED_STRANGERS_BURST, SEALED_STRANGERS_RATE,
    SSDP_PER_SOURCE_BURST, SSDP_PER_SOURCE_RATE, SSDP_STRANGERS_BURST, SSDP_STRANGERS_RATE, SUBSCRIBE_PER_SOURCE_BURST,
    SUBSCRIBE_PER_SOURCE_RATE,
};

/// Our table's name, family `inet`.
pub const TABLE: &str = "heg";
/// Before everybody's filter chains at priority 0, so that a flood is stopped before it costs more.
const PRIORITY: i32 = -10;
/// Where source addresses are rewritten (nft(8), `srcnat`).
const SOURCE_NAT_PRIORITY: i32 = 100;

/// What is counted as dropped: name in the table, and what it is, for people.
pub const COUNTERS: [(&str, &str); 8] = [
    ("dropped_wan", "from the WAN side"),
    ("dropped_forward", "from the WAN side, to be forwarded"),
    ("dropped_lan", "from the LAN side, to a closed port"),
    ("dropped_foreign", "to the gateway's ports, not from the home"),
    ("flood_ssdp", "flood of SSDP messages"),
    ("flood_connections", "flood of connections"),
    ("flood_subscribe", "flood of SUBSCRIBE"),
    ("flood_sealed", "flood at the sealed endpoint"),
];

/// What the rules are made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Router or host, and which interface is on which side.
    pub shape: Shape,
    /// The settings in force.
    pub settings: Settings,
    /// TCP port of the gateway's HTTP server; none while it is not known.
    pub http_port: Option<u16>,
    /// Network cards of known appliances.
    pub appliances: BTreeSet<MacAddress>,
    /// Sources of SSH connections that stay allowed on the WAN side.
    pub ssh: BTreeSet<IpAddr>,
    /// Ports on which SSH is served.
    pub ssh_ports: BTreeSet<u16>,
    /// TCP port of the endpoint for sealed messages, where the gateway has one.
    pub sealed_port: Option<u16>,
    /// From where the utility has called, beyond what the settings name.
    pub utility: BTreeSet<IpAddr>,
}

/// What of the rules a kernel may lack without the rest losing its sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    /// A look at the first bytes of what a TCP segment carries (Linux 5.16).
    SubscribeMeter,
    /// Connections counted per source.
    ConnectionCount,
    /// Lines in the kernel's log.
    Log,
    /// Source addresses rewritten.
    Masquerade,
}

impl Feature {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::SubscribeMeter, Self::ConnectionCount, Self::Log, Self::Masquerade];

    /// What is missing without it, for people.
    pub fn lack(self) -> &'static str {
        match self {
            Self::SubscribeMeter => "no meter against SUBSCRIBE floods",
            Self::ConnectionCount => "no bound on open connections per source",
            Self::Log => "no log of dropped packets",
            Self::Masquerade => "no masquerading",
        }
    }
}

/// Packets and bytes of a counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// The counters by their names in the table.
pub type Counts = BTreeMap<String, Count>;

/// What the counters of drops go on from: the kernel's, or what is known of them, whichever is more.
pub fn going_on(mut kernel: Counts, known: &Counts) -> Counts {
    for (name, _) in COUNTERS {
        if let Some(known) = known.get(name) {
            let count = kernel.entry(name.to_owned()).or_default();
            (count.packets, count.bytes) = (count.packets.max(known.packets), count.bytes.max(known.bytes));
        }
    }
    kernel
}

impl Plan {
    /// A transaction that puts the table in place of whatever table of ours is there. `counts` go on from where they were;
    /// `mark` is the name of a counter by which this table is known again.
    pub fn replacement(&self, features: &BTreeSet<Feature>, counts: &Counts, mark: &str) -> String {
        let table = json!({"family": "inet", "name": TABLE});
        // Deleting what is not there is an error, adding what is there is none.
        let mut commands = vec![add("table", table.clone()), json!({"delete": {"table": table}}), add("table", table)];
        for (name, _) in COUNTERS {
            let count = counts.get(name).copied().unwrap_or_default();
            commands.push(add("counter", named(name, json!({"packets": count.packets, "bytes": count.bytes}))));
        }
        commands.push(add("counter", named(mark, json!({}))));
        for (set, elements) in self.sets() {
            commands.push(add("set", named(set.name(), json!({"type": set.kind(), "flags": set.flags()}))));
            commands.extend(set.filled(elements));
        }
        commands.extend(self.rules(features));
        transaction(commands)
    }

    /// A transaction that brings only the sets from `before` to this; `None` when the rules differ, or nothing does.
    pub fn sets_since(&self, before: &Self, features: &BTreeSet<Feature>) -> Option<String> {
        if self.rules(features) != before.rules(features) {
            return None;
        }
        let old = before.sets();
        let changed = self.sets().into_iter().filter(|(set, elements)| old.get(set) != Some(elements));
        let commands: Vec<Value> = changed
            .flat_map(|(set, elements)| {
                let flush = json!({"flush": {"set": named(set.name(), json!({}))}});
                [flush].into_iter().chain(set.filled(elements))
            })
            .collect();
        (!commands.is_empty()).then(|| transaction(commands))
    }

    /// Whether SSH is closed on the WAN side save for known sources, so that its ports have to be known.
    pub fn keeps_ssh(&self) -> bool {
        self.settings.ssh == Ssh::Keep && self.closes_wan()
    }

    /// Whether it has a WAN side that it closes.
    pub fn closes_wan(&self) -> bool {
        self.shape.router || !self.shape.wan.is_empty()
    }

    /// The counters whose drops can happen in this shape.
    pub fn counters(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let closed = self.closes_wan();
        let (router, sealed) = (self.shape.router, self.sealed_port.is_some());
        let refusing = sealed && !self.settings.utility_addresses.is_empty();
        let lan = router && self.settings.lan_input == LanInput::Closed;
        COUNTERS.into_iter().filter(move |(name, _)| match *name {
            "dropped_wan" => closed || refusing,
            "dropped_forward" => router,
            "dropped_lan" => lan,
            "flood_sealed" => sealed,
            _ => true,
        })
    }

    fn sets(&self) -> BTreeMap<Set, Vec<Value>> {
        let names = |set: &BTreeSet<String>| set.iter().map(|name| json!(name)).collect();
        let of_family = |prefixes: &[Prefix], v4: bool| -> Vec<Value> {
            prefixes.iter().filter(|p| p.address().is_ipv4() == v4).map(|p| element(*p)).collect()
        };
        let lan = &self.shape.prefixes[..self.shape.prefixes.len().min(FIREWALL_PREFIXES_MAX)];
        let utility =
            merged(self.utility.iter().map(|a| Prefix::host(*a)).chain(self.settings.utility_addresses.clone()));
        let ssh: Vec<Prefix> = match self.settings.ssh {
            Ssh::Keep => self.ssh.iter().take(FIREWALL_SSH_SOURCES_MAX).map(|a| Prefix::host(*a)).collect(),
            Ssh::Lan => vec![],
        };
        BTreeMap::from([
            (Set::Lan, names(&self.shape.lan)),
            (Set::Inside, names(&self.shape.inside())),
            (Set::Wan, names(&self.shape.wan)),
            (Set::Lan4, of_family(lan, true)),
            (Set::Lan6, of_family(lan, false)),
            (Set::Utility4, of_family(&utility, true)),
            (Set::Utility6, of_family(&utility, false)),
            (Set::Ssh4, of_family(&ssh, true)),
            (Set::Ssh6, of_family(&ssh, false)),
            (Set::Http, self.http_port.iter().map(|port| json!(port)).collect()),
            (Set::Appliances, self.appliances.iter().map(|mac| json!(mac.to_string())).collect()),
        ])
    }

    fn rules(&self, features: &BTreeSet<Feature>) -> Vec<Value> {
        let mut rules = Rules { commands: Vec::new(), features };
        let (router, s) = (self.shape.router, &self.settings);
        let closed = self.closes_wan();
        rules.base("input", "filter", "input", PRIORITY, if router { "drop" } else { "accept" });
        for flood in ["flood_ssdp", "flood_connections", "flood_subscribe", "flood_sealed"] {
            rules.chain(flood);
            rules.refuse(flood, &[], flood, flood);
        }
        rules.chain("ssdp");
        rules.chain("http");
        if self.sealed_port.is_some() {
            rules.chain("sealed");
        }
        if closed {
            rules.chain("wan_side");
        }
        rules.input(router, closed, self.sealed_port, s);
        rules.ssdp();
        rules.http();
        if self.sealed_port.is_some() {
            rules.sealed(!s.utility_addresses.is_empty());
        }
        if closed {
            rules.wan_side(self);
        }
        if router {
            if s.lan_input == LanInput::Closed {
                rules.lan_side(self);
            }
            rules.forward();
            if s.masquerade && features.contains(&Feature::Masquerade) {
                rules.masquerade();
            }
        }
        rules.commands
    }
}

/// A transaction that takes the table away, whether it is there or not.
pub fn removal() -> String {
    let table = json!({"family": "inet", "name": TABLE});
    transaction(vec![add("table", table.clone()), json!({"delete": {"table": table}})])
}

/// Whether the kernel can do what a feature needs: a transaction to be checked and never carried out.
pub fn probe(feature: Feature) -> String {
    const PROBE: &str = "heg_probe";
    let of = |mut value: Value| {
        if let Some(fields) = value.as_object_mut() {
            fields.insert("family".to_owned(), json!("inet"));
            fields.insert("table".to_owned(), json!(PROBE));
        }
        value
    };
    let expr = match feature {
        Feature::SubscribeMeter => vec![is(payload("tcp", "dport"), json!(80)), starts_with_subscribe()],
        Feature::ConnectionCount => vec![json!({"ct count": {"val": 1, "inv": true}})],
        Feature::Log => vec![json!({"log": {"prefix": "probe"}})],
        Feature::Masquerade => vec![json!({"masquerade": null})],
    };
    let (kind, hook) = if feature == Feature::Masquerade { ("nat", "postrouting") } else { ("filter", "input") };
    transaction(vec![
        add("table", json!({"family": "inet", "name": PROBE})),
        add("chain", of(json!({"name": "c", "type": kind, "hook": hook, "prio": 0, "policy": "accept"}))),
        add("rule", of(json!({"chain": "c", "expr": expr}))),
    ])
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Set {
    Lan,
    Inside,
    Wan,
    Lan4,
    Lan6,
    Utility4,
    Utility6,
    Ssh4,
    Ssh6,
    Http,
    Appliances,
}

impl Set {
    fn name(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::Inside => "inside",
            Self::Wan => "wan",
            Self::Lan4 => "lan4",
            Self::Lan6 => "lan6",
            Self::Utility4 => "utility4",
            Self::Utility6 => "utility6",
            Self::Ssh4 => "ssh4",
            Self::Ssh6 => "ssh6",
            Self::Http => "http_port",
            Self::Appliances => "appliances",
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Lan | Self::Inside | Self::Wan => "ifname",
            Self::Lan4 | Self::Utility4 | Self::Ssh4 => "ipv4_addr",
            Self::Lan6 | Self::Utility6 | Self::Ssh6 => "ipv6_addr",
            Self::Http => "inet_service",
            Self::Appliances => "ether_addr",
        }
    }

    fn flags(self) -> Value {
        match self.kind() {
            "ipv4_addr" | "ipv6_addr" => json!(["interval"]),
            _ => json!([]),
        }
    }

    fn filled(self, elements: Vec<Value>) -> Option<Value> {
        (!elements.is_empty()).then(|| add("element", named(self.name(), json!({"elem": elements}))))
    }
}

/// The rules as they are written down, chain by chain.
struct Rules<'a> {
    commands: Vec<Value>,
    features: &'a BTreeSet<Feature>,
}

impl Rules<'_> {
    fn chain(&mut self, name: &str) {
        self.commands.push(add("chain", named(name, json!({}))));
    }

    fn base(&mut self, name: &str, kind: &str, hook: &str, priority: i32, policy: &str) {
        let fields = json!({"type": kind, "hook": hook, "prio": priority, "policy": policy});
        self.commands.push(add("chain", named(name, fields)));
    }

    fn rule(&mut self, chain: &str, expr: impl IntoIterator<Item = Value>) {
        let expr: Vec<Value> = expr.into_iter().collect();
        let rule = json!({"family": "inet", "table": TABLE, "chain": chain, "expr": expr});
        self.commands.push(add("rule", rule));
    }

    /// Whatever comes here is told at a bounded rate, counted and dropped.
    fn refuse(&mut self, chain: &str, conditions: &[Value], counter: &str, word: &str) {
        if self.features.contains(&Feature::Log) {
            let limit = json!({"limit": {"rate": FIREWALL_LOG_PER_MINUTE, "per": "minute", "burst": 5}});
            let log = json!({"log": {"prefix": format!("heg-firewall {word}: "), "level": "info"}});
            self.rule(chain, conditions.iter().cloned().chain([limit, log]));
        }
        self.rule(chain, conditions.iter().cloned().chain([json!({"counter": counter}), drop()]));
    }

    /// Both families: what matches `conditions` and goes beyond `stmt` for its source goes to the chain `flood`, which tells,
    /// counts and drops.
    fn meter(&mut self, chain: &str, conditions: &[Value], name: &str, stmt: &Value, flood: &str) {
        for (family, digit) in [("ip", '4'), ("ip6", '6')] {
            let source = payload(family, "saddr");
            // A count of open connections forgets by itself.
            let key = match stmt.get("ct count") {
                Some(_) => source,
                None => json!({"elem": {"val": source, "timeout": METER_FORGETS_AFTER_S}}),
            };
            let name = format!("{name}{digit}");
            let meter = json!({"meter": {"name": name, "size": METER_SOURCES_MAX, "key": key, "stmt": stmt}});
            self.rule(chain, conditions.iter().cloned().chain([meter, jump(flood)]));
        }
    }

    fn input(&mut self, router: bool, closed: bool, sealed_port: Option<u16>, s: &Settings) {
        self.rule("input", [is(meta("iifname"), json!("lo")), accept()]);
        // Before anything is let through for being known: floods come over known connections too.
        let multicast = json!({"set": [SSDP_PORT, EVENT_PORT]});
        self.rule("input", [is(payload("udp", "dport"), multicast), jump("ssdp")]);
        self.rule("input", [is(payload("tcp", "dport"), json!("@http_port")), jump("http")]);
        if let Some(port) = sealed_port {
            self.rule("input", [is(payload("tcp", "dport"), json!(port)), jump("sealed")]);
        }
        if closed {
            self.rule("input", [state(json!(["established", "related"])), accept()]);
        }
        if router {
            let inside = is(meta("iifname"), json!("@inside"));
            let then = if s.lan_input == LanInput::Closed { jump("lan_side") } else { accept() };
            if s.lan_input == LanInput::Closed {
                self.chain("lan_side");
            }
            self.rule("input", [inside, then]);
            self.rule("input", [jump("wan_side")]);
        } else if closed {
            self.rule("input", [is(meta("iifname"), json!("@wan")), jump("wan_side")]);
        }
    }

    /// Not from an interface and an address of the home.
    fn refuse_foreign(&mut self, chain: &str) {
        let (counter, word) = ("dropped_foreign", "foreign");
        self.refuse(chain, &[is_not(meta("iifname"), json!("@lan"))], counter, word);
        self.refuse(chain, &[is_not(payload("ip", "saddr"), json!("@lan4"))], counter, word);
        let link_local = json!({"prefix": {"addr": "fe80::", "len": 10}});
        let source = payload("ip6", "saddr");
        self.refuse(chain, &[is_not(source.clone(), link_local), is_not(source, json!("@lan6"))], counter, word);
    }

    /// Discovery and multicast events.
    fn ssdp(&mut self) {
        self.refuse_foreign("ssdp");
        self.meter("ssdp", &[], "ssdp", &beyond(SSDP_PER_SOURCE_RATE, "second", SSDP_PER_SOURCE_BURST), "flood_ssdp");
        // Known appliances have their own budget alone; whoever makes up sources shares one with all other strangers.
        self.rule("ssdp", [is(payload("ether", "saddr"), json!("@appliances")), accept()]);
        let strangers = beyond(SSDP_STRANGERS_RATE, "second", SSDP_STRANGERS_BURST);
        self.rule("ssdp", [strangers, jump("flood_ssdp")]);
        self.rule("ssdp", [accept()]);
    }

    /// Description, SOAP, GENA and the page.
    fn http(&mut self) {
        self.refuse_foreign("http");
        let new = [state(json!("new"))];
        let rate = beyond(CONNECTIONS_PER_SOURCE_RATE, "second", CONNECTIONS_PER_SOURCE_BURST);
        self.meter("http", &new, "connections", &rate, "flood_connections");
        if self.features.contains(&Feature::ConnectionCount) {
            let many = json!({"ct count": {"val": CONNECTIONS_PER_SOURCE_MAX, "inv": true}});
            self.meter("http", &new, "open", &many, "flood_connections");
        }
        if self.features.contains(&Feature::SubscribeMeter) {
            let rate = beyond(SUBSCRIBE_PER_SOURCE_RATE, "second", SUBSCRIBE_PER_SOURCE_BURST);
            // The port once more: only then is it known that a TCP header is there to be looked behind.
            let subscribe = [is(payload("tcp", "dport"), json!("@http_port")), starts_with_subscribe()];
            self.meter("http", &subscribe, "subscribe", &rate, "flood_subscribe");
        }
        self.rule("http", [accept()]);
    }

    /// The endpoint for the utility's calls. `named`: only those that the settings name may use it.
    fn sealed(&mut self, named: bool) {
        let chain = "sealed";
        let rate = beyond(SEALED_PER_SOURCE_PER_MINUTE, "minute", SEALED_PER_SOURCE_BURST);
        self.meter(chain, &[state(json!("new"))], "sealed", &rate, "flood_sealed");
        self.rule(chain, [is(payload("ip", "saddr"), json!("@utility4")), accept()]);
        self.rule(chain, [is(payload("ip6", "saddr"), json!("@utility6")), accept()]);
        if named {
            return self.refuse(chain, &[], "dropped_wan", "utility");
        }
        let strangers = beyond(SEALED_STRANGERS_RATE, "second", SEALED_STRANGERS_BURST);
        self.rule(chain, [state(json!("new")), strangers, jump("flood_sealed")]);
        self.rule(chain, [accept()]);
    }

    fn wan_side(&mut self, plan: &Plan) {
        let (chain, s) = ("wan_side", &plan.settings);
        // An offer may come to an address we don't have yet, from a server we never spoke to.
        self.rule(
            chain,
            [
                is(meta("nfproto"), json!("ipv4")),
                is(payload("udp", "sport"), json!(67)),
                is(payload("udp", "dport"), json!(68)),
                accept(),
            ],
        );
        let link_local = is(payload("ip6", "saddr"), json!({"prefix": {"addr": "fe80::", "len": 10}}));
        // From any port: a server need not send from its own (RFC 8415, 7.2).
        self.rule(chain, [link_local, is(payload("udp", "dport"), json!(546)), accept()]);
        let within = json!({"limit": {"rate": ICMP_RATE, "per": "second", "burst": ICMP_RATE}});
        let errors = json!({"set": ["destination-unreachable", "time-exceeded", "parameter-problem"]});
        self.rule(chain, [is(payload("icmp", "type"), errors), within.clone(), accept()]);
        let errors =
            json!({"set": ["destination-unreachable", "packet-too-big", "time-exceeded", "parameter-problem"]});
        self.rule(chain, [is(payload("icmpv6", "type"), errors), within, accept()]);
        // Without these there is no IPv6 at all (RFC 4890, 4.4.1). The kernel takes them from neighbours only.
        let neighbours = json!({"set": [
            "nd-router-advert", "nd-neighbor-solicit", "nd-neighbor-advert", "nd-redirect", "mld-listener-query"
        ]});
        self.rule(chain, [is(payload("icmpv6", "type"), neighbours), accept()]);
        for (protocol, ports) in [("tcp", &s.wan_tcp), ("udp", &s.wan_udp)] {
            if !ports.is_empty() {
                self.rule(chain, [is(payload(protocol, "dport"), among(ports)), accept()]);
            }
        }
        if s.ssh == Ssh::Keep && !plan.ssh_ports.is_empty() {
            let port = is(payload("tcp", "dport"), among(&plan.ssh_ports));
            for (family, set) in [("ip", "@ssh4"), ("ip6", "@ssh6")] {
                self.rule(chain, [port.clone(), is(payload(family, "saddr"), json!(set)), accept()]);
            }
        }
        self.refuse(chain, &[], "dropped_wan", "wan");
    }

    fn lan_side(&mut self, plan: &Plan) {
        let (chain, s) = ("lan_side", &plan.settings);
        let control = json!({"set": ["icmp", "ipv6-icmp", "igmp"]});
        self.rule(chain, [is(meta("l4proto"), control), accept()]);
        // DNS, DHCP, mDNS; and answers to searches, which come from where nothing was sent to.
        self.rule(chain, [is(payload("udp", "dport"), json!({"set": [53, 67, 547, 5353]})), accept()]);
        self.rule(chain, [is(payload("udp", "sport"), json!(SSDP_PORT)), accept()]);
        let tcp: Vec<u16> = [53].iter().chain(&plan.ssh_ports).chain(&s.lan_tcp).copied().collect();
        self.rule(chain, [is(payload("tcp", "dport"), among(&tcp)), accept()]);
        if !s.lan_udp.is_empty() {
            self.rule(chain, [is(payload("udp", "dport"), among(&s.lan_udp)), accept()]);
        }
        self.refuse(chain, &[], "dropped_lan", "lan");
    }

    fn forward(&mut self) {
        self.base("forward", "filter", "forward", PRIORITY, "drop");
        self.rule("forward", [state(json!(["established", "related"])), accept()]);
        self.rule("forward", [is(meta("iifname"), json!("@inside")), accept()]);
        self.refuse("forward", &[], "dropped_forward", "forward");
    }

    fn masquerade(&mut self) {
        self.base("postrouting", "nat", "postrouting", SOURCE_NAT_PRIORITY, "accept");
        let (from, to) = (is(payload("ip", "saddr"), json!("@lan4")), is_not(meta("oifname"), json!("@inside")));
        self.rule("postrouting", [from, to, json!({"masquerade": null})]);
    }
}

fn transaction(commands: Vec<Value>) -> String {
    json!({"nftables": commands}).to_string()
}

fn add(what: &str, fields: Value) -> Value {
    json!({"add": {what: fields}})
}

/// Something of our table, with its name and further fields.
fn named(name: &str, fields: Value) -> Value {
    let mut all = json!({"family": "inet", "table": TABLE, "name": name});
    if let (Some(all), Value::Object(fields)) = (all.as_object_mut(), fields) {
        all.extend(fields);
    }
    all
}

fn element(p: Prefix) -> Value {
    let address = p.address().to_string();
    if p == Prefix::host(p.address()) { json!(address) } else { json!({"prefix": {"addr": address, "len": p.bits()}}) }
}

fn among<'a>(ports: impl IntoIterator<Item = &'a u16>) -> Value {
    let ports: BTreeSet<u16> = ports.into_iter().copied().collect();
    json!({"set": ports})
}

fn payload(protocol: &str, field: &str) -> Value {
    json!({"payload": {"protocol": protocol, "field": field}})
}

fn meta(key: &str) -> Value {
    json!({"meta": {"key": key}})
}

fn is(left: Value, right: Value) -> Value {
    json!({"match": {"op": "==", "left": left, "right": right}})
}

fn is_not(left: Value, right: Value) -> Value {
    json!({"match": {"op": "!=", "left": left, "right": right}})
}

fn state(states: Value) -> Value {
    json!({"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": states}})
}

/// What a TCP segment carries begins with the method SUBSCRIBE. One that was cut into pieces on purpose escapes; what it asks
/// for is bounded by the device itself.
fn starts_with_subscribe() -> Value {
    const METHOD: &[u8] = b"SUBSCRIBE";
    let digits: String = METHOD.iter().map(|b| format!("{b:02x}")).collect();
    let first = json!({"payload": {"base": "ih", "offset": 0, "len": METHOD.len() * 8}});
    is(first, json!(format!("0x{digits}")))
}

fn beyond(rate: u32, per: &str, burst: u32) -> Value {
    json!({"limit": {"rate": rate, "per": per, "burst": burst, "inv": true}})
}

fn jump(chain: &str) -> Value {
    json!({"jump": {"target": chain}})
}

fn accept() -> Value {
    json!({"accept": null})
}

fn drop() -> Value {
    json!({"drop": null})
}

#[cfg(test)]
mod tests;
