//! Service description (UDA 1.1, 2.5): written from a [`ServiceDecl`], read leniently from a foreign device.

use crate::limits::{ACTIONS_MAX, ARGUMENTS_MAX, DESCRIPTION_TEXT_BYTES_MAX, XML_ELEMENTS_MAX};
use crate::service::{Allowed, Direction, Eventing, ServiceDecl, VariableDecl};
use crate::xml::{self, Caps, Element, Writer, XmlError};

/// Namespace of a service description.
pub const NAMESPACE: &str = "urn:schemas-upnp-org:service-1-0";

/// Why a service description was not taken.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ScpdError {
    /// Not XML, or XML beyond the caps.
    #[error("the service description is not usable XML")]
    Xml(#[from] XmlError),
    /// XML of something else.
    #[error("not a service description")]
    NotAnScpd,
    /// More than [`ACTIONS_MAX`] actions, or more than [`ARGUMENTS_MAX`] arguments of one.
    #[error("more than {ACTIONS_MAX} actions or {ARGUMENTS_MAX} arguments")]
    TooMany,
}

/// What a service can do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scpd {
    /// Actions in document order.
    pub actions: Vec<ScpdAction>,
    /// State variables in document order.
    pub variables: Vec<ScpdVariable>,
}

/// An action of a foreign service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScpdAction {
    /// Name.
    pub name: String,
    /// Arguments in document order.
    pub arguments: Vec<ScpdArgument>,
}

/// An argument of a foreign action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScpdArgument {
    /// Name.
    pub name: String,
    /// To the device or back.
    pub direction: Direction,
    /// The state variable that gives its type.
    pub variable: String,
}

/// A state variable of a foreign service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScpdVariable {
    /// Name.
    pub name: String,
    /// `dataType` as written.
    pub data_type: String,
    /// `sendEvents`; `yes` where the attribute is missing (UDA 1.1, 2.5).
    pub send_events: bool,
    /// `multicast`.
    pub multicast: bool,
    /// `allowedValueList`; empty for none.
    pub allowed: Vec<String>,
    /// `allowedValueRange`: minimum and maximum as written.
    pub range: Option<(String, String)>,
}

/// Reads a service description. Elements it does not know are passed over; an action without a name likewise.
pub fn parse(bytes: &[u8]) -> Result<Scpd, ScpdError> {
    let root = xml::parse(bytes, Caps::DESCRIPTION)?;
    if root.name() != "scpd" {
        return Err(ScpdError::NotAnScpd);
    }
    let mut scpd = Scpd::default();
    for action in root.child("actionList").into_iter().flat_map(|l| l.children_named("action")) {
        let Some(name) = action.child_text("name") else { continue };
        let list = action.child("argumentList");
        let arguments: Vec<_> =
            list.into_iter().flat_map(|l| l.children_named("argument")).filter_map(argument).collect();
        if scpd.actions.len() >= ACTIONS_MAX || arguments.len() > ARGUMENTS_MAX {
            return Err(ScpdError::TooMany);
        }
        scpd.actions.push(ScpdAction { name: cut(name), arguments });
    }
    let table = root.child("serviceStateTable");
    // Bounded by the elements of a document.
    const { assert!(XML_ELEMENTS_MAX <= 1 << 16) };
    scpd.variables = table.into_iter().flat_map(|t| t.children_named("stateVariable")).filter_map(variable).collect();
    Ok(scpd)
}

fn argument(argument: &Element) -> Option<ScpdArgument> {
    let direction = match argument.child_text("direction")? {
        d if d.eq_ignore_ascii_case("in") => Direction::In,
        d if d.eq_ignore_ascii_case("out") => Direction::Out,
        _ => return None,
    };
    let variable = argument.child_text("relatedStateVariable").unwrap_or_default();
    Some(ScpdArgument { name: cut(argument.child_text("name")?), direction, variable: cut(variable) })
}

fn variable(variable: &Element) -> Option<ScpdVariable> {
    let yes = |name, default| match variable.attribute(name) {
        Some(v) => ["yes", "1", "true"].iter().any(|y| v.trim().eq_ignore_ascii_case(y)),
        None => default,
    };
    let allowed = variable.child("allowedValueList").into_iter().flat_map(|l| l.children_named("allowedValue"));
    let range = variable.child("allowedValueRange");
    Some(ScpdVariable {
        name: cut(variable.child_text("name")?),
        data_type: cut(variable.child_text("dataType").unwrap_or_default()),
        send_events: yes("sendEvents", true),
        multicast: yes("multicast", false),
        allowed: allowed.map(|v| cut(v.text().trim())).collect(),
        range: range.and_then(|r| Some((cut(r.child_text("minimum")?), cut(r.child_text("maximum")?)))),
    })
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(DESCRIPTION_TEXT_BYTES_MAX)].to_owned()
}

/// Writes the SCPD of a service, without `configId`.
pub fn write(service: &ServiceDecl) -> String {
    write_configured(service, None)
}

/// Writes the SCPD of a service with the `configId` of the device it belongs to.
pub fn write_configured(service: &ServiceDecl, config_id: Option<u32>) -> String {
    let id = config_id.map(|id| id.to_string());
    let mut attributes = vec![("xmlns", NAMESPACE)];
    attributes.extend(id.as_deref().map(|id| ("configId", id)));
    let mut w = Writer::document();
    w.start("scpd", &attributes);
    w.start("specVersion", &[]).leaf("major", "1").leaf("minor", "1").end("specVersion");
    if !service.actions.is_empty() {
        w.start("actionList", &[]);
        for action in service.actions {
            w.start("action", &[]).leaf("name", action.name);
            if !action.arguments.is_empty() {
                w.start("argumentList", &[]);
                for argument in action.arguments {
                    let direction = match argument.direction {
                        Direction::In => "in",
                        Direction::Out => "out",
                    };
                    w.start("argument", &[]).leaf("name", argument.name).leaf("direction", direction);
                    w.leaf("relatedStateVariable", argument.variable).end("argument");
                }
                w.end("argumentList");
            }
            w.end("action");
        }
        w.end("actionList");
    }
    w.start("serviceStateTable", &[]);
    for variable in service.variables {
        write_variable(&mut w, variable);
    }
    w.end("serviceStateTable").end("scpd");
    w.finish()
}

fn write_variable(w: &mut Writer, variable: &VariableDecl) {
    let attributes: &[(&str, &str)] = match variable.eventing {
        Eventing::No => &[("sendEvents", "no")],
        Eventing::Unicast => &[("sendEvents", "yes")],
        Eventing::Multicast => &[("sendEvents", "yes"), ("multicast", "yes")],
    };
    w.start("stateVariable", attributes).leaf("name", variable.name).leaf("dataType", variable.data_type.name());
    match variable.allowed {
        Allowed::Any => {}
        Allowed::List(words) => {
            w.start("allowedValueList", &[]);
            for word in words {
                w.leaf("allowedValue", word);
            }
            w.end("allowedValueList");
        }
        Allowed::Range(from, to, step) => {
            w.start("allowedValueRange", &[]).leaf("minimum", &from.to_string()).leaf("maximum", &to.to_string());
            w.leaf("step", &step.to_string()).end("allowedValueRange");
        }
    }
    w.end("stateVariable");
}
