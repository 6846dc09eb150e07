//! Control: what is let through, what is refused with which code, what comes back.

use http::StatusCode;
use upnp::error::{ErrorCode, UpnpError};
use upnp::soap::{self, SoapError};

use crate::fixture::*;

fn everything(replace: &str, with: &str) -> String {
    let arguments = "<Text>a b</Text><State>ON</State><Count>7</Count><Level>-5</Level><Flag>1</Flag><At>06:30:00</At>";
    assert!(replace.is_empty() || arguments.contains(replace), "{replace}");
    power_call("Everything", &arguments.replacen(replace, with, 1))
}

#[test]
fn arguments_arrive_in_declared_order_and_one_spelling() {
    let call = Wire::new().call(&power_call(
        "Everything",
        "\n <At> 23:59:59 </At><!-- any order -->\n <Flag>Yes</Flag><Level>+5</Level><Count>\n007 </Count>\
         <State> Standby\t</State><x:Text xmlns:x=\"urn:x\"> a &lt;<![CDATA[<b>]]>&#xe4; </x:Text>",
    ));
    let arguments: Vec<_> = call.arguments.iter().map(|(n, v)| (&**n, &**v)).collect();
    assert_eq!(
        arguments,
        [
            ("Text", " a <<b>ä "),
            ("State", "Standby"),
            ("Count", "7"),
            ("Level", "5"),
            ("Flag", "1"),
            ("At", "23:59:59")
        ]
    );
    assert_eq!(
        (call.action.name, call.service.service_type, call.peer),
        ("Everything", POWER.service_type, address(PEER))
    );
}

#[test]
fn any_prefix_or_none_will_do_as_long_as_the_namespaces_are_right() {
    let mut wire = Wire::new();
    let standard = power_call("GetPowerState", "<UUID>a</UUID><Address>b</Address>");
    wire.call(&standard);
    let soap_env =
        [("<s:", "<SOAP-ENV:"), ("</s:", "</SOAP-ENV:"), ("xmlns:s=", "xmlns:SOAP-ENV="), (" s:e", " SOAP-ENV:e")];
    wire.call(&soap_env.iter().fold(standard.clone(), |raw, (from, to)| raw.replace(from, to)));
    wire.call(&standard.replace("<u:", "<").replace("</u:", "</").replace("xmlns:u=", "xmlns="));
    wire.call(&standard.replace("><", ">\r\n\t <"));
    let header = "<s:Header><t:Trace xmlns:t=\"urn:t\">1</t:Trace></s:Header><s:Body>";
    wire.call(&standard.replace("<s:Body>", header));
}

#[test]
fn wrong_arguments_get_the_code_that_says_how() {
    let mut wire = Wire::new();
    wire.call(&everything("", ""));
    let long = format!("<Text>{}</Text>", "a".repeat(3000));
    for (replace, with, code) in [
        ("<Count>7</Count>", "", 402),
        ("<Count>7</Count>", "<Count>7</Count><Count>7</Count>", 402),
        ("<Count>7</Count>", "<count>7</count>", 402),
        ("<Count>7</Count>", "<Count>7</Count><Extra/>", 402),
        ("<Count>7</Count>", "<Count><b>7</b></Count>", 402),
        ("<Count>7<", "<Count><", 402),
        ("<Count>7<", "<Count>seven<", 402),
        ("<Count>7<", "<Count>7.0<", 402),
        ("<Count>7<", "<Count>0x7<", 402),
        ("<Count>7<", "<Count>-<", 402),
        ("<Count>7<", "<Count>\u{0667}<", 402),
        ("<Count>7<", "<Count>-1<", 600),
        ("<Count>7<", "<Count>4294967296<", 600),
        ("<Count>7<", "<Count>99999999999999999999999999<", 600),
        ("<State>ON<", "<State>on<", 601),
        ("<State>ON<", "<State><", 601),
        ("<State>ON<", "<State>BROKEN<", 601),
        ("<Level>-5<", "<Level>-11<", 601),
        ("<Level>-5<", "<Level>15<", 601),
        ("<Level>-5<", "<Level>-4<", 600),
        ("<Level>-5<", "<Level>2147483648<", 600),
        ("<Flag>1<", "<Flag>2<", 402),
        ("<Flag>1<", "<Flag>ja<", 402),
        ("<At>06:30:00<", "<At>6:30<", 402),
        ("<At>06:30:00<", "<At>06:30:00Z<", 402),
        ("<At>06:30:00<", "<At>24:00:00<", 600),
        ("<At>06:30:00<", "<At>06:60:00<", 600),
        ("<At>06:30:00<", "<At>06:30:60<", 600),
        ("<Text>a b</Text>", &long, 605),
    ] {
        let response = wire.answer(&everything(replace, with));
        assert_eq!((response.status().as_u16(), error_code(&response)), (500, code), "{with}");
    }
    let many = "<UUID>a</UUID>".repeat(100);
    let response = wire.answer(&power_call("GetPowerState", &many));
    assert_eq!((response.status().as_u16(), error_code(&response)), (500, 402), "too many arguments");
}

#[test]
fn the_largest_and_smallest_values_are_let_through() {
    let mut wire = Wire::new();
    for (replace, with) in [
        ("<Count>7<", "<Count>4294967295<"),
        ("<Count>7<", "<Count>0<"),
        ("<Level>-5<", "<Level>-10<"),
        ("<Level>-5<", "<Level>10<"),
        ("<At>06:30:00<", "<At>00:00:00<"),
        ("<Text>a b<", "<Text><"),
    ] {
        wire.call(&everything(replace, with));
    }
}

#[test]
fn the_reply_has_its_arguments_in_declared_order_byte_for_byte() {
    let call = Wire::new().call(&power_call("GetPowerState", "<UUID>a</UUID><Address>b</Address>"));
    let response = call.respond(Ok(vec![("RegID", "9".to_owned()), ("PowerState", "ON".to_owned())]));
    assert_eq!(
        bytes_of(&response),
        "HTTP/1.1 200 OK\r\nCONTENT-TYPE: text/xml; charset=\"utf-8\"\r\nEXT: \r\n\
         SERVER: Linux/6.12 UPnP/1.1 psm-agent/0.1.0\r\n\r\n\
         <?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
         <s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body>\
         <u:GetPowerStateResponse xmlns:u=\"urn:heg-energy-org:service:PowerManagement:1\">\
         <PowerState>ON</PowerState><RegID>9</RegID></u:GetPowerStateResponse></s:Body></s:Envelope>"
    );
    let read = soap::parse_response(StatusCode::OK, response.body(), "GetPowerState").unwrap();
    assert_eq!(read, [("PowerState".to_owned(), "ON".to_owned()), ("RegID".to_owned(), "9".to_owned())]);
}

#[test]
fn a_refusal_comes_back_with_its_code_and_reason_byte_for_byte() {
    let call = Wire::new().call(&power_call("Nothing", ""));
    let response = call.respond(Err(UpnpError::with(ErrorCode(801), "A download <is> running")));
    assert_eq!(
        bytes_of(&response),
        "HTTP/1.1 500 Internal Server Error\r\nCONTENT-TYPE: text/xml; charset=\"utf-8\"\r\nEXT: \r\n\
         SERVER: Linux/6.12 UPnP/1.1 psm-agent/0.1.0\r\n\r\n\
         <?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
         <s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body>\
         <s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail>\
         <UPnPError xmlns=\"urn:schemas-upnp-org:control-1-0\"><errorCode>801</errorCode>\
         <errorDescription>A download &lt;is&gt; running</errorDescription></UPnPError></detail></s:Fault>\
         </s:Body></s:Envelope>"
    );
    let read = soap::parse_response(response.status(), response.body(), "Nothing");
    assert!(
        matches!(read, Err(SoapError::Fault(e)) if e.code == ErrorCode(801) && e.description == "A download <is> running")
    );
}

#[test]
fn every_code_of_the_architecture_travels_to_the_control_point() {
    let call = Wire::new().call(&power_call("Nothing", ""));
    for code in [401, 402, 501, 600, 601, 602, 603, 604, 605, 606, 612, 701, 800, 899] {
        let response = call.respond(Err(UpnpError::new(ErrorCode(code))));
        let read = soap::parse_response(response.status(), response.body(), "Nothing");
        assert!(matches!(read, Err(SoapError::Fault(e)) if e == UpnpError::new(ErrorCode(code))), "{code}");
    }
}

#[test]
fn a_reply_that_lacks_an_out_argument_is_501_and_not_half_an_answer() {
    let call = Wire::new().call(&power_call("GetPowerState", "<UUID>a</UUID><Address>b</Address>"));
    let response = call.respond(Ok(vec![("RegID", "9".to_owned())]));
    assert_eq!((response.status().as_u16(), error_code(&response)), (500, 501));
}

#[test]
fn who_asks_for_a_lower_version_is_answered_in_it() {
    let mut wire = Wire::new();
    for version in [1, 2] {
        let urn = format!("urn:schemas-upnp-org:service:Quiet:{version}");
        let body = envelope(&format!("<u:Echo xmlns:u=\"{urn}\"><In>x</In></u:Echo>"));
        let action = format!("SOAPACTION: \"{urn}#Echo\"");
        let call = wire.call(&request("POST", "/Quiet/control", &["CONTENT-TYPE: text/xml", &action], &body));
        let response = call.respond(Ok(vec![("Out", "y".to_owned())]));
        let body = std::str::from_utf8(response.body()).unwrap().to_owned();
        assert!(body.contains(&format!("<u:EchoResponse xmlns:u=\"{urn}\">")), "{body}");
    }
}

#[test]
fn a_header_block_that_must_be_understood_is_refused_as_soap_wants_it() {
    let raw = power_call("Nothing", "");
    let header = "<s:Header><t:Pay xmlns:t=\"urn:t\" s:mustUnderstand=\"1\">1</t:Pay></s:Header><s:Body>";
    let response = Wire::new().answer(&raw.replace("<s:Body>", header));
    assert_eq!(response.status(), 500);
    assert!(std::str::from_utf8(response.body()).unwrap().contains("<faultcode>s:MustUnderstand</faultcode>"));
}

#[test]
fn what_our_control_point_writes_our_device_takes() {
    let arguments = [("UUID".to_owned(), "<&\"'>\r\n\tä€😀".to_owned()), ("Address".to_owned(), String::new())];
    let body = soap::write_request(POWER.service_type, "GetPowerState", &arguments);
    let action = format!("SOAPACTION: \"{}#GetPowerState\"", POWER.service_type);
    let raw = request(
        "POST",
        "/PowerManagement/control",
        &["CONTENT-TYPE: text/xml; charset=\"utf-8\"", &action],
        std::str::from_utf8(&body).unwrap(),
    );
    assert_eq!(Wire::new().call(&raw).arguments, arguments);
}

#[test]
fn no_name_can_smuggle_markup_into_a_request() {
    let body = soap::write_request("urn:\"><x/>", "A/><evil", &[("B><evil/><B".to_owned(), "</B>".to_owned())]);
    let root = upnp::xml::parse(&body, upnp::xml::Caps::SOAP_STRICT).unwrap();
    assert!(root.find("evil").is_none() && root.find("x").is_none());
}

#[test]
fn a_foreign_reply_is_read_for_what_it_says() {
    let reply = |inner: &str| envelope(inner).into_bytes();
    let ok = StatusCode::OK;
    let plain = reply("<m:GetResponse xmlns:m=\"urn:whatever\"><A>1</A><B> x </B></m:GetResponse>");
    assert_eq!(
        soap::parse_response(ok, &plain, "Get").unwrap(),
        [("A".to_owned(), "1".to_owned()), ("B".to_owned(), " x ".to_owned())]
    );
    let undeclared = b"<SOAP-ENV:Envelope><SOAP-ENV:Body><u:GetResponse><A>a & b</A></u:GetResponse></SOAP-ENV:Body></SOAP-ENV:Envelope>\0";
    assert_eq!(soap::parse_response(ok, undeclared, "Get").unwrap()[0].1, "a & b");
    let other = soap::parse_response(ok, &plain, "Set");
    assert!(matches!(other, Err(SoapError::OtherAction)));
    assert!(matches!(soap::parse_response(ok, &reply(""), "Get"), Err(SoapError::OtherAction)));
    assert!(matches!(soap::parse_response(ok, b"<html>", "Get"), Err(SoapError::Xml(_))));
    assert!(matches!(soap::parse_response(ok, b"", "Get"), Err(SoapError::Xml(_))));
    let named = StatusCode::from_u16(400).unwrap();
    assert!(matches!(soap::parse_response(named, b"400: InvalidAction", "Get"), Err(SoapError::Status(400))));
    assert!(matches!(soap::parse_response(named, b"<html><p/></html>", "Get"), Err(SoapError::Status(400))));
}

#[test]
fn a_fault_is_seen_whatever_status_and_shape_it_comes_in() {
    let fault = |detail: &str| {
        envelope(&format!(
            "<s:Fault><faultcode>s:Client</faultcode><faultstring>Oh</faultstring><detail>{detail}</detail></s:Fault>"
        ))
    };
    for (status, detail, code, words) in [
        (
            500,
            "<UPnPError xmlns=\"urn:schemas-upnp-org:control-1-0\"><errorCode>701</errorCode><errorDescription>No</errorDescription></UPnPError>",
            701,
            "No",
        ),
        (200, "<UPnPError><errorCode> 402 </errorCode></UPnPError>", 402, "Oh"),
        (400, "<u:UPnPError><u:errorCode>718</u:errorCode><u:errorDescription/></u:UPnPError>", 718, "Oh"),
        (500, "", 501, "Oh"),
        (500, "<UPnPError><errorCode>many</errorCode></UPnPError>", 501, "Oh"),
        (500, "<UPnPError><errorCode>70000</errorCode></UPnPError>", 501, "Oh"),
    ] {
        let read = soap::parse_response(StatusCode::from_u16(status).unwrap(), fault(detail).as_bytes(), "Get");
        let Err(SoapError::Fault(error)) = read else { panic!("{read:?}") };
        assert_eq!((error.code.0, &*error.description), (code, words), "{detail}");
    }
}
