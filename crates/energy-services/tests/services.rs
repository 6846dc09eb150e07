//! Every service as a whole: the paper's tables, round trips of every action, wrong arguments, events.

use std::fmt::Debug;

use energy_model::{
    CallerAddress, CallerId, Flexibility, Importance, PowerState, RefusalKind, RegId, TimeOfDay, WakeMethod, WattHours,
    Watts,
};
use energy_services::appliance_info::{self as info, LastRefusal};
use energy_services::low_power_device::{self as low_power, PowerSource, SleepPeriod, SleepState};
use energy_services::{Action, DecodeError, Refusal, Reply, energy_gateway as gateway, power_management as power};
use upnp::error::ErrorCode;
use upnp::service::{ActionDecl, Allowed, ArgumentDecl, DataType, Direction, Eventing, ServiceDecl, VariableDecl};

const ALL: [&ServiceDecl; 4] =
    [&power::DECLARATION, &gateway::DECLARATION, &info::DECLARATION, &low_power::DECLARATION];

/// The rows of a service's table, each as `Action: IN A B OUT C`.
fn rows(service: &ServiceDecl) -> Vec<String> {
    let names = |action: &ActionDecl, direction| {
        let of_direction = action.arguments.iter().filter(|a| a.direction == direction);
        of_direction.map(|a| format!(" {}", a.name)).collect::<String>()
    };
    let row = |a: &ActionDecl| format!("{}: IN{} OUT{}", a.name, names(a, Direction::In), names(a, Direction::Out));
    service.actions.iter().map(row).collect()
}

#[test]
fn table_i_is_as_in_the_paper() {
    assert_eq!(power::DECLARATION.service_type, "urn:heg-energy-org:service:PowerManagement:1");
    assert_eq!(
        rows(&power::DECLARATION),
        [
            "GetPowerState: IN UUID Address OUT PowerState RegID",
            "WakeUpMethod: IN UUID Address OUT WakeMethod RegID",
            "OperationOn: IN UUID Address OUT RegID",
            "OperationOff: IN UUID Address OUT RegID",
            "GoToStandby: IN UUID Address OUT RegID",
            "StandbyPeriod: IN UUID Address StartTime StopTime OUT RegID",
            "Withdraw: IN UUID Address RegID OUT",
        ]
    );
    let state = power::DECLARATION.variable("PowerState").unwrap();
    assert_eq!(state.eventing, Eventing::Multicast);
    assert!(matches!(state.allowed, Allowed::List(["ON", "OFF", "Standby"])));
    let wake = power::DECLARATION.variable("A_ARG_TYPE_WakeMethod").unwrap();
    assert!(matches!(wake.allowed, Allowed::List(["WOL", "WoWLAN", "None"])));
}

#[test]
fn table_ii_is_as_in_the_paper() {
    assert_eq!(gateway::DECLARATION.service_type, "urn:heg-energy-org:service:EnergyGateway:1");
    assert_eq!(
        rows(&gateway::DECLARATION),
        [
            "WakeUpTime: IN UUID Address Time OUT RegID",
            "NoStandbyPeriod: IN UUID Address StartTime StopTime OUT RegID",
            "Withdraw: IN UUID Address RegID OUT",
        ]
    );
    for service in [&power::DECLARATION, &gateway::DECLARATION] {
        assert_eq!(service.variable("A_ARG_TYPE_RegID").unwrap().data_type, DataType::Ui4);
        assert_eq!(service.variable("A_ARG_TYPE_Time").unwrap().data_type, DataType::Time);
    }
}

#[test]
fn low_power_device_is_as_other_implementations_have_it() {
    assert_eq!(low_power::DECLARATION.service_type, "urn:schemas-upnp-org:service:LowPowerDevice:1");
    assert_eq!(
        rows(&low_power::DECLARATION),
        [
            "GetPowerManagementInfo: IN OUT WakeupMethod PowerSupplyStatus",
            "GoToSleep: IN RecommendedSleepPeriod RecommendedPowerState OUT SleepPeriod PowerState",
            "Wakeup: IN OUT",
        ]
    );
    let evented = |v: &&VariableDecl| v.eventing != Eventing::No;
    let names: Vec<_> = low_power::DECLARATION.variables.iter().filter(evented).map(|v| v.name).collect();
    assert_eq!(names, ["ExternalPowerSupplySource", "BatteryLow"]);
}

#[test]
fn every_declaration_is_sound() {
    for service in ALL {
        for action in service.actions {
            let directions: Vec<_> = action.arguments.iter().map(|a| a.direction).collect();
            assert!(directions.is_sorted_by_key(|d| *d == Direction::Out), "{}: IN after OUT", action.name);
            for argument in action.arguments {
                assert!(service.variable(argument.variable).is_some(), "{}: no {}", action.name, argument.variable);
            }
        }
        for (i, variable) in service.variables.iter().enumerate() {
            let uses = |a: &ArgumentDecl| a.variable == variable.name;
            let used = service.actions.iter().any(|a| a.arguments.iter().any(uses));
            assert!(used || variable.eventing != Eventing::No, "{} is of no use", variable.name);
            assert!(service.variables[..i].iter().all(|v| v.name != variable.name), "{} twice", variable.name);
        }
    }
    assert_eq!(power::service_type().to_string(), power::DECLARATION.service_type);
}

/// Request to the wire, by dispatch to the device, its reply to the wire and back; names and order as declared.
fn round_trip<A>(
    request: A,
    call: impl Fn(A) -> String,
    dispatch: impl Fn(&str, &[(String, String)]) -> String,
    reply: A::Reply,
) where
    A: Action + Clone + Debug + PartialEq,
    A::Reply: Clone + Debug + PartialEq,
{
    let declared = A::service().action(A::NAME).expect("declared");
    let names = |direction| {
        let of_direction = declared.arguments.iter().filter(move |a| a.direction == direction);
        of_direction.map(|a| a.name).collect::<Vec<_>>()
    };
    let mut sent = request.arguments();
    assert_eq!(sent.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), names(Direction::In));
    assert_eq!(A::decode(&sent).as_ref(), Ok(&request));
    sent.reverse();
    assert_eq!(dispatch(A::NAME, &sent), call(request), "by dispatch, in any order");
    for missing in 0..sent.len() {
        let mut fewer = sent.clone();
        fewer.remove(missing);
        assert_eq!(A::decode(&fewer).expect_err("one is missing").code, ErrorCode::INVALID_ARGS);
    }
    let returned = reply.clone().into_arguments();
    assert_eq!(returned.iter().map(|(name, _)| *name).collect::<Vec<_>>(), names(Direction::Out));
    let mut received: Vec<_> = returned.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    received.push(("Vendor".to_owned(), "extra".to_owned()));
    received.reverse();
    assert_eq!(A::decode_reply(&received), Ok(reply));
}

/// `round_trip` for every action of a module, with the module's own `Call`.
macro_rules! round_trips {
    ($service:ident: $($action:ident { $($request:tt)* } -> $reply:ident { $($result:tt)* };)*) => {{
        $(round_trip(
            $service::$action { $($request)* },
            |request| format!("{:?}", $service::Call::$action(request)),
            |action, arguments| {
                let call = $service::Call::decode(action, arguments).unwrap();
                assert_eq!(call.action(), action);
                format!("{call:?}")
            },
            $service::$reply { $($result)* },
        );)*
        let unknown = $service::Call::decode("Nonsense", &[]).unwrap_err();
        assert_eq!(unknown.code, ErrorCode::INVALID_ACTION);
        assert_eq!([$(stringify!($action)),*].len(), $service::DECLARATION.actions.len(), "every action is tried");
    }};
}

#[test]
fn every_action_survives_the_way_there_and_back() {
    let uuid: CallerId = "2fac1234-31f8-11b4-a222-08002b34c003".parse().unwrap();
    let address: CallerAddress = "192.0.2.7".parse().unwrap();
    let (u, a) = (|| uuid.clone(), || address.clone());
    let time = |s: &str| s.parse::<TimeOfDay>().unwrap();
    let reg_id = RegId::new(u32::MAX).unwrap();
    round_trips! { power:
        GetPowerState { uuid: u(), address: a() } -> GetPowerStateReply { power_state: PowerState::Standby, reg_id };
        WakeUpMethod { uuid: u(), address: a() } -> WakeUpMethodReply { wake_method: WakeMethod::WoWlan, reg_id };
        OperationOn { uuid: u(), address: a() } -> OperationOnReply { reg_id };
        OperationOff { uuid: u(), address: a() } -> OperationOffReply { reg_id };
        GoToStandby { uuid: u(), address: a() } -> GoToStandbyReply { reg_id };
        StandbyPeriod { uuid: u(), address: a(), start_time: time("22:00:00"), stop_time: time("06:00:00") }
            -> StandbyPeriodReply { reg_id };
        Withdraw { uuid: u(), address: a(), reg_id } -> WithdrawReply {};
    }
    round_trips! { gateway:
        WakeUpTime { uuid: u(), address: a(), time: time("06:30:00") } -> WakeUpTimeReply { reg_id };
        NoStandbyPeriod { uuid: u(), address: a(), start_time: time("18:00:00"), stop_time: time("20:00:00") }
            -> NoStandbyPeriodReply { reg_id };
        Withdraw { uuid: u(), address: a(), reg_id } -> WithdrawReply {};
    }
    round_trips! { info:
        GetApplianceInfo {} -> GetApplianceInfoReply {
            rated_power: Watts::new(2000),
            importance: Importance::High,
            flexibility: Flexibility::Deferrable,
            mac_address: Some("52:54:00:12:34:56".parse().unwrap()),
            minimum_on_time_s: 600,
            minimum_off_time_s: 0,
            wake_method: WakeMethod::Wol,
        };
        GetPowerUsage {} -> GetPowerUsageReply { power: Watts::new(1984), energy: WattHours::new(12) };
        GetLastRefusal {} -> GetLastRefusalReply {
            refusal_code: 806,
            refusal_reason: "backup.service is running".to_owned(),
            refused_action: "GoToStandby".to_owned(),
            refused_at: "2026-05-01T07:00:00Z".to_owned(),
        };
    }
    round_trips! { low_power:
        GetPowerManagementInfo {} -> GetPowerManagementInfoReply {
            wakeup_method: "WOL".to_owned(),
            power_supply_status: "mains".to_owned(),
        };
        GoToSleep {
            recommended_sleep_period: SleepPeriod::Infinite,
            recommended_power_state: SleepState::DeepSleepOnline,
        } -> GoToSleepReply { sleep_period: SleepPeriod::Seconds(60), power_state: SleepState::TransparentSleep };
        Wakeup {} -> WakeupReply {};
    }
}

#[test]
fn a_wrong_argument_is_answered_with_the_standards_code() {
    let with = |name: &str, value: &str| {
        let good = [("UUID", "7"), ("Address", "h"), ("StartTime", "22:00:00"), ("StopTime", "06:00:00")];
        let pick = |(n, v): (&str, &str)| (n.to_owned(), if n == name { value.to_owned() } else { v.to_owned() });
        power::Call::decode("StandbyPeriod", &good.map(pick))
    };
    assert!(with("", "").is_ok());
    for (name, value, code) in [
        ("StartTime", "ten", ErrorCode::ARGUMENT_VALUE_INVALID),
        ("StartTime", "24:00:00", ErrorCode::ARGUMENT_VALUE_OUT_OF_RANGE),
        ("UUID", "", ErrorCode::ARGUMENT_VALUE_INVALID),
        ("UUID", &"x".repeat(1000), ErrorCode::STRING_ARGUMENT_TOO_LONG),
    ] {
        let error = with(name, value).unwrap_err();
        assert_eq!(error.code, code, "{name}={value:.20}");
        assert!(error.description.starts_with(name), "{error}");
    }
    let no_reg_id = [("UUID", "7"), ("Address", "h"), ("RegID", "0")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    let error = gateway::Call::decode("Withdraw", &no_reg_id).unwrap_err();
    assert_eq!(error.code, ErrorCode::ARGUMENT_VALUE_OUT_OF_RANGE);
}

#[test]
fn a_window_needs_two_times() {
    let request = |start: &str, stop: &str| gateway::NoStandbyPeriod {
        uuid: "7".parse().unwrap(),
        address: "h".parse().unwrap(),
        start_time: start.parse().unwrap(),
        stop_time: stop.parse().unwrap(),
    };
    assert!(request("22:00:00", "06:00:00").window().is_ok_and(|window| window.crosses_midnight()));
    let error = request("22:00:00", "22:00:00").window().unwrap_err();
    assert_eq!(error.code, ErrorCode::ARGUMENT_VALUE_INVALID);
    assert_eq!(error.description, "StopTime: a daily window needs an end other than its start");
}

#[test]
fn events_read_back_as_published_and_unknown_variables_are_overlooked() {
    let refusal = Refusal::new(RefusalKind::ActiveSession, "anna is at work");
    for event in [
        info::Event::Power(Watts::new(55)),
        info::Event::LastRefusal(None),
        info::Event::LastRefusal(Some(LastRefusal { action: "GoToStandby".to_owned(), refusal })),
    ] {
        let (name, value) = event.change();
        assert!(info::DECLARATION.variable(name).is_some_and(|v| v.eventing == Eventing::Unicast));
        assert_eq!(info::Event::decode(name, &value), Ok(Some(event)));
    }
    let (name, value) = power::Event::PowerState(PowerState::Off).change();
    assert_eq!((name, value.as_str()), ("PowerState", "OFF"));
    assert!(matches!(power::Event::decode(name, "Asleep"), Err(DecodeError::Value { name: "PowerState", .. })));
    assert_eq!(power::Event::decode("Vendor", "x"), Ok(None));
    assert_eq!(low_power::Event::ExternalPowerSupplySource(PowerSource::Mains).change().1, "1");
    assert_eq!(gateway::Event::decode("Any", "x"), Ok(None));
    let moderated = info::DECLARATION.variable("Power").unwrap();
    assert_eq!(moderated.max_rate, Some(energy_services::limits::POWER_EVENT_INTERVAL));
}
