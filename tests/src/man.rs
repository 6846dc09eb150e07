//! Man pages from Markdown: `docs/man/NAME.SECTION.md` becomes `docs/man/NAME.SECTION`.

use std::path::Path;

use anyhow::{Context, bail};

/// The roff page of a Markdown source whose file name is `NAME.SECTION.md`.
pub fn page(source: &Path, text: &str) -> anyhow::Result<String> {
    let file = source.file_name().and_then(|n| n.to_str()).context("a file name")?;
    let stem = file.strip_suffix(".md").with_context(|| format!("{file} does not end in .md"))?;
    let (name, section) = stem.rsplit_once('.').with_context(|| format!("{file} names no section"))?;
    let section: u8 = section.parse().with_context(|| format!("section of {file}"))?;
    if !text.starts_with("# ") {
        bail!("{file} does not start with a title line");
    }
    Ok(mandown::convert(text, name, section))
}
