//! One TOML file per daemon. An empty or missing default file means defaults; anything wrong is an error that names
//! file, line, column and key, and is fatal: a daemon never runs on half of its configuration.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::exit::Exit;
use crate::limits::{CONFIG_BYTES_MAX, SUGGESTION_EDITS_MAX};

/// Why a configuration was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file is there or was named, and cannot be read.
    #[error("cannot read configuration {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is larger than any configuration.
    #[error("configuration {path} is larger than {CONFIG_BYTES_MAX} bytes", path = path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Not TOML, an unknown key, or a value that its key does not take.
    #[error("{path}:{line}:{column}: {key}{message}", path = path.display(), key = key_prefix(key))]
    Content {
        /// The file.
        path: PathBuf,
        /// Line from 1.
        line: usize,
        /// Column in characters from 1.
        column: usize,
        /// Dotted key, empty where there is none (broken syntax).
        key: String,
        /// What is wrong, for people.
        message: String,
    },
    /// Each key is right by itself; together they are not.
    #[error("{path}: {key}: {message}", path = path.display())]
    Conflict {
        /// The file.
        path: PathBuf,
        /// Dotted key to be changed.
        key: String,
        /// What is wrong, for people.
        message: String,
    },
}

fn key_prefix(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!("{key}: ") }
}

impl ConfigError {
    /// A conflict between keys, found by the daemon's own check after loading.
    pub fn conflict(path: &Path, key: &str, message: impl Into<String>) -> Self {
        Self::Conflict { path: path.to_owned(), key: key.to_owned(), message: message.into() }
    }

    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Read { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Exit::NoPerm,
            Self::Read { .. } => Exit::NoInput,
            _ => Exit::Config,
        }
    }
}

/// Reads the file that was named, else the default file. Only a missing *default* file means defaults.
pub fn load<T: DeserializeOwned + Default>(named: Option<&Path>, default_path: &Path) -> Result<T, ConfigError> {
    let path = named.unwrap_or(default_path);
    match read(path) {
        Ok(text) => parse(&text, path),
        Err(ConfigError::Read { source, .. }) if named.is_none() && source.kind() == io::ErrorKind::NotFound => {
            Ok(T::default())
        }
        Err(error) => Err(error),
    }
}

/// Reads a configuration text; `path` is for error messages only.
pub fn parse<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| content_error(&error, text, path))
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(CONFIG_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > CONFIG_BYTES_MAX {
        return Err(ConfigError::TooLarge { path: path.to_owned() });
    }
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(&error.as_bytes()[..offset]).into_owned();
        let (line, column) = position(&text, offset);
        ConfigError::Content {
            path: path.to_owned(),
            line,
            column,
            key: String::new(),
            message: "not UTF-8 text".to_owned(),
        }
    })
}

fn content_error(error: &toml::de::Error, text: &str, path: &Path) -> ConfigError {
    let (line, column) = position(text, error.span().map_or(0, |span| span.start));
    let mut key = key_path(error);
    let mut message = error.message().trim_end().to_owned();
    if key.is_empty() && message == "duplicate key" {
        // The parser points at it and does not say it.
        key = error.span().and_then(|span| text.get(span)).unwrap_or_default().trim().to_owned();
    }
    if let Some((unknown, known)) = unknown_field(&message) {
        let dot = if key.is_empty() || key == unknown || key.ends_with(&format!(".{unknown}")) { "" } else { "." };
        if dot == "." {
            key = format!("{key}.{unknown}");
        } else if key.is_empty() {
            key = unknown.to_owned();
        }
        let mut text = "unknown key".to_owned();
        if let Some(nearest) = nearest(unknown, &known) {
            // Writing to a String cannot fail.
            let _ = write!(text, ", did you mean `{nearest}`?");
        }
        if !known.is_empty() {
            let _ = write!(text, " (known here: {})", known.join(", "));
        }
        message = text;
    }
    ConfigError::Content { path: path.to_owned(), line, column, key, message }
}

/// Line and column, both from 1, of a byte offset.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// The dotted key of an error. toml shows it only in the text of an error without its input: `...\nin `a.b`\n`.
fn key_path(error: &toml::de::Error) -> String {
    let mut bare = error.clone();
    bare.set_input(None);
    let text = bare.to_string();
    let last = text.trim_end().lines().next_back().unwrap_or_default();
    last.strip_prefix("in `").and_then(|rest| rest.strip_suffix('`')).unwrap_or_default().to_owned()
}

/// Takes serde's words for an unknown field apart: the field, and those expected.
fn unknown_field(message: &str) -> Option<(&str, Vec<&str>)> {
    let rest = message.strip_prefix("unknown field `")?;
    let (unknown, rest) = rest.split_once('`')?;
    let known = rest.split('`').skip(1).step_by(2).collect();
    Some((unknown, known))
}

fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let bound = SUGGESTION_EDITS_MAX.min(word.chars().count() / 2);
    known.iter().map(|&k| (edits(word, k), k)).filter(|&(d, _)| d <= bound).min().map(|(_, k)| k)
}

/// Levenshtein distance: letters put in, taken out or changed.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
    struct Sample {
        http_port: u16,
        safety: Safety,
        unit: Vec<Unit>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
    struct Safety {
        minimum_on_s: u32,
        battery: u8,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Unit {
        name: String,
    }

    fn wrong(text: &str) -> String {
        parse::<Sample>(text, Path::new("/etc/x.toml")).unwrap_err().to_string()
    }

    #[test]
    fn an_empty_text_is_the_default() {
        assert_eq!(parse::<Sample>("", Path::new("x")).unwrap(), Sample::default());
    }

    #[test]
    fn a_wrong_value_is_named_with_file_line_column_and_key() {
        assert_eq!(
            wrong("http-port = 80\n[safety]\n  battery = 300\n"),
            "/etc/x.toml:3:13: safety.battery: invalid value: integer `300`, expected u8"
        );
        let message = wrong("[[unit]]\nname = 7\n");
        assert!(message.starts_with("/etc/x.toml:2:8: unit"), "{message}");
        assert!(message.contains("name: invalid type: integer `7`, expected a string"), "{message}");
    }

    #[test]
    fn an_unknown_key_is_named_with_the_nearest_known_one() {
        assert_eq!(
            wrong("\nhttp-prot = 80\n"),
            "/etc/x.toml:2:1: http-prot: unknown key, did you mean `http-port`? (known here: http-port, safety, unit)"
        );
        assert_eq!(
            wrong("[safety]\nzebra = 1\n"),
            "/etc/x.toml:2:1: safety.zebra: unknown key (known here: minimum-on-s, battery)"
        );
    }

    #[test]
    fn broken_syntax_is_named_with_its_place() {
        let message = wrong("http-port = 80\n[safety\n");
        assert!(message.starts_with("/etc/x.toml:2:8: "), "{message}");
        assert!(message.ends_with("expected `]`"), "{message}");
        assert_eq!(wrong("a = 1\na = 2\n"), "/etc/x.toml:2:1: a: duplicate key");
    }

    #[test]
    fn only_a_missing_default_file_means_defaults() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("none.toml");
        assert_eq!(load::<Sample>(None, &missing).unwrap(), Sample::default());
        let error = load::<Sample>(Some(&missing), &missing).unwrap_err();
        assert!(matches!(error, ConfigError::Read { .. }), "{error}");
        assert_eq!(error.exit(), Exit::NoInput);
        // A directory stands for a file that is there and cannot be read (root may read every mode).
        assert!(matches!(load::<Sample>(None, dir.path()), Err(ConfigError::Read { .. })));
    }

    #[test]
    fn a_huge_or_binary_file_is_refused_without_being_swallowed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.toml");
        fs::write(&path, vec![b'#'; CONFIG_BYTES_MAX as usize + 1]).unwrap();
        assert!(matches!(load::<Sample>(None, &path), Err(ConfigError::TooLarge { .. })));
        fs::write(&path, b"http-port = 1\n#\xff").unwrap();
        assert_eq!(
            load::<Sample>(None, &path).unwrap_err().to_string(),
            format!("{}:2:2: not UTF-8 text", path.display())
        );
    }
}
