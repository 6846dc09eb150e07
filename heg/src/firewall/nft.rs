//! `nft -j`, the one way to the kernel's rules. IO. Bounded in time and in what is read of its output; what it refuses changes
//! nothing, since the kernel takes a transaction whole or not at all.

use std::collections::BTreeSet;
use std::io;
use std::process::Stdio;

use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::time::timeout;

use super::ruleset::{Count, Counts, Feature, Plan, TABLE, going_on, probe, removal};
use crate::limits::{NFT_OUTPUT_BYTES_MAX, NFT_WITHIN, REASON_BYTES_MAX, bounded};

const PROGRAM: &str = "nft";

/// Why rules are not in place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NftError {
    /// The program is not there.
    #[error("nft is not installed; install the package nftables")]
    Missing,
    /// It could not be run.
    #[error("nft could not be run")]
    Run(#[source] io::Error),
    /// It did not end in time and was killed.
    #[error("nft did not end within {} s", NFT_WITHIN.as_secs())]
    TimedOut,
    /// It said no.
    #[error("nft refused: {0}")]
    Refused(Box<str>),
    /// What it printed is no JSON of the kind expected.
    #[error("nft printed something unexpected")]
    Output(#[source] serde_json::Error),
}

impl From<io::Error> for NftError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound { Self::Missing } else { Self::Run(error) }
    }
}

/// What is in the kernel after a replacement.
#[derive(Clone, Debug)]
pub struct Replaced {
    /// What the kernel could take.
    pub features: BTreeSet<Feature>,
    /// Where the counters went on from.
    pub counts: Counts,
}

/// Puts the table in place of whatever table of ours is there, in one transaction. Features that this kernel does not have are
/// left out. Its counters go on from those in the kernel, or from what is `known` of them where somebody has taken the table away.
///
/// # Errors
/// Why not; the kernel then has what it had.
pub async fn replace(plan: &Plan, mark: &str, known: &Counts) -> Result<Replaced, NftError> {
    let counts = going_on(counts().await?.unwrap_or_default(), known);
    let mut features = BTreeSet::from(Feature::ALL);
    match apply(&plan.replacement(&features, &counts, mark)).await {
        Err(NftError::Refused(why)) => {
            for feature in Feature::ALL {
                if let Err(NftError::Refused(why)) = run(&["-c", "-j", "-f", "-"], &probe(feature)).await {
                    tracing::warn!(lack = feature.lack(), %why, "this kernel cannot");
                    features.remove(&feature);
                }
            }
            if features.len() == Feature::ALL.len() {
                return Err(NftError::Refused(why));
            }
            apply(&plan.replacement(&features, &counts, mark)).await?;
        }
        other => other?,
    }
    Ok(Replaced { features, counts })
}

/// Carries a transaction out.
///
/// # Errors
/// Why not; the kernel then has what it had.
pub async fn apply(transaction: &str) -> Result<(), NftError> {
    run(&["-j", "-f", "-"], transaction).await.map(drop)
}

/// Takes our table away; it need not be there.
///
/// # Errors
/// Why not.
pub async fn remove() -> Result<(), NftError> {
    apply(&removal()).await
}

/// Our counters; `None` when our table is not there.
///
/// # Errors
/// `nft` cannot be run or understood.
pub async fn counts() -> Result<Option<Counts>, NftError> {
    match run(&["-j", "list", "counters", "table", "inet", TABLE], "").await {
        Ok(text) => read_counts(&text).map(Some),
        // What exactly it says differs between versions; that it can be asked at all is known from the next call.
        Err(NftError::Refused(why)) if why.contains("No such file") => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether rules of ours are there, older ones included. Where `nft` does not even say that, there are none to be relied on.
pub async fn is_guarded() -> bool {
    matches!(counts().await, Ok(Some(_)))
}

/// The counters in a listing of `nft -j`.
///
/// # Errors
/// It is no such listing.
pub fn read_counts(text: &str) -> Result<Counts, NftError> {
    #[derive(Deserialize)]
    struct Listing {
        nftables: Vec<Object>,
    }
    #[derive(Deserialize)]
    struct Object {
        counter: Option<Counter>,
    }
    #[derive(Deserialize)]
    struct Counter {
        name: String,
        packets: u64,
        bytes: u64,
    }
    let listing: Listing = serde_json::from_str(text).map_err(NftError::Output)?;
    let counters = listing.nftables.into_iter().filter_map(|object| object.counter);
    Ok(counters.map(|c| (c.name, Count { packets: c.packets, bytes: c.bytes })).collect())
}

async fn run(arguments: &[&str], input: &str) -> Result<String, NftError> {
    let mut child = Command::new(PROGRAM)
        .args(arguments)
        // Its messages are looked into.
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let talk = async {
        let write = async {
            if let Some(mut stdin) = stdin {
                // One that ends early says why on its error output.
                let _gone = stdin.write_all(input.as_bytes()).await;
            }
        };
        let ((), out, err) = tokio::join!(write, read(stdout), read(stderr));
        let status = child.wait().await?;
        io::Result::Ok((status, out?, err?))
    };
    let (status, out, err) = timeout(NFT_WITHIN, talk).await.map_err(|_| NftError::TimedOut)??;
    if status.success() {
        return Ok(out);
    }
    let why = if err.trim().is_empty() { format!("{status}") } else { err };
    Err(NftError::Refused(bounded(why.trim(), REASON_BYTES_MAX)))
}

async fn read(stream: Option<impl AsyncRead + Unpin>) -> io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        stream.take(NFT_OUTPUT_BYTES_MAX as u64).read_to_end(&mut bytes).await?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_beyond_32_bits_are_read_and_other_objects_passed_over() {
        let text = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}},
            {"counter": {"family": "inet", "name": "dropped_wan", "table": "heg", "handle": 3, "packets": 7, "bytes": 5000000000}},
            {"table": {"family": "inet", "name": "heg"}}]}"#;
        let counts = read_counts(text).unwrap();
        assert_eq!(counts, Counts::from([("dropped_wan".to_owned(), Count { packets: 7, bytes: 5_000_000_000 })]));
        assert!(matches!(read_counts("table inet heg {"), Err(NftError::Output(_))));
    }
}
