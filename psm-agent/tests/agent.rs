//! The agent without IO, step by step: what goes out, in which order, for each thing that comes in.

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use energy_model::{PowerState, RefusalKind};
    use energy_services::power_management;
    use http::{Response, StatusCode};
    use jiff::tz::TimeZone;
    use psm_agent::agent::{Agent, Effect, RequestNumber, Wake};
    use psm_agent::commands::{Circumstances, CommandId};
    use psm_agent::config::{Config, DriverKind};
    use psm_agent::device::Identity;
    use psm_agent::limits::{ANNOUNCEMENT_WITHIN, LAST_EVENT_WITHIN, SLEEP_DOUBTED_EVERY};
    use psm_agent::safety::{Inhibitor, Order, Supply};
    use psm_agent::schedule::Wall;
    use psm_agent::state::{Fact, Observation, Operation, Source};
    use psm_agent::store::Saved;
    use upnp::net::{HttpAnswer, HttpRequest, IncomingRequest, Interface, InterfaceAddress, InterfaceId};
    use upnp::soap::{self, SoapError};
    use upnp::time::BootTime;

    const GATEWAY: &str = "0d4ee4b2-8d1f-4d9b-9c34-1a2b3c4d5e6f";
    const OTHER: &str = "11111111-2222-4333-8444-555555555555";
    const NOON: &str = "2026-06-01T12:00:00Z";

    struct Fixture {
        agent: Agent,
        now: BootTime,
        next: u64,
        disk_full: bool,
        /// All effects but those to the network, in order.
        seen: Vec<Effect>,
        notifies: Vec<HttpRequest>,
    }

    /// Of an appliance whose work is a unit, if it says nothing else.
    fn config(text: &str) -> Config {
        let mut config: Config = daemon_kit::config::parse(text, std::path::Path::new("test.toml")).unwrap();
        config.operation.driver.get_or_insert(DriverKind::Unit);
        config
    }

    impl Fixture {
        fn new(text: &str) -> Self {
            Self::with(text, Saved::default(), Operation::Off, NOON)
        }

        fn with(text: &str, saved: Saved, operation: Operation, wall: &str) -> Self {
            let identity = Identity {
                uuid: "9a8b7c6d-0000-4000-8000-000000000001".into(),
                boot_id: 7,
                http_port: 49200,
                host_name: "pump".into(),
                system: "Linux/6.1".into(),
                seed: 1,
            };
            let now = BootTime::from_duration(Duration::from_secs(1000));
            let wall = Wall { at: wall.parse().unwrap(), zone: TimeZone::UTC };
            let agent = Agent::new(&config(text), &identity, saved, operation, wall, now).unwrap();
            let mut f = Self { agent, now, next: 0, disk_full: false, seen: vec![], notifies: vec![] };
            f.agent.handle_wake(Wake { alarm: true, ..Wake::default() });
            let addresses = vec![InterfaceAddress { address: [192, 0, 2, 7].into(), prefix_len: 24 }];
            f.agent.handle_interfaces(&[Interface { id: InterfaceId(2), name: "eth0".into(), addresses }], now);
            f.pump();
            f.seen.clear();
            f
        }

        fn pump(&mut self) {
            while let Some(effect) = self.agent.poll_effect() {
                match effect {
                    Effect::Net(upnp::Effect::Request(request)) if request.request.method() == "NOTIFY" => {
                        self.notifies.push(request);
                    }
                    Effect::Net(_) | Effect::Read | Effect::LookAtLinks | Effect::Look => {}
                    Effect::Store => {
                        self.seen.push(Effect::Store);
                        let result = if self.disk_full { Err("no space left on device") } else { Ok(()) };
                        self.agent.handle_stored(result, self.now);
                    }
                    effect => self.seen.push(effect),
                }
            }
        }

        fn request(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: Bytes) -> RequestNumber {
            let mut request = http::Request::builder().method(method).uri(path).header("HOST", "192.0.2.7:49200");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let number = RequestNumber(self.next);
            self.next += 1;
            let request = IncomingRequest {
                peer: "192.0.2.1:40000".parse().unwrap(),
                local: "192.0.2.7:49200".parse().unwrap(),
                request: request.body(body).unwrap(),
            };
            self.agent.handle_request(&request, number, self.now);
            self.pump();
            number
        }

        fn call(&mut self, caller: &str, action: &str, further: &[(&str, &str)]) -> RequestNumber {
            let service = power_management::DECLARATION.service_type;
            let mut arguments =
                vec![("UUID".to_owned(), caller.to_owned()), ("Address".to_owned(), "192.0.2.1".to_owned())];
            arguments.extend(further.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
            let soap_action = format!("\"{service}#{action}\"");
            let headers = [("SOAPACTION", soap_action.as_str()), ("CONTENT-TYPE", "text/xml; charset=\"utf-8\"")];
            self.request("POST", "/PowerManagement/control", &headers, soap::write_request(service, action, &arguments))
        }

        fn response(&mut self, number: RequestNumber) -> Option<Response<Bytes>> {
            let place = self.seen.iter().position(|e| matches!(e, Effect::Answer(n, _) if *n == number))?;
            match self.seen.remove(place) {
                Effect::Answer(_, response) => Some(response),
                _ => None,
            }
        }

        /// The answer to a call, if it is there.
        fn answer(&mut self, number: RequestNumber, action: &str) -> Option<Result<Vec<(String, String)>, SoapError>> {
            self.response(number).map(|r| soap::parse_response(r.status(), r.body(), action))
        }

        fn reg_id(&mut self, number: RequestNumber, action: &str) -> String {
            let out = self.answer(number, action).expect("an answer").expect("a success");
            out.into_iter().find(|(name, _)| name == "RegID").expect("a RegID").1
        }

        fn refusal(&mut self, number: RequestNumber, action: &str) -> (u16, String) {
            match self.answer(number, action) {
                Some(Err(SoapError::Fault(fault))) => (fault.code.0, fault.description),
                other => panic!("expected a refusal: {other:?}"),
            }
        }

        fn gathered(&mut self) -> (CommandId, Order) {
            let place = self.seen.iter().position(|e| matches!(e, Effect::Gather(..))).expect("facts are asked for");
            match self.seen.remove(place) {
                Effect::Gather(id, order) => (id, order),
                other => panic!("{other:?}"),
            }
        }

        fn circumstances(&mut self, id: CommandId, circumstances: Circumstances) {
            self.agent.handle_circumstances(id, circumstances, self.now);
            self.pump();
        }

        fn fact(&mut self, what: Observation) {
            self.agent.handle_fact(Fact::new(self.now, Source::Logind, what), self.now);
            self.pump();
        }

        fn pass(&mut self, time: Duration) {
            let end = self.now + time;
            while let Some(due) = self.agent.poll_timeout().filter(|due| *due <= end) {
                self.now = self.now.max(due);
                self.agent.handle_timeout(self.now);
                self.pump();
            }
            self.now = end;
        }

        fn has(&self, wanted: impl Fn(&Effect) -> bool) -> bool {
            self.seen.iter().any(wanted)
        }

        fn lets_go(&self) -> bool {
            self.has(|e| matches!(e, Effect::ReleaseDelayLock))
        }

        fn state(&self) -> PowerState {
            self.agent.status().power_state
        }

        /// Subscribes and answers the initial event; from then on NOTIFYs wait in `notifies`.
        fn subscribe(&mut self) {
            let headers = [("CALLBACK", "<http://192.0.2.1:5000/x>"), ("NT", "upnp:event"), ("TIMEOUT", "Second-1800")];
            let number = self.request("SUBSCRIBE", "/PowerManagement/event", &headers, Bytes::new());
            assert_eq!(self.response(number).map(|r| r.status()), Some(StatusCode::OK));
            self.deliver();
            self.seen.clear();
        }

        /// Answers every NOTIFY that is out; their bodies.
        fn deliver(&mut self) -> Vec<String> {
            let mut bodies = Vec::new();
            while !self.notifies.is_empty() {
                for request in std::mem::take(&mut self.notifies) {
                    bodies.push(String::from_utf8(request.request.body().to_vec()).unwrap());
                    let result = Ok(Response::new(Bytes::new()));
                    self.agent.handle_answer(HttpAnswer { id: request.id, result }, self.now);
                }
                self.pump();
            }
            bodies
        }
    }

    fn quiet() -> Circumstances {
        Circumstances {
            inhibitors: Ok(vec![]),
            sessions: Ok(vec![]),
            busy: Ok(vec![]),
            possible: Ok("yes".into()),
            supply: Supply::default(),
        }
    }

    #[test]
    fn go_to_standby_is_answered_with_its_number_before_the_machine_is_suspended() {
        let mut f = Fixture::new("");
        let number = f.call(GATEWAY, "GoToStandby", &[]);
        let (id, order) = f.gathered();
        assert_eq!(order, Order::Standby);
        f.circumstances(id, quiet());
        let name = |e: &Effect| match e {
            Effect::Store => "store",
            Effect::Answer(..) => "answer",
            Effect::Suspend(_) => "suspend",
            _ => "other",
        };
        let order: Vec<_> = f.seen.iter().map(name).collect();
        assert_eq!(order, ["store", "answer", "suspend"], "the number is on disk before it is told");
        assert_eq!(f.reg_id(number, "GoToStandby"), "1");
    }

    #[test]
    fn the_delay_lock_is_released_when_the_last_event_is_delivered_and_not_before() {
        let mut f = Fixture::new("");
        f.subscribe();
        f.fact(Observation::SleepBegins);
        assert!(!f.lets_go(), "nobody has heard yet");
        let bodies = f.deliver();
        assert!(bodies.iter().any(|b| b.contains("<PowerState>Standby</PowerState>")), "{bodies:?}");
        assert!(f.lets_go());
    }

    #[test]
    fn a_subscriber_that_does_not_answer_holds_the_machine_up_only_so_long() {
        let mut f = Fixture::new("");
        f.subscribe();
        f.fact(Observation::SleepBegins);
        f.pass(LAST_EVENT_WITHIN - Duration::from_millis(1));
        assert!(!f.lets_go());
        f.pass(Duration::from_millis(2));
        assert!(f.lets_go());
    }

    #[test]
    fn after_sleep_the_lock_is_taken_again_under_a_new_boot_id_and_the_operation_decides_the_state() {
        let mut f = Fixture::new("");
        f.subscribe();
        let boot_id = f.agent.boot_id();
        f.fact(Observation::SleepBegins);
        f.deliver();
        f.seen.clear();
        f.now = f.now + Duration::from_secs(3600);
        f.fact(Observation::SleepEnds);
        assert!(f.agent.boot_id() > boot_id);
        assert_eq!(f.state(), PowerState::Off);
        assert!(f.has(|e| matches!(e, Effect::TakeDelayLock)) && f.has(|e| matches!(e, Effect::ClearAlarm)));
    }

    #[test]
    fn a_lost_end_of_sleep_is_asked_for() {
        let mut f = Fixture::new("");
        f.fact(Observation::SleepBegins);
        f.seen.clear();
        f.pass(SLEEP_DOUBTED_EVERY);
        assert!(f.has(|e| matches!(e, Effect::AskWhetherAsleep)));
    }

    #[test]
    fn links_that_change_in_a_sleep_that_logind_told_of_raise_the_question_at_once() {
        let mut f = Fixture::new("");
        f.agent.handle_links_changed();
        f.fact(Observation::SleepBegins);
        f.seen.clear();
        f.agent.handle_links_changed();
        f.pump();
        assert!(f.has(|e| matches!(e, Effect::AskWhetherAsleep)));
        f.seen.clear();
        f.agent.handle_fact(Fact::new(f.now, Source::Kernel, Observation::SleepBegins), f.now);
        f.agent.handle_links_changed();
        f.pump();
        assert!(!f.has(|e| matches!(e, Effect::AskWhetherAsleep)), "the kernel will say when it is over");
    }

    #[test]
    fn a_sleep_of_the_kernels_that_never_comes_is_over_when_it_is_doubted() {
        let mut f = Fixture::new("");
        f.subscribe();
        // A suspend that fails before anything is frozen, as one that comes during another, has no end.
        f.agent.handle_fact(Fact::new(f.now, Source::Kernel, Observation::SleepBegins), f.now);
        f.pump();
        f.deliver();
        assert_eq!(f.state(), PowerState::Standby);
        f.pass(SLEEP_DOUBTED_EVERY);
        assert_eq!(f.state(), PowerState::Off);
        assert!(f.deliver().iter().any(|b| b.contains("<PowerState>OFF</PowerState>")));
        assert!(!f.has(|e| matches!(e, Effect::AskWhetherAsleep)), "logind knows nothing of it");
    }

    #[test]
    fn the_last_event_goes_out_before_anything_is_written_or_set() {
        let mut f = Fixture::new("");
        f.subscribe();
        f.agent.handle_fact(Fact::new(f.now, Source::Kernel, Observation::SleepBegins), f.now);
        let order: Vec<_> = std::iter::from_fn(|| f.agent.poll_effect())
            .map(|effect| match effect {
                Effect::Net(upnp::Effect::Request(r)) if r.request.method() == "NOTIFY" => "event",
                Effect::Net(upnp::Effect::Send(_)) => "multicast event",
                Effect::Net(_) => "other",
                Effect::Store => "store",
                _ => "rest",
            })
            .filter(|what| *what != "other")
            .collect();
        let store = order.iter().position(|what| *what == "store").expect("the state is written");
        let told: Vec<_> = order[..store].to_vec();
        assert!(told.contains(&"event") && told.contains(&"multicast event") && !told.contains(&"rest"), "{order:?}");
        assert!(!order[store..].iter().any(|what| what.contains("event")), "{order:?}");
    }

    #[test]
    fn a_refusal_carries_its_code_and_reason_and_is_kept() {
        let mut f = Fixture::new("");
        let number = f.call(GATEWAY, "GoToStandby", &[]);
        let (id, _) = f.gathered();
        let lock =
            Inhibitor { what: "sleep".into(), who: "backup".into(), why: "nightly".into(), mode: "block".into() };
        f.circumstances(id, Circumstances { inhibitors: Ok(vec![lock]), ..quiet() });
        assert_eq!(f.refusal(number, "GoToStandby"), (801, "backup holds a lock: nightly".into()));
        assert!(!f.has(|e| matches!(e, Effect::Suspend(_))));
        let status = f.agent.status();
        let last = status.refusals.last().unwrap();
        assert_eq!((last.kind, last.action.as_str()), (RefusalKind::BlockInhibitor, "GoToStandby"));
        assert_eq!(last.by, format!("command of {GATEWAY}"));
    }

    #[test]
    fn a_refusal_is_evented_with_code_action_and_reason() {
        let mut f = Fixture::new("");
        let headers = [("CALLBACK", "<http://192.0.2.1:5000/x>"), ("NT", "upnp:event"), ("TIMEOUT", "Second-1800")];
        f.request("SUBSCRIBE", "/ApplianceInfo/event", &headers, Bytes::new());
        f.deliver();
        f.call(GATEWAY, "GoToStandby", &[]);
        let (id, _) = f.gathered();
        f.circumstances(id, Circumstances { possible: Err("no system bus".into()), ..quiet() });
        let bodies = f.deliver();
        let wanted = "<LastRefusal>809 GoToStandby cannot suspend without logind: no system bus</LastRefusal>";
        assert!(bodies.iter().any(|b| b.contains(wanted)), "{bodies:?}");
    }

    #[test]
    fn an_order_that_is_fulfilled_already_succeeds_at_once() {
        let mut f = Fixture::with("safety.minimum-on-time-s = 3600", Saved::default(), Operation::On, NOON);
        let number = f.call(GATEWAY, "OperationOn", &[]);
        let first = f.reg_id(number, "OperationOn");
        let number = f.call(GATEWAY, "OperationOn", &[]);
        assert_eq!(f.reg_id(number, "OperationOn"), first, "and keeps its number");
    }

    #[test]
    fn an_operation_is_switched_and_its_new_state_told_with_who_asked() {
        let mut f = Fixture::new("");
        f.subscribe();
        let number = f.call(GATEWAY, "OperationOn", &[]);
        let (id, _) = f.gathered();
        f.circumstances(id, quiet());
        assert!(f.has(|e| matches!(e, Effect::Switch(_, true))));
        assert!(f.answer(number, "OperationOn").is_none(), "not before it runs");
        f.agent.handle_switched(id, Ok(Operation::On), f.now);
        f.pump();
        assert_eq!(f.state(), PowerState::On);
        assert!(f.deliver().iter().any(|b| b.contains("<PowerState>ON</PowerState>")));
        f.reg_id(number, "OperationOn");
        let cause = f.agent.status().events.last().unwrap().cause.clone();
        assert!(cause.starts_with("command of"), "{cause}");
    }

    #[test]
    fn a_driver_that_fails_is_a_refusal_with_its_words() {
        let mut f = Fixture::new("");
        let number = f.call(GATEWAY, "OperationOn", &[]);
        let (id, _) = f.gathered();
        f.circumstances(id, quiet());
        f.agent.handle_switched(id, Err("appliance.target is failed".into()), f.now);
        f.pump();
        assert_eq!(f.refusal(number, "OperationOn"), (800, "appliance.target is failed".into()));
        assert_eq!(f.state(), PowerState::Off);
    }

    #[test]
    fn two_contrary_orders_at_once_are_not_both_carried_out() {
        let mut f = Fixture::with("", Saved::default(), Operation::On, NOON);
        f.call(GATEWAY, "OperationOff", &[]);
        let number = f.call(OTHER, "GoToStandby", &[]);
        assert_eq!(f.refusal(number, "GoToStandby"), (810, "OperationOff is under way".into()));
    }

    #[test]
    fn two_callers_that_want_standby_make_one_suspend() {
        let mut f = Fixture::new("");
        let first = f.call(GATEWAY, "GoToStandby", &[]);
        let second = f.call(OTHER, "GoToStandby", &[]);
        for _ in 0..2 {
            let (id, _) = f.gathered();
            f.circumstances(id, quiet());
        }
        assert_eq!(f.seen.iter().filter(|e| matches!(e, Effect::Suspend(_))).count(), 1);
        assert_ne!(f.reg_id(first, "GoToStandby"), f.reg_id(second, "GoToStandby"));
    }

    #[test]
    fn a_suspend_that_logind_accepts_and_forgets_is_told_as_failed() {
        let mut f = Fixture::new("");
        f.call(GATEWAY, "GoToStandby", &[]);
        let (id, _) = f.gathered();
        f.circumstances(id, quiet());
        f.agent.handle_suspended(id, Ok(()), f.now);
        f.pass(ANNOUNCEMENT_WITHIN);
        assert_eq!(f.agent.status().refusals.last().map(|r| r.kind), Some(RefusalKind::OperationFailed));
        // And the next one is free to try.
        f.call(GATEWAY, "GoToStandby", &[]);
        f.gathered();
    }

    #[test]
    fn going_down_says_off_then_byebye_then_lets_the_machine_go() {
        let mut f = Fixture::with("", Saved::default(), Operation::On, NOON);
        f.subscribe();
        f.fact(Observation::ShutdownBegins);
        assert!(!f.lets_go());
        assert!(f.deliver().iter().any(|b| b.contains("<PowerState>OFF</PowerState>")));
        assert!(f.lets_go());
    }

    #[test]
    fn a_shutdown_that_is_called_off_brings_the_device_back_as_after_a_restart() {
        let mut f = Fixture::with("", Saved::default(), Operation::On, NOON);
        f.fact(Observation::ShutdownBegins);
        f.fact(Observation::ShutdownCancelled);
        assert_eq!(f.state(), PowerState::On);
        assert!(f.agent.boot_id() > 7);
        f.subscribe();
        f.fact(Observation::SleepBegins);
        assert!(f.deliver().iter().any(|b| b.contains("<PowerState>Standby</PowerState>")));
    }

    #[test]
    fn a_service_that_is_stopped_says_goodbye_without_saying_off() {
        let mut f = Fixture::with("", Saved::default(), Operation::On, NOON);
        f.subscribe();
        f.agent.handle_stop(false, f.now);
        f.pump();
        f.pass(Duration::from_secs(2));
        assert!(f.deliver().is_empty(), "no event");
        assert!(f.agent.is_done());
        assert_eq!(f.state(), PowerState::On);
    }

    #[test]
    fn a_standby_period_is_on_disk_before_its_number_is_told_and_begins_by_itself() {
        let mut f = Fixture::new("");
        let number = f.call(GATEWAY, "StandbyPeriod", &[("StartTime", "13:00:00"), ("StopTime", "14:00:00")]);
        assert!(matches!(f.seen.first(), Some(Effect::Store)));
        let reg_id = f.reg_id(number, "StandbyPeriod");
        f.pass(Duration::from_secs(3601));
        let (id, order) = f.gathered();
        assert_eq!(order, Order::Standby);
        f.circumstances(id, quiet());
        assert!(f.has(|e| matches!(e, Effect::Suspend(_))));
        f.fact(Observation::SleepBegins);
        let alarm =
            f.seen.iter().find_map(|e| if let Effect::SetAlarm(ahead) = e { Some(ahead.as_secs()) } else { None });
        assert!(matches!(alarm, Some(3590..=3600)), "the alarm rings at StopTime: {alarm:?}");
        let cause = f.agent.status().events.last().unwrap().cause.clone();
        assert_eq!(cause, format!("StandbyPeriod {reg_id}, seen by logind"));
    }

    #[test]
    fn on_a_full_disk_a_standby_period_is_answered_with_why_and_taken_back() {
        let mut f = Fixture::new("");
        let period = [("StartTime", "13:00:00"), ("StopTime", "14:00:00")];
        f.disk_full = true;
        let number = f.call(GATEWAY, "StandbyPeriod", &period);
        let reason = "not registered: the state cannot be written: no space left on device";
        assert_eq!(f.refusal(number, "StandbyPeriod"), (501, reason.into()));
        let status = f.agent.status();
        assert!(status.registrations.is_empty() && f.agent.saved().registrations.is_empty());
        let last = status.refusals.last().unwrap();
        assert_eq!((last.action.as_str(), last.reason.as_str()), ("StandbyPeriod", reason));
        f.pass(Duration::from_secs(3700));
        assert!(!f.has(|e| matches!(e, Effect::Gather(..))), "it does not begin either");
        f.disk_full = false;
        let number = f.call(GATEWAY, "StandbyPeriod", &period);
        f.reg_id(number, "StandbyPeriod");
        assert_eq!(f.agent.saved().registrations.len(), 1);
    }

    #[test]
    fn on_a_full_disk_a_period_that_is_on_does_not_send_the_machine_to_sleep() {
        let mut f = Fixture::new("");
        f.disk_full = true;
        let number = f.call(GATEWAY, "StandbyPeriod", &[("StartTime", "11:00:00"), ("StopTime", "14:00:00")]);
        assert_eq!(f.refusal(number, "StandbyPeriod").0, 501);
        let (id, _) = f.gathered();
        f.circumstances(id, quiet());
        assert!(!f.has(|e| matches!(e, Effect::Suspend(_))));
    }

    #[test]
    fn on_a_full_disk_a_number_that_is_not_covered_is_never_told_and_known_callers_are_served() {
        let mut f = Fixture::new("");
        f.disk_full = true;
        for _ in 0..2 {
            let number = f.call(GATEWAY, "GetPowerState", &[]);
            assert_eq!(f.refusal(number, "GetPowerState").0, 501);
        }
        let number = f.call(GATEWAY, "GoToStandby", &[]);
        let (id, _) = f.gathered();
        f.circumstances(id, quiet());
        assert_eq!(f.refusal(number, "GoToStandby").0, 501);
        assert!(!f.has(|e| matches!(e, Effect::Suspend(_))), "what is answered as failed is not done");
        f.disk_full = false;
        let number = f.call(GATEWAY, "GetPowerState", &[]);
        let known = f.reg_id(number, "GetPowerState");
        f.disk_full = true;
        let number = f.call(GATEWAY, "GetPowerState", &[]);
        assert_eq!(f.reg_id(number, "GetPowerState"), known);
    }

    #[test]
    fn on_a_full_disk_a_withdrawal_fails_and_the_period_stays() {
        let mut f = Fixture::new("");
        let number = f.call(GATEWAY, "StandbyPeriod", &[("StartTime", "13:00:00"), ("StopTime", "14:00:00")]);
        let reg_id = f.reg_id(number, "StandbyPeriod");
        f.disk_full = true;
        let number = f.call(GATEWAY, "Withdraw", &[("RegID", &reg_id)]);
        assert_eq!(f.refusal(number, "Withdraw").0, 501);
        assert_eq!(f.agent.saved().registrations.len(), 1);
        f.disk_full = false;
        let number = f.call(GATEWAY, "Withdraw", &[("RegID", &reg_id)]);
        assert_eq!(f.answer(number, "Withdraw").unwrap().unwrap(), []);
    }

    #[test]
    fn a_standby_period_without_length_is_a_wrong_value() {
        let mut f = Fixture::new("");
        let number = f.call(GATEWAY, "StandbyPeriod", &[("StartTime", "13:00:00"), ("StopTime", "13:00:00")]);
        assert_eq!(f.refusal(number, "StandbyPeriod").0, 600);
    }

    #[test]
    fn withdraw_of_an_unknown_or_foreign_number_is_an_error_and_never_a_silent_success() {
        let mut f = Fixture::new("");
        let number = f.call(GATEWAY, "StandbyPeriod", &[("StartTime", "13:00:00"), ("StopTime", "14:00:00")]);
        let reg_id = f.reg_id(number, "StandbyPeriod");
        for (caller, reg_id, code) in [(OTHER, reg_id.as_str(), 821), (GATEWAY, "4000000000", 820)] {
            let number = f.call(caller, "Withdraw", &[("RegID", reg_id)]);
            assert_eq!(f.refusal(number, "Withdraw").0, code);
        }
        let number = f.call(GATEWAY, "Withdraw", &[("RegID", &reg_id)]);
        assert_eq!(f.answer(number, "Withdraw").unwrap().unwrap(), []);
        let number = f.call(GATEWAY, "Withdraw", &[("RegID", &reg_id)]);
        assert_eq!(f.refusal(number, "Withdraw").0, 820);
    }

    #[test]
    fn the_minimum_off_time_counts_the_time_before_a_restart() {
        const RULE: &str = "safety.minimum-off-time-s = 60";
        let mut first = Fixture::new(RULE);
        first.pass(Duration::from_secs(10));
        let saved = first.agent.saved();
        for (restart_at, allowed) in [("2026-06-01T12:00:20Z", false), ("2026-06-01T12:01:10Z", true)] {
            let mut f = Fixture::with(RULE, saved.clone(), Operation::Off, restart_at);
            let number = f.call(GATEWAY, "OperationOn", &[]);
            let (id, _) = f.gathered();
            f.circumstances(id, quiet());
            assert_eq!(f.has(|e| matches!(e, Effect::Switch(_, true))), allowed, "{restart_at}");
            if !allowed {
                assert_eq!(f.refusal(number, "OperationOn").0, 804);
            }
        }
    }

    #[test]
    fn registrations_survive_a_restart_with_their_numbers() {
        let mut f = Fixture::new("");
        let number = f.call(GATEWAY, "StandbyPeriod", &[("StartTime", "22:00:00"), ("StopTime", "06:00:00")]);
        let reg_id = f.reg_id(number, "StandbyPeriod");
        let mut again = Fixture::with("", f.agent.saved(), Operation::Off, NOON);
        let number = again.call(GATEWAY, "GetPowerState", &[]);
        assert_ne!(again.reg_id(number, "GetPowerState"), reg_id);
        let number = again.call(GATEWAY, "Withdraw", &[("RegID", &reg_id)]);
        assert!(again.answer(number, "Withdraw").unwrap().is_ok());
    }

    #[test]
    fn the_page_shows_the_state_and_takes_no_orders() {
        let mut f = Fixture::new("device.friendly-name = '<b>Pump</b>'");
        let number = f.request("GET", "/", &[], Bytes::new());
        let page = f.response(number).unwrap();
        let html = String::from_utf8(page.body().to_vec()).unwrap();
        assert_eq!(page.status(), StatusCode::OK);
        assert!(html.contains("&lt;b&gt;Pump&lt;/b&gt;") && !html.contains("<b>Pump") && html.contains("OFF for"));
        assert!(!html.contains("<form") && !html.contains("http"));
        let number = f.request("POST", "/", &[], Bytes::new());
        assert_eq!(f.response(number).map(|r| r.status()), Some(StatusCode::METHOD_NOT_ALLOWED));
    }
}
