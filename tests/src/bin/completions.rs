//! Builds the completion scripts of `packaging/completions`; the programs have to be built.

use anyhow::Context;
use house_tests::completions;

fn main() -> anyhow::Result<()> {
    let me = std::env::current_exe().context("the path of this program")?;
    let built = me.parent().context("a directory of programs")?;
    for program in completions::PROGRAMS {
        for shell in completions::SHELLS {
            let path = completions::path(program, shell);
            let script = completions::script(program, shell, built)?;
            let dir = path.parent().context("a directory of scripts")?;
            std::fs::create_dir_all(dir).with_context(|| format!("{}: run from the top of the tree", dir.display()))?;
            std::fs::write(&path, script).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}
