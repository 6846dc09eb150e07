//! What a gateway is told next, and what the command line is answered. The talk itself is tested in the simulated house.

use super::*;

fn wake(time: &str) -> Wish {
    Wish::WakeUpTime(time.parse().unwrap())
}

fn id(number: u32) -> RegId {
    RegId::new(number).unwrap()
}

fn at(seconds: u64) -> BootTime {
    BootTime::from_duration(Duration::from_secs(seconds))
}

fn link(wishes: Vec<Wish>, registered: Vec<Registered>) -> GatewayLink {
    let own = "9a8b7c6d-0000-4000-8000-000000000001".parse().unwrap();
    GatewayLink::new(own, "test".into(), 49200, vec![], (wishes, registered), 1, at(0))
}

fn registered(wish: Wish, number: u32) -> Registered {
    Registered { gateway: "uuid:gw".into(), wish, reg_id: id(number) }
}

#[test]
fn a_gateway_that_confirmed_nothing_is_told_every_wish_and_then_nothing() {
    let wishes: BTreeMap<_, _> = [wake("06:00:00"), wake("07:00:00")].map(|w| (w, Origin::Configuration)).into();
    let mut gateway = Gateway::default();
    for number in 1..=2 {
        let Some(Job::Register(wish)) = gateway.next_job(&wishes) else { panic!("a wish is open") };
        gateway.registered.insert(wish, id(number));
        gateway.confirmed.insert(wish);
    }
    assert_eq!(gateway.next_job(&wishes), None);
    // It restarted: it is told again, and its old numbers are kept until it gives others.
    gateway.confirmed.clear();
    assert_eq!(gateway.next_job(&wishes), Some(Job::Register(wake("06:00:00"))));
}

#[test]
fn what_is_no_longer_wished_is_withdrawn_before_anything_new_is_asked() {
    let wishes = [(wake("07:00:00"), Origin::Configuration)].into();
    let gateway = Gateway { registered: [(wake("06:00:00"), id(4))].into(), ..Gateway::default() };
    assert_eq!(gateway.next_job(&wishes), Some(Job::Withdraw(id(4))));
    let gateway = Gateway { surplus: [id(3)].into(), ..gateway };
    assert_eq!(gateway.next_job(&wishes), Some(Job::Withdraw(id(3))), "a number that a newer one replaced");
}

#[test]
fn a_wish_that_was_refused_is_not_asked_again() {
    let wishes = [(wake("07:00:00"), Origin::CommandLine)].into();
    let mut gateway = Gateway::default();
    refuse(&mut gateway, wake("07:00:00"), &UpnpError::with(ErrorCode::ACTION_NOT_AUTHORIZED, "no"), at(1));
    assert_eq!(gateway.refused[&wake("07:00:00")].again_at, None);
    assert_eq!(gateway.next_job(&wishes), None);
    assert!(gateway.settled(wake("07:00:00"), true));
}

#[test]
fn a_wish_refused_for_a_cause_that_may_pass_is_asked_again_later_each_time_and_starves_no_other() {
    let (early, late) = (wake("06:00:00"), wake("07:00:00"));
    let mut link = link(vec![early, late], vec![registered(wake("05:00:00"), 1)]);
    let udn = Udn::parse("uuid:gw").unwrap();
    link.gateways.get_mut(&udn).unwrap().registered.clear();
    let mut now = at(100);
    let mut pauses = Vec::new();
    for n in 0..8 {
        let gateway = link.gateways.get_mut(&udn).unwrap();
        assert_eq!(gateway.next_job(&link.wishes), Some(Job::Register(early)), "its turn has come");
        let code = [ErrorCode::ACTION_FAILED, ErrorCode::DEVICE_BUSY, ErrorCode::OUT_OF_MEMORY][n % 3];
        refuse(gateway, early, &UpnpError::new(code), now);
        assert!(gateway.settled(early, true), "the command line is told at once");
        let next = if n == 0 { Some(Job::Register(late)) } else { None };
        assert_eq!(gateway.next_job(&link.wishes), next, "the other wish does not wait for it");
        gateway.confirmed.insert(late);
        let due = gateway.refused[&early].again_at.unwrap();
        assert!(link.poll_timeout().is_some_and(|at| at <= due));
        pauses.push(due.since(now).as_secs());
        link.handle_timeout(now + Duration::from_millis(due.since(now).as_millis() as u64 - 1));
        assert_eq!(link.gateways[&udn].next_job(&link.wishes), None, "not before");
        now = due;
        link.handle_timeout(now);
    }
    assert_eq!(pauses, [30, 60, 120, 240, 480, 600, 600, 600]);
    // One that was never asked goes first.
    link.gateways.get_mut(&udn).unwrap().confirmed.clear();
    assert_eq!(link.gateways[&udn].next_job(&link.wishes), Some(Job::Register(late)));
}

#[test]
fn failures_are_put_off_longer_and_longer_up_to_a_bound() {
    let mut gateway = Gateway::default();
    let mut pauses = Vec::new();
    for _ in 0..12 {
        put_off(&mut gateway, "no answer".into(), at(100));
        pauses.push(gateway.retry_at.unwrap().since(at(100)));
    }
    assert_eq!(pauses[..3], [2, 4, 8].map(Duration::from_secs));
    assert_eq!(pauses[11], GATEWAY_RETRY_LONGEST);
}

#[test]
fn a_request_without_a_gateway_is_answered_at_once_and_kept() {
    let mut link = link(vec![], vec![]);
    link.request(wake("06:00:00"), Ticket(1), at(1)).unwrap();
    let (ticket, answer) = link.poll_answer().unwrap();
    assert_eq!((ticket, answer.gateways.len(), answer.reg_id), (Ticket(1), 0, None));
    assert!(link.changed());
    assert_eq!(link.stored().0, [wake("06:00:00")]);
}

#[test]
fn a_number_is_withdrawn_only_if_the_command_line_may() {
    let mut link = link(vec![wake("06:00:00")], vec![registered(wake("06:00:00"), 4), registered(wake("07:00:00"), 5)]);
    link.set_configured([wake("07:00:00")], at(1));
    assert_eq!(link.withdraw(9, Ticket(1), at(2)), Err(RequestError::Unknown(9)));
    assert_eq!(link.withdraw(5, Ticket(2), at(2)), Err(RequestError::OfConfiguration(id(5))));
    assert_eq!(link.withdraw(4, Ticket(3), at(2)), Ok(()));
    assert_eq!(link.stored().0, []);
    assert_eq!(link.stored().1.len(), 2, "kept until the gateway is told");
}

#[test]
fn a_wish_taken_back_while_its_call_is_under_way_is_told_again_when_it_is_wished_again() {
    let wish = wake("06:00:00");
    let mut link = link(vec![wish], vec![registered(wish, 7)]);
    let udn = Udn::parse("uuid:gw").unwrap();
    let call = CallId(1);
    let done = |link: &mut GatewayLink, job, out: &[(&str, &str)]| {
        link.gateways.get_mut(&udn).unwrap().job = Some((call, job));
        let out = out.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        link.call_done(call, &udn, Ok(out), at(2));
        link.gateways[&udn].next_job(&link.wishes)
    };
    link.withdraw(7, Ticket(1), at(1)).unwrap();
    assert_eq!(done(&mut link, Job::Register(wish), &[("RegID", "7")]), Some(Job::Withdraw(id(7))));
    assert_eq!(done(&mut link, Job::Withdraw(id(7)), &[]), None);
    link.request(wish, Ticket(2), at(3)).unwrap();
    assert_eq!(link.gateways[&udn].next_job(&link.wishes), Some(Job::Register(wish)));
}

#[test]
fn wishes_and_waiting_requests_are_bounded() {
    let mut link = link(vec![], vec![]);
    for minute in 0..WISHES_MAX {
        link.request(wake(&format!("06:{minute:02}:00")), Ticket(0), at(1)).unwrap();
    }
    assert_eq!(link.request(wake("07:00:00"), Ticket(0), at(1)), Err(RequestError::Full));
    assert_eq!(link.request(wake("06:00:00"), Ticket(0), at(1)), Ok(()), "one that is there already");
}

#[test]
fn wishes_read_in_json_as_the_socket_carries_them() {
    let text = r#"{"no-standby-period":{"start":"22:00:00","end":"06:00:00"}}"#;
    let wish: Wish = serde_json::from_str(text).unwrap();
    assert_eq!(wish.to_string(), "no-standby-period 22:00:00-06:00:00");
    assert_eq!(serde_json::to_string(&wish).unwrap(), text);
}
