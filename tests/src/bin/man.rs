//! Builds the man pages of `docs/man`.

use anyhow::Context;

fn main() -> anyhow::Result<()> {
    for entry in std::fs::read_dir("docs/man").context("docs/man: run from the top of the tree")? {
        let source = entry?.path();
        if source.extension().is_some_and(|e| e == "md") {
            let page = house_tests::man::page(&source, &std::fs::read_to_string(&source)?)?;
            std::fs::write(source.with_extension(""), page)?;
        }
    }
    Ok(())
}
