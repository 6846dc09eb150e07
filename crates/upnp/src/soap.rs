//! Control (UDA 1.1, 3): action requests, responses and faults, read strictly as a device and leniently as a control point.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};

use crate::error::{ErrorCode, UpnpError};
use crate::http::is_xml_utf8;
use crate::limits::{ARGUMENTS_MAX, STRING_ARGUMENT_BYTES_MAX, XML_SOAP_BYTES_MAX};
use crate::service::{ActionDecl, Allowed, DataType, Direction, ServiceDecl, VariableDecl};
use crate::xml::{self, Caps, Element, Writer, XmlError};

/// Namespace of a SOAP 1.1 envelope.
pub const ENVELOPE: &str = "http://schemas.xmlsoap.org/soap/envelope/";
/// The one encoding UPnP uses.
pub const ENCODING: &str = "http://schemas.xmlsoap.org/soap/encoding/";
/// Namespace of the `UPnPError` element in a fault.
pub const CONTROL: &str = "urn:schemas-upnp-org:control-1-0";

/// What a control point asks for, syntax checked, meaning not yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionRequest {
    /// Service type of the SOAPACTION header and of the body's namespace.
    pub service_type: String,
    /// Action name.
    pub action: String,
    /// Arguments in the order they came, values as they came.
    pub arguments: Vec<(String, String)>,
}

/// Why a request is answered without looking at its meaning.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SoapReject {
    /// Content-Type is not `text/xml` in UTF-8: 415. Browsers can send the simple types across sites without asking.
    #[error("the body must be text/xml; charset=\"utf-8\"")]
    MediaType,
    /// SOAPACTION is missing, given twice, or not `"TYPE#ACTION"`: 400.
    #[error("SOAPACTION must be \"TYPE#ACTION\"")]
    SoapAction,
    /// Too many bytes: 413.
    #[error("more than {XML_SOAP_BYTES_MAX} bytes")]
    TooLarge,
    /// Not XML, XML with a DOCTYPE, or XML beyond the caps: 400.
    #[error("the body is not usable XML")]
    Xml(#[source] XmlError),
    /// XML, but no SOAP envelope with one action in it: 400.
    #[error("not a SOAP envelope with one action")]
    Envelope,
    /// A header block that must be understood and is not: fault `MustUnderstand`.
    #[error("a SOAP header block is not understood")]
    MustUnderstand,
    /// The request as such is refused with a UPnPError: 500.
    #[error(transparent)]
    Fault(#[from] UpnpError),
}

impl SoapReject {
    /// The status it is answered with.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::SoapAction | Self::Xml(_) | Self::Envelope => StatusCode::BAD_REQUEST,
            Self::MustUnderstand | Self::Fault(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// Reads an action request as our device takes it: any prefixes and white space, SOAPACTION quoted or not. A header that
/// names another service or action than the body is error 401.
pub fn parse_request(headers: &HeaderMap, body: &[u8]) -> Result<ActionRequest, SoapReject> {
    if !headers.get(CONTENT_TYPE).is_some_and(is_xml_utf8) || headers.get_all(CONTENT_TYPE).iter().count() > 1 {
        return Err(SoapReject::MediaType);
    }
    let (service_type, action) = soap_action(headers).ok_or(SoapReject::SoapAction)?;
    let root = xml::parse(body, Caps::SOAP_STRICT).map_err(|e| match e {
        XmlError::TooLarge(_) => SoapReject::TooLarge,
        e => SoapReject::Xml(e),
    })?;
    if root.name() != "Envelope" || root.namespace() != Some(ENVELOPE) {
        return Err(SoapReject::Envelope);
    }
    let is_soap = |e: &&Element| e.namespace() == Some(ENVELOPE);
    for block in root.children_named("Header").filter(is_soap).flat_map(Element::children) {
        if block.attribute("mustUnderstand").is_some_and(|m| m.trim() == "1") {
            return Err(SoapReject::MustUnderstand);
        }
    }
    let mut bodies = root.children_named("Body").filter(is_soap);
    let (Some(soap_body), None) = (bodies.next(), bodies.next()) else { return Err(SoapReject::Envelope) };
    let [call] = soap_body.children() else { return Err(SoapReject::Envelope) };
    if call.namespace() != Some(service_type) || call.name() != action {
        return Err(UpnpError::with(ErrorCode::INVALID_ACTION, "SOAPACTION and body name different actions").into());
    }
    if call.children().len() > ARGUMENTS_MAX || call.children().iter().any(|a| !a.children().is_empty()) {
        return Err(UpnpError::new(ErrorCode::INVALID_ARGS).into());
    }
    let arguments = call.children().iter().map(|a| (a.name().to_owned(), a.text().to_owned())).collect();
    Ok(ActionRequest { service_type: service_type.to_owned(), action: action.to_owned(), arguments })
}

/// Service type and action of the SOAPACTION header.
fn soap_action(headers: &HeaderMap) -> Option<(&str, &str)> {
    let mut values = headers.get_all("soapaction").iter();
    let value = values.next()?.to_str().ok()?.trim();
    let value = match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"')?,
        None => value,
    };
    let (service_type, action) = value.split_once('#')?;
    let plain = |s: &str| !s.is_empty() && s.bytes().all(|b| (0x21..0x7f).contains(&b) && b != b'"' && b != b'#');
    (values.next().is_none() && plain(service_type) && plain(action)).then_some((service_type, action))
}

/// The IN arguments in declared order, each once, with values checked and in one spelling (no white space around numbers,
/// booleans as `0` or `1`, numbers without sign or zeros in front). Order is not looked at; errors are 402 (missing,
/// unknown or double argument, wrong type), 600 (right shape, no such value), 601 (not in the list or range), 605 (too long).
pub fn check_arguments(
    service: &ServiceDecl,
    action: &ActionDecl,
    given: &[(String, String)],
) -> Result<Vec<(String, String)>, UpnpError> {
    let wanted = || action.arguments.iter().filter(|a| a.direction == Direction::In);
    let bad = |why: String| UpnpError::with(ErrorCode::INVALID_ARGS, format!("Invalid Args: {why}"));
    for (i, (name, _)) in given.iter().enumerate() {
        if !wanted().any(|w| w.name == name) {
            return Err(bad(format!("no argument of that name: {}", printable(name))));
        }
        if given[..i].iter().any(|(n, _)| n == name) {
            return Err(bad(format!("{name} is given twice")));
        }
    }
    let mut checked = Vec::with_capacity(given.len());
    for want in wanted() {
        let Some((_, value)) = given.iter().find(|(n, _)| n == want.name) else {
            return Err(bad(format!("{} is missing", want.name)));
        };
        let value = match service.variable(want.variable) {
            Some(variable) => check_value(variable, value)
                .map_err(|code| UpnpError::with(code, format!("{}: {}", code.name(), want.name)))?,
            None => value.clone(),
        };
        checked.push((want.name.to_owned(), value));
    }
    Ok(checked)
}

/// A name from outside as it may stand in a fault.
fn printable(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric() || "_-.".contains(*c)).take(64).collect()
}

/// A value in its one spelling, or the error it deserves.
pub fn check_value(variable: &VariableDecl, value: &str) -> Result<String, ErrorCode> {
    let trimmed = value.trim();
    let value = match variable.data_type {
        DataType::String if value.len() > STRING_ARGUMENT_BYTES_MAX => return Err(ErrorCode::STRING_ARGUMENT_TOO_LONG),
        // White space around a word of a list is layout, in free text it is text.
        DataType::String if matches!(variable.allowed, Allowed::List(_)) => trimmed.to_owned(),
        DataType::String => value.to_owned(),
        DataType::Ui4 => number(trimmed, 0, u32::MAX.into())?.to_string(),
        DataType::I4 => number(trimmed, i32::MIN.into(), i32::MAX.into())?.to_string(),
        DataType::Boolean => match trimmed {
            "0" => "0".to_owned(),
            "1" => "1".to_owned(),
            t if t.eq_ignore_ascii_case("true") || t.eq_ignore_ascii_case("yes") => "1".to_owned(),
            t if t.eq_ignore_ascii_case("false") || t.eq_ignore_ascii_case("no") => "0".to_owned(),
            _ => return Err(ErrorCode::INVALID_ARGS),
        },
        DataType::Time => time(trimmed)?,
    };
    match variable.allowed {
        Allowed::Any => Ok(value),
        Allowed::List(words) if words.contains(&&*value) => Ok(value),
        Allowed::Range(from, to, step) => {
            let n: i64 = value.parse().map_err(|_| ErrorCode::INVALID_ARGS)?;
            match n {
                n if n < from || n > to => Err(ErrorCode::ARGUMENT_VALUE_OUT_OF_RANGE),
                n if step > 1 && n.wrapping_sub(from) % step != 0 => Err(ErrorCode::ARGUMENT_VALUE_INVALID),
                _ => Ok(value),
            }
        }
        Allowed::List(_) => Err(ErrorCode::ARGUMENT_VALUE_OUT_OF_RANGE),
    }
}

fn number(text: &str, from: i64, to: i64) -> Result<i64, ErrorCode> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ErrorCode::INVALID_ARGS);
    }
    match text.parse::<i64>() {
        Ok(n) if (from..=to).contains(&n) => Ok(n),
        _ => Err(ErrorCode::ARGUMENT_VALUE_INVALID),
    }
}

fn time(text: &str) -> Result<String, ErrorCode> {
    let b = text.as_bytes();
    let shape = b.len() == 8
        && b.iter().enumerate().all(|(i, b)| if i == 2 || i == 5 { *b == b':' } else { b.is_ascii_digit() });
    if !shape {
        return Err(ErrorCode::INVALID_ARGS);
    }
    let two = |i: usize| (b[i] - b'0') * 10 + (b[i + 1] - b'0');
    if two(0) < 24 && two(3) < 60 && two(6) < 60 { Ok(text.to_owned()) } else { Err(ErrorCode::ARGUMENT_VALUE_INVALID) }
}

fn envelope(fill: impl FnOnce(&mut Writer)) -> Bytes {
    let mut w = Writer::document();
    w.start("s:Envelope", &[("xmlns:s", ENVELOPE), ("s:encodingStyle", ENCODING)]).start("s:Body", &[]);
    fill(&mut w);
    w.end("s:Body").end("s:Envelope");
    w.finish().into()
}

/// A body with one element of the service, which holds the arguments.
fn element_of<'a>(service_type: &str, element: &str, arguments: impl Iterator<Item = (&'a str, &'a str)>) -> Bytes {
    envelope(|w| {
        w.start(element, &[("xmlns:u", service_type)]);
        for (name, value) in arguments {
            w.leaf(name, value);
        }
        w.end(element);
    })
}

/// The body of a response; `arguments` in declared order.
pub fn write_response(service_type: &str, action: &str, arguments: &[(&str, &str)]) -> Bytes {
    element_of(service_type, &format!("u:{action}Response"), arguments.iter().copied())
}

/// The body of a fault that carries a UPnPError; goes with status 500.
pub fn write_fault(error: &UpnpError) -> Bytes {
    let description = if error.description.is_empty() { error.code.name() } else { &error.description };
    envelope(|w| {
        w.start("s:Fault", &[]).leaf("faultcode", "s:Client").leaf("faultstring", "UPnPError").start("detail", &[]);
        w.start("UPnPError", &[("xmlns", CONTROL)]);
        w.leaf("errorCode", &error.code.to_string()).leaf("errorDescription", description);
        w.end("UPnPError").end("detail").end("s:Fault");
    })
}

/// The body of the fault for a header block that is not understood (SOAP 1.1, 4.4.1); goes with status 500.
pub fn write_must_understand() -> Bytes {
    envelope(|w| {
        w.start("s:Fault", &[]).leaf("faultcode", "s:MustUnderstand").leaf("faultstring", "SOAP Must Understand Error");
        w.end("s:Fault");
    })
}

/// The body of a request; `arguments` in the order of the SCPD. The caller adds `SOAPACTION: "TYPE#ACTION"` and
/// `Content-Type: text/xml; charset="utf-8"`.
pub fn write_request(service_type: &str, action: &str, arguments: &[(String, String)]) -> Bytes {
    element_of(service_type, &format!("u:{action}"), arguments.iter().map(|(n, v)| (n.as_str(), v.as_str())))
}

/// Why a call has no result.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SoapError {
    /// The device refused.
    #[error(transparent)]
    Fault(UpnpError),
    /// A status other than 2xx, and no fault in the body (async_upnp_client answers an unknown action so).
    #[error("status {0} without a fault")]
    Status(u16),
    /// Status 2xx, and a body that is no XML.
    #[error("the answer is not usable XML")]
    Xml(#[source] XmlError),
    /// Status 2xx, and XML without an answer to the action.
    #[error("the answer is of another action")]
    OtherAction,
}

/// Reads the answer to a call: the OUT arguments in the order they came. The body is judged before the status, so that a
/// fault is seen whatever status it came with; prefixes and namespaces are not looked at.
pub fn parse_response(status: StatusCode, body: &[u8], action: &str) -> Result<Vec<(String, String)>, SoapError> {
    let root = match xml::parse(body, Caps::SOAP_LENIENT) {
        Ok(root) => root,
        Err(_) if !status.is_success() => return Err(SoapError::Status(status.as_u16())),
        Err(e) => return Err(SoapError::Xml(e)),
    };
    let soap_body = root.child("Body");
    if let Some(fault) = soap_body.and_then(|b| b.child("Fault")).or_else(|| root.find("UPnPError")) {
        return Err(SoapError::Fault(fault_error(fault)));
    }
    if !status.is_success() {
        return Err(SoapError::Status(status.as_u16()));
    }
    let answer = soap_body.and_then(|b| b.children().first()).ok_or(SoapError::OtherAction)?;
    if answer.name().strip_suffix("Response") != Some(action) {
        return Err(SoapError::OtherAction);
    }
    let arguments = answer.children().iter().take(ARGUMENTS_MAX);
    Ok(arguments.map(|a| (a.name().to_owned(), a.text().to_owned())).collect())
}

fn fault_error(fault: &Element) -> UpnpError {
    let text = |name| fault.find(name).map(|e| e.text().trim()).filter(|t| !t.is_empty());
    // A fault without a code of UPnP says only that it failed.
    let code = text("errorCode").and_then(|c| c.parse().ok()).map_or(ErrorCode::ACTION_FAILED, ErrorCode);
    match text("errorDescription").or_else(|| text("faultstring")) {
        Some(words) => {
            UpnpError::with(code, &words[..words.floor_char_boundary(crate::limits::DESCRIPTION_TEXT_BYTES_MAX)])
        }
        None => UpnpError::new(code),
    }
}
