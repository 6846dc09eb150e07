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
    Ok(spaced(&mandown::convert(text, name, section)))
}

/// A paragraph of its own for each term of a list of definitions, which would stand at the end of the paragraph before.
fn spaced(page: &str) -> String {
    let mut out = String::with_capacity(page.len() * 2);
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        if !line.starts_with('.') && lines.peek() == Some(&".RS") {
            out.push_str(".PP\n");
        }
        out.push_str(line);
        out.push('\n');
    }
    out
}
