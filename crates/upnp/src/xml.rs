//! XML both ways; the only file that touches the XML library.
//!
//! In: a whole document of bounded size becomes a small tree of [`Element`]s. There is no DTD support at all: a DOCTYPE is
//! refused where it is seen, so that no entity can be declared, expanded or fetched. Out: a [`Writer`] that escapes.

use std::borrow::Cow;
use std::sync::Arc;

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use crate::limits::{
    XML_ATTRIBUTES_MAX, XML_DEPTH_MAX, XML_DESCRIPTION_BYTES_MAX, XML_ELEMENTS_MAX, XML_EVENT_BYTES_MAX,
    XML_SOAP_BYTES_MAX,
};

/// Why a document was not taken.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum XmlError {
    /// More bytes than the caller allows.
    #[error("more than {0} bytes")]
    TooLarge(usize),
    /// Elements nested too deep.
    #[error("elements nested deeper than {XML_DEPTH_MAX}")]
    TooDeep,
    /// Too many elements in all.
    #[error("more than {XML_ELEMENTS_MAX} elements")]
    TooManyElements,
    /// Too many attributes on one element.
    #[error("more than {XML_ATTRIBUTES_MAX} attributes on an element")]
    TooManyAttributes,
    /// A document type declaration; none is ever taken.
    #[error("a DOCTYPE is not allowed")]
    DocType,
    /// Bytes that are not UTF-8, or another encoding declared.
    #[error("the encoding is not UTF-8")]
    Encoding,
    /// A character XML 1.0 forbids, or a reference to one.
    #[error("a character that XML does not allow")]
    Character,
    /// A reference to an entity other than the five of XML.
    #[error("an unknown entity")]
    Entity,
    /// No element at all, more than one root, or text beside it.
    #[error("not exactly one root element")]
    Root,
    /// The document is not well-formed.
    #[error("not well-formed at byte {at}")]
    Syntax {
        /// Where.
        at: u64,
        /// The parser's words.
        source: quick_xml::Error,
    },
}

/// How much to take, and how strictly.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// Largest document, bytes.
    pub bytes_max: usize,
    /// Forgive what real devices get wrong: a lone `&`, HTML entities, Latin-1 bytes, NUL bytes at the end.
    pub lenient: bool,
}

impl Caps {
    /// A SOAP request as our device takes it.
    pub const SOAP_STRICT: Self = Self { bytes_max: XML_SOAP_BYTES_MAX, lenient: false };
    /// A SOAP reply as our control point takes it.
    pub const SOAP_LENIENT: Self = Self { bytes_max: XML_SOAP_BYTES_MAX, lenient: true };
    /// A description or SCPD of a foreign device.
    pub const DESCRIPTION: Self = Self { bytes_max: XML_DESCRIPTION_BYTES_MAX, lenient: true };
    /// A property set of a foreign device.
    pub const EVENT: Self = Self { bytes_max: XML_EVENT_BYTES_MAX, lenient: true };
}

/// An element with all below it. Comments and processing instructions are gone; so is white space between elements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    name: Box<str>,
    namespace: Option<Arc<str>>,
    attributes: Vec<(Box<str>, Box<str>)>,
    children: Vec<Element>,
    text: String,
}

impl Element {
    /// Local name, without prefix.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Namespace URI; none where the prefix is undeclared or there is no default namespace.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// The element's own text and CDATA in one piece, references resolved, white space kept.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The first child of that local name, whatever its namespace.
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|c| &*c.name == name)
    }

    /// Trimmed text of the first child of that local name; empty text is none.
    pub fn child_text(&self, name: &str) -> Option<&str> {
        self.child(name).map(|c| c.text.trim()).filter(|t| !t.is_empty())
    }

    /// All child elements in document order.
    pub fn children(&self) -> &[Self] {
        &self.children
    }

    /// Child elements of that local name in document order.
    pub fn children_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |c| &*c.name == name)
    }

    /// The attribute of that local name, whatever its namespace.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(n, _)| &**n == name).map(|(_, v)| &**v)
    }

    /// The first element of that local name among this one and all below it, depth first.
    pub fn find(&self, name: &str) -> Option<&Self> {
        if &*self.name == name { Some(self) } else { self.children.iter().find_map(|c| c.find(name)) }
    }
}

/// Reads a whole document.
pub fn parse(bytes: &[u8], caps: Caps) -> Result<Element, XmlError> {
    if bytes.len() > caps.bytes_max {
        return Err(XmlError::TooLarge(caps.bytes_max));
    }
    let text = decode(bytes, caps.lenient)?;
    let mut reader = Reader::from_str(&text);
    reader.config_mut().allow_dangling_amp = caps.lenient;
    let mut tree = Tree { lenient: caps.lenient, ..Tree::default() };
    loop {
        let event = reader.read_event().map_err(|source| XmlError::Syntax { at: reader.error_position(), source })?;
        match event {
            Event::Start(e) => tree.open(&e)?,
            Event::Empty(e) => {
                tree.open(&e)?;
                tree.close();
            }
            Event::End(_) => tree.close(),
            Event::Text(t) => tree.text(&t.xml10_content())?,
            Event::CData(t) => tree.text(&t.xml10_content())?,
            Event::GeneralRef(r) => {
                let text = resolve(&r, caps.lenient)?;
                tree.text(&text)?;
            }
            Event::DocType(_) => return Err(XmlError::DocType),
            Event::Decl(d) if !caps.lenient => match d.encoding() {
                None => {}
                Some(Ok(name)) if name.eq_ignore_ascii_case("utf-8") || name.eq_ignore_ascii_case("us-ascii") => {}
                Some(_) => return Err(XmlError::Encoding),
            },
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
            Event::Eof => return tree.finish(),
        }
    }
}

fn decode(bytes: &[u8], lenient: bool) -> Result<Cow<'_, str>, XmlError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let bytes = if lenient { without_nul(bytes) } else { bytes };
    let text = match core::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        // Every byte is a character in Latin-1: the usual culprit is a friendlyName with an umlaut.
        Err(_) if lenient => Cow::Owned(bytes.iter().copied().map(char::from).collect()),
        Err(_) => return Err(XmlError::Encoding),
    };
    if !lenient && !text.chars().all(is_xml_char) {
        return Err(XmlError::Character);
    }
    Ok(text)
}

/// Without the NUL bytes some devices send along with their string.
fn without_nul(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|b| *b != 0 && !b.is_ascii_whitespace()).map_or(0, |i| i + 1);
    &bytes[..end]
}

/// `Char` of XML 1.0, 2.2.
fn is_xml_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

fn resolve<'a>(name: &str, lenient: bool) -> Result<Cow<'a, str>, XmlError> {
    let known = match name {
        "lt" => "<",
        "gt" => ">",
        "amp" => "&",
        "apos" => "'",
        "quot" => "\"",
        _ => {
            let number = match name.strip_prefix('#') {
                Some(n) => match n.strip_prefix('x') {
                    Some(hex) if hex.bytes().all(|b| b.is_ascii_hexdigit()) => u32::from_str_radix(hex, 16).ok(),
                    None if n.bytes().all(|b| b.is_ascii_digit()) => n.parse().ok(),
                    _ => None,
                },
                None if lenient => return Ok(format!("&{name};").into()),
                None => return Err(XmlError::Entity),
            };
            return match number.and_then(char::from_u32).filter(|c| is_xml_char(*c)) {
                Some(c) => Ok(c.to_string().into()),
                None if lenient => Ok("\u{fffd}".into()),
                None => Err(XmlError::Character),
            };
        }
    };
    Ok(known.into())
}

#[derive(Default)]
struct Tree {
    lenient: bool,
    open: Vec<Element>,
    root: Option<Element>,
    elements: usize,
    /// Namespace bindings in scope: depth of the declaring element, prefix (empty for the default), URI (empty undeclares).
    bindings: Vec<(usize, Box<str>, Arc<str>)>,
}

impl Tree {
    fn open(&mut self, start: &BytesStart<'_>) -> Result<(), XmlError> {
        if self.open.is_empty() && self.root.is_some() {
            return Err(XmlError::Root);
        }
        if self.open.len() >= XML_DEPTH_MAX {
            return Err(XmlError::TooDeep);
        }
        self.elements += 1;
        if self.elements > XML_ELEMENTS_MAX {
            return Err(XmlError::TooManyElements);
        }
        let depth = self.open.len();
        let mut attributes = Vec::new();
        for (count, attribute) in start.attributes().enumerate() {
            if count >= XML_ATTRIBUTES_MAX {
                return Err(XmlError::TooManyAttributes);
            }
            let attribute = match attribute {
                Ok(a) => a,
                Err(_) if self.lenient => continue,
                Err(e) => return Err(XmlError::Syntax { at: 0, source: e.into() }),
            };
            let value = match attribute.normalized_value(XmlVersion::Implicit1_0) {
                Ok(v) => v,
                Err(_) if self.lenient => attribute.value.clone(),
                Err(_) => return Err(XmlError::Entity),
            };
            let key: &str = attribute.key.as_ref();
            match key.split_once(':') {
                Some(("xmlns", prefix)) => self.bindings.push((depth, prefix.into(), (&*value).into())),
                None if key == "xmlns" => self.bindings.push((depth, "".into(), (&*value).into())),
                Some((_, local)) => attributes.push((local.into(), (&*value).into())),
                None => attributes.push((key.into(), (&*value).into())),
            }
        }
        let name = start.name();
        let name: &str = name.as_ref();
        let (prefix, local) = name.split_once(':').unwrap_or(("", name));
        let namespace = self
            .bindings
            .iter()
            .rev()
            .find(|(_, p, _)| &**p == prefix)
            .map(|(_, _, uri)| uri.clone())
            .filter(|uri| !uri.is_empty());
        if local.is_empty() {
            return Err(XmlError::Character);
        }
        self.open.push(Element { name: local.into(), namespace, attributes, ..Element::default() });
        Ok(())
    }

    fn close(&mut self) {
        let Some(mut done) = self.open.pop() else { return };
        let depth = self.open.len();
        while self.bindings.last().is_some_and(|(d, _, _)| *d >= depth) {
            self.bindings.pop();
        }
        if !done.children.is_empty() && done.text.trim().is_empty() {
            done.text = String::new();
        }
        match self.open.last_mut() {
            Some(parent) => parent.children.push(done),
            None => self.root = Some(done),
        }
    }

    fn text(&mut self, text: &str) -> Result<(), XmlError> {
        match self.open.last_mut() {
            Some(element) => element.text.push_str(text),
            None if self.lenient || text.trim().is_empty() => {}
            None => return Err(XmlError::Root),
        }
        Ok(())
    }

    fn finish(self) -> Result<Element, XmlError> {
        match self.root {
            Some(root) if self.open.is_empty() => Ok(root),
            _ => Err(XmlError::Root),
        }
    }
}

/// Writes a document piece by piece. The caller closes what it opens; text and attribute values are escaped.
#[derive(Debug)]
pub struct Writer {
    out: String,
}

impl Writer {
    /// A document that starts with the XML declaration.
    pub fn document() -> Self {
        let mut out = String::with_capacity(512);
        out.push_str("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n");
        Self { out }
    }

    /// Opens an element.
    pub fn start(&mut self, name: &str, attributes: &[(&str, &str)]) -> &mut Self {
        self.out.push('<');
        self.name(name);
        for (key, value) in attributes {
            self.out.push(' ');
            self.name(key);
            self.out.push_str("=\"");
            escape_into(&mut self.out, value);
            self.out.push('"');
        }
        self.out.push('>');
        self
    }

    /// Closes an element.
    pub fn end(&mut self, name: &str) -> &mut Self {
        self.out.push_str("</");
        self.name(name);
        self.out.push('>');
        self
    }

    /// An element with text alone.
    pub fn leaf(&mut self, name: &str, text: &str) -> &mut Self {
        self.start(name, &[]);
        escape_into(&mut self.out, text);
        self.end(name)
    }

    /// The document.
    pub fn finish(self) -> String {
        self.out
    }

    /// Whatever could end the tag is left out of a name, so that none can smuggle markup in.
    fn name(&mut self, name: &str) {
        self.out.extend(name.chars().filter(|c| c.is_alphanumeric() || ":_-.".contains(*c)));
    }
}

/// Appends `text` with markup characters escaped; characters XML forbids become U+FFFD.
pub fn escape_into(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            // A bare carriage return would be read back as a line feed.
            '\r' => out.push_str("&#13;"),
            c if is_xml_char(c) => out.push(c),
            _ => out.push('\u{fffd}'),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strict(text: &str) -> Result<Element, XmlError> {
        parse(text.as_bytes(), Caps::SOAP_STRICT)
    }

    #[test]
    fn namespaces_are_resolved_where_they_are_declared_and_end_with_their_element() {
        let text = r#"<a xmlns="urn:d" xmlns:p="urn:p"><p:b xmlns:p="urn:q"/><p:c/><d xmlns=""><e/></d><f/></a>"#;
        let root = strict(text).unwrap();
        let namespace = |name| root.find(name).unwrap().namespace();
        assert_eq!(
            ["a", "b", "c", "d", "e", "f"].map(namespace),
            [Some("urn:d"), Some("urn:q"), Some("urn:p"), None, None, Some("urn:d")]
        );
    }

    #[test]
    fn text_is_one_piece_whatever_it_was_made_of() {
        let root = strict("<a> 1&lt;<!-- no -->2<![CDATA[<3>]]>&#52;&#x35;\r\n</a>").unwrap();
        assert_eq!(root.text(), " 1<2<3>45\n");
        let root = strict("<a b='&quot;&#10;'>\n <c/>\n</a>").unwrap();
        assert_eq!((root.text(), root.attribute("b")), ("", Some("\"\n")));
    }

    #[test]
    fn strict_refuses_what_lenient_forgives() {
        let lenient = |bytes: &[u8]| parse(bytes, Caps::DESCRIPTION).unwrap().text().to_owned();
        for (bytes, text) in [
            (&b"<a>b & c</a>"[..], "b & c"),
            (b"<a>&nbsp;</a>", "&nbsp;"),
            (b"<a>&#0;</a>", "\u{fffd}"),
            (b"<a>\xfc</a>", "\u{fc}"),
            (b"<a>x</a>\0\0", "x"),
            (b"<a>x</a> tail", "x"),
        ] {
            assert_eq!(lenient(bytes), text);
            assert!(parse(bytes, Caps::SOAP_STRICT).is_err(), "{text}");
        }
        assert_eq!(lenient(b"\xef\xbb\xbf<a>x</a>"), "x");
    }

    #[test]
    fn errors_say_what_is_wrong() {
        assert!(matches!(strict("<!DOCTYPE a><a/>"), Err(XmlError::DocType)));
        assert!(matches!(strict("<a><!DOCTYPE a></a>"), Err(XmlError::DocType)));
        assert!(matches!(strict("<a>&b;</a>"), Err(XmlError::Entity)));
        assert!(matches!(strict("<a>&#8;</a>"), Err(XmlError::Character)));
        assert!(matches!(strict("<a/><b/>"), Err(XmlError::Root)));
        assert!(matches!(strict("<a>"), Err(XmlError::Root)));
        assert!(matches!(strict("<a></b>"), Err(XmlError::Syntax { .. })));
        assert!(matches!(strict(&"<a>".repeat(50)), Err(XmlError::TooDeep)));
        assert!(matches!(strict(&" ".repeat(XML_SOAP_BYTES_MAX + 1)), Err(XmlError::TooLarge(_))));
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut w = Writer::document();
        w.start("a", &[("b", "<\">&'")]).leaf("c", "\u{1}]]>&\r\n").end("a");
        let root = strict(&w.finish()).unwrap();
        assert_eq!(root.child("c").unwrap().text(), "\u{fffd}]]>&\r\n");
        assert_eq!(root.attribute("b"), Some("<\">&'"));
    }
}
