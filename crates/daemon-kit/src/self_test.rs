//! `PROGRAM self-test`: does this build do on this machine what it is made for? One line per check, for people and scripts.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::exit::Exit;
use crate::identity;

/// A check: what it looks at, and the function that looks, giving what it saw in a few words.
pub type Check = (&'static str, fn() -> anyhow::Result<String>);

/// Runs every check, also after one that failed, and prints what came of it: the build and the machine first.
///
/// # Errors
/// Standard output is gone. A failed check is no error here but [`Exit::Failure`].
pub fn run(program: &str, version: &str, checks: &[Check]) -> anyhow::Result<Exit> {
    let mut out = io::stdout().lock();
    writeln!(out, "{program} {version}: {}", build_and_machine()).context(Exit::IoErr)?;
    let mut exit = Exit::Ok;
    for (name, check) in checks {
        let line = match check() {
            Ok(seen) => format!("{name}: ok, {seen}"),
            Err(error) => {
                exit = Exit::Failure;
                format!("{name}: FAILED, {error:#}")
            }
        };
        writeln!(out, "{line}").context(Exit::IoErr)?;
    }
    Ok(exit)
}

/// For example `built for arm, 32 bits, static; running on Linux 6.1.21 armv6l`.
fn build_and_machine() -> String {
    let mut text = format!("built for {}, {} bits", std::env::consts::ARCH, usize::BITS);
    if cfg!(target_feature = "crt-static") {
        text.push_str(", static");
    }
    if let Ok(name) = nix::sys::utsname::uname() {
        let word = |part: &std::ffi::OsStr| part.to_string_lossy().into_owned();
        let (system, release, machine) = (word(name.sysname()), word(name.release()), word(name.machine()));
        // Writing to a String does not fail.
        let _ = write!(text, "; running on {system} {release} {machine}");
    }
    text
}

/// A directory of a check's own, below the machine's directory for temporary files; gone when dropped.
#[derive(Debug)]
pub struct TemporaryDir(PathBuf);

impl TemporaryDir {
    /// Makes one that nobody else may read.
    ///
    /// # Errors
    /// No random numbers, or the file system's word.
    pub fn new() -> anyhow::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        let path = std::env::temp_dir().join(format!("heg-self-test-{}", identity::random_uuid()?));
        fs::DirBuilder::new().mode(0o700).create(&path).with_context(|| path.display().to_string())?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryDir {
    fn drop(&mut self) {
        // It holds nothing anybody needs, and a failed check has been told of already.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn a_failed_check_makes_the_run_fail_and_hides_no_other() {
        assert_eq!(run("p", "1", &[("a", || Ok("seen".into()))]).unwrap(), Exit::Ok);
        assert_eq!(run("p", "1", &[("a", || bail!("no")), ("b", || Ok("seen".into()))]).unwrap(), Exit::Failure);
        assert!(build_and_machine().contains(std::env::consts::ARCH));
    }

    #[test]
    fn a_temporary_directory_is_private_and_goes_with_its_owner() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = TemporaryDir::new().unwrap();
        let path = dir.path().to_owned();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        fs::write(path.join("file"), "x").unwrap();
        drop(dir);
        assert!(!path.exists());
    }
}
