//! The body of an event: `e:propertyset` with one `e:property` per variable (UDA 1.1, 4.2.1).

use bytes::Bytes;

use crate::limits::PROPERTIES_MAX;
use crate::xml::{self, Caps, Writer, XmlError};

/// Namespace of the property set.
pub const NAMESPACE: &str = "urn:schemas-upnp-org:event-1-0";

/// Why an event's body was not taken.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PropertySetError {
    /// Not XML, or XML beyond the caps.
    #[error("the event is not usable XML")]
    Xml(#[from] XmlError),
    /// XML of something else.
    #[error("not a propertyset")]
    NotAPropertySet,
    /// More than [`PROPERTIES_MAX`] properties.
    #[error("more than {PROPERTIES_MAX} properties")]
    TooMany,
}

/// Reads an event's variables in document order. Prefixes and namespaces are not looked at; `property` elements may hold
/// several variables, as some devices write them.
pub fn parse(body: &[u8]) -> Result<Vec<(String, String)>, PropertySetError> {
    let root = xml::parse(body, Caps::EVENT)?;
    if root.name() != "propertyset" {
        return Err(PropertySetError::NotAPropertySet);
    }
    let mut variables = Vec::new();
    for variable in root.children_named("property").flat_map(|p| p.children()) {
        if variables.len() >= PROPERTIES_MAX {
            return Err(PropertySetError::TooMany);
        }
        variables.push((variable.name().to_owned(), variable.text().to_owned()));
    }
    Ok(variables)
}

/// Writes an event's body; names and values in the given order.
pub fn write(variables: &[(&str, &str)]) -> Bytes {
    let mut w = Writer::document();
    w.start("e:propertyset", &[("xmlns:e", NAMESPACE)]);
    for (name, value) in variables {
        w.start("e:property", &[]).leaf(name, value).end("e:property");
    }
    w.end("e:propertyset");
    w.finish().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let body = write(&[("PowerState", "Standby"), ("LastRefusal", "801 GoToStandby <busy> & \"late\"\r\n")]);
        let read = parse(&body).unwrap();
        assert_eq!(read[0], ("PowerState".to_owned(), "Standby".to_owned()));
        assert_eq!(read[1].1, "801 GoToStandby <busy> & \"late\"\r\n");
    }

    #[test]
    fn other_prefixes_and_a_default_namespace_are_read() {
        for body in [
            r#"<propertyset xmlns="urn:schemas-upnp-org:event-1-0"><property><Status>False</Status></property></propertyset>"#,
            r#"<s:propertyset xmlns:s="urn:schemas-upnp-org:event-1-0"> <s:property> <Status>False</Status> </s:property> </s:propertyset>"#,
            "<e:propertyset><e:property><Status>False</Status></e:property></e:propertyset>\0",
        ] {
            assert_eq!(parse(body.as_bytes()).unwrap(), [("Status".to_owned(), "False".to_owned())], "{body}");
        }
    }

    #[test]
    fn something_else_is_refused() {
        assert!(matches!(parse(b"<root/>"), Err(PropertySetError::NotAPropertySet)));
        assert!(matches!(parse(b""), Err(PropertySetError::Xml(_))));
        let many = "<p><a/></p>".replace('p', "property").repeat(PROPERTIES_MAX + 1);
        assert!(matches!(
            parse(format!("<propertyset>{many}</propertyset>").as_bytes()),
            Err(PropertySetError::TooMany)
        ));
    }
}
