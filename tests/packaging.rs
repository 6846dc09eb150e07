//! Holds that the Debian packages follow the sources: what debian/ repeats of the workspace is current, and everything that a package is
//! made of is in one. What only a built package can show is held by scripts/check-deb.sh.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{Metadata, MetadataCommand, TargetKind};

/// Crates whose programs are installed.
const INSTALLED: &[&str] = &["heg", "psm-agent", "utility", "kmc"];

/// Names of licences where Debian's differ from SPDX's.
const LICENCES: &[(&str, &str)] = &[
    ("Apache-2.0 WITH LLVM-exception", "Apache-2.0-with-LLVM-exception"),
    ("MIT", "Expat"),
    ("BSD-3-Clause", "BSD-3-clause"),
    ("BSD-2-Clause", "BSD-2-clause"),
    ("/", " or "),
    (" OR ", " or "),
    (") AND ", ", and "),
    (" AND ", " and "),
    ("(", ""),
];

#[test]
fn the_packages_have_the_version_and_the_oldest_compiler_of_the_workspace() {
    let changelog = read("debian/changelog");
    let version = changelog.split(['(', ')']).nth(1).expect("a version in brackets");
    let (upstream, _revision) = version.rsplit_once('-').expect("a Debian revision");
    assert_eq!(upstream, workspace_value("version"), "debian/changelog and Cargo.toml");
    let control = read("debian/control");
    for package in ["cargo:native", "rustc:native", "libstd-rust-dev"] {
        let wanted = format!("{package} (>= {})", workspace_value("rust-version"));
        assert!(control.contains(&wanted), "debian/control lacks {wanted}");
    }
}

#[test]
fn debian_copyright_names_every_crate_of_the_lock_file_with_its_licence() {
    let copyright = read("debian/copyright");
    let mut listed = BTreeMap::new();
    let mut paragraphs = BTreeSet::new();
    for stanza in copyright.split("\n\n") {
        let licence = stanza.lines().find_map(|l| l.strip_prefix("License: ")).unwrap_or_default();
        if stanza.starts_with("License: ") {
            paragraphs.insert(licence);
        }
        for file in stanza.lines().filter_map(|l| l.trim_start_matches("Files:").trim().strip_prefix("vendor/")) {
            if let Some(crate_version) = file.strip_suffix("/*") {
                listed.insert(crate_version.to_owned(), licence.to_owned());
            }
        }
    }
    let lock: toml::Table = read("Cargo.lock").parse().expect("Cargo.lock is TOML");
    let locked: BTreeSet<String> = lock["package"]
        .as_array()
        .expect("packages")
        .iter()
        .filter(|p| p.get("source").is_some())
        .map(|p| format!("{}-{}", text_of(p, "name"), text_of(p, "version")))
        .collect();
    assert!(locked.len() > 100, "only {} crates in Cargo.lock", locked.len());
    let listed_names: BTreeSet<String> = listed.keys().cloned().collect();
    let wrong: Vec<_> = locked.symmetric_difference(&listed_names).collect();
    assert!(wrong.is_empty(), "debian/copyright is not of this Cargo.lock, run `make copyright`: {wrong:?}");
    for package in metadata().packages.iter().filter(|p| p.source.is_some()) {
        let said = package.license.as_deref().expect("every crate names a licence");
        let debian = LICENCES.iter().fold(said.to_owned(), |text, (spdx, name)| text.replace(spdx, name));
        let key = format!("{}-{}", package.name, package.version);
        assert_eq!(listed[&key], debian, "{key}: run `make copyright`");
        for name in debian.replace(',', "").split(" or ").flat_map(|part| part.split(" and ")) {
            assert!(paragraphs.contains(name.trim()), "debian/copyright lacks the text of {name}");
        }
    }
}

#[test]
fn every_program_is_in_a_package_with_its_manual_page() {
    let lists = lists();
    let mut seen = 0;
    for package in metadata().packages.iter().filter(|p| INSTALLED.contains(&p.name.as_str())) {
        for target in package.targets.iter().filter(|t| t.kind.contains(&TargetKind::Bin)) {
            let program = &target.name;
            let holder = lists
                .iter()
                .find_map(|(name, lines)| lines.contains(&format!("usr/bin/{program}")).then_some(name))
                .unwrap_or_else(|| panic!("{program} is in no debian/*.install"));
            let pages = &lists[&holder.replace(".install", ".manpages")];
            let page = |section| pages.contains(&format!("docs/man/{program}.{section}"));
            assert!(page(1) || page(8), "{holder} has {program}, and its manual page is elsewhere");
            seen += 1;
        }
    }
    assert!(seen >= 6, "only {seen} programs");
}

#[test]
fn every_file_that_is_there_to_be_packed_is_packed() {
    let lists = lists();
    let packed = |path: &str| lists.values().flatten().any(|line| covers(line, path));
    let mut missing: Vec<_> = files("packaging").into_iter().chain(files("docs/man")).collect();
    missing.retain(|path| !path.ends_with(".md") && !packed(path));
    assert!(missing.is_empty(), "in no package: {missing:#?}");
}

#[test]
fn settings_files_are_installed_as_every_release_had_them() {
    // dpkg asks an administrator about a settings file whose packed text changed; `utilityctl init` has edited two of them.
    let sums = "\
        e70997627afe828e8f69799dd2464d2ed8ef3984cef022ad1f8c77a53825f5a5  packaging/etc/heg-gateway.toml\n\
        c3bfddba53b20043a8cca20248a17bad3a976edd51764a4e789bfcf7dcb9d079  packaging/etc/heg-kmc.toml\n\
        c1a1a3307a3e0924801f0295215e77cbbb9a946f0a7bda708f83e5c40bc02366  packaging/etc/heg-utility.toml\n\
        a91d7eafdbc755f8a119f9fe05f0080ccd3d87a90885c03c5398d7cac09593d9  packaging/etc/psm-agent.toml";
    let out = Command::new("sha256sum").args(files("packaging/etc")).current_dir(root()).output().expect("sha256sum");
    let mut seen: Vec<_> = std::str::from_utf8(&out.stdout).expect("sums").lines().collect();
    seen.sort_by_key(|line| line.rsplit('/').next());
    assert_eq!(seen.join("\n"), sums, "settings files never change (docs/decisions/0071 and 0083)");
}

#[test]
fn an_installation_without_packages_has_all_files_and_leaves_settings_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let install = || {
        let destination = format!("DESTDIR={}", dir.path().display());
        let out = Command::new("make")
            .args(["--silent", "install-files", "PREFIX=/opt/heg", &destination])
            .env_remove("MAKEFLAGS")
            .current_dir(root())
            .output()
            .expect("make");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    };
    install();
    let path = |file: &str| dir.path().join(file);
    let settings = path("etc/heg/heg-gateway.toml");
    std::fs::write(&settings, "# An administrator's\n").expect("settings");
    install();
    assert_eq!(std::fs::read_to_string(&settings).expect("settings"), "# An administrator's\n");
    assert!(path("etc/psm/psm-agent.toml").exists(), "no settings of psm-agent");
    let mut installed = Vec::new();
    files_below(dir.path(), &mut installed);
    // By their names alone, where they lie says the Makefile; profiles are called after the program's place.
    let names: BTreeSet<_> =
        installed.iter().map(|f| f.file_name().expect("a name").to_string_lossy().replace("opt.heg", "usr")).collect();
    let source = files("packaging").into_iter().chain(files("docs/man")).filter(|path| !path.ends_with(".md"));
    let missing: Vec<_> = source.filter(|path| !names.contains(path.rsplit('/').next().expect("a name"))).collect();
    assert!(missing.is_empty(), "not installed: {missing:#?}");
    for file in installed
        .iter()
        .filter(|f| f.starts_with(path("etc/apparmor.d")) || f.to_string_lossy().contains("systemd/system"))
    {
        let text = std::fs::read_to_string(file).expect("a file");
        let own = ["heg-gateway", "heg-utility", "heg-kmc", "psm-agent"];
        let wrong = own.iter().find(|program| text.contains(&format!("/usr/bin/{program}")));
        assert!(wrong.is_none(), "{} names a program that is not there: {wrong:?}", file.display());
    }
}

#[test]
fn everything_that_the_packages_name_is_there() {
    for entry in std::fs::read_dir(root().join("debian")).expect("debian") {
        let path = entry.expect("entry").path();
        assert!(path.exists(), "{} leads nowhere", path.display());
    }
    for (list, lines) in lists() {
        for line in lines {
            let (source, name) = line.rsplit_once('/').unwrap_or(("", &line));
            if source.starts_with("packaging") || source.starts_with("docs") {
                let there = files(source).iter().any(|path| covers(&line, path));
                assert!(there, "debian/{list} names {source}/{name}, which is not there");
            }
        }
    }
}

#[test]
fn documents_in_a_package_lead_to_what_is_in_it_too() {
    let mut packages: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (list, lines) in lists() {
        if let Some((package, "install" | "examples")) = list.rsplit_once('.') {
            packages.entry(package.to_owned()).or_default().extend(lines);
        }
    }
    let sources: Vec<_> = files("docs").into_iter().chain(["SECURITY.md".to_owned()]).collect();
    let mut seen = 0;
    for (package, lines) in &packages {
        let packed = |path: &str| lines.iter().any(|line| covers(line, path));
        for document in sources.iter().filter(|path| path.ends_with(".md") && packed(path)) {
            let text = read(document);
            assert!(!text.contains("/root/"), "{document} may have been written on the machine that builds it");
            let links = text.split("](").skip(1).filter_map(|rest| rest.split(['#', ')']).next());
            for link in links.filter(|link| !link.is_empty() && !link.contains("://")) {
                let mut parts: Vec<_> = document.split('/').collect();
                parts.pop();
                for part in link.split('/') {
                    if part == ".." {
                        parts.pop();
                    } else {
                        parts.push(part);
                    }
                }
                let target = parts.join("/");
                assert!(packed(&target), "{package} has {document}, which leads to {target}, which is not in it");
                seen += 1;
            }
        }
    }
    assert!(seen > 20, "only {seen} links");
}

#[test]
fn the_package_notes_where_ssh_is_served_and_follows_no_link_of_the_daemons_user() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let at = |path: &str| dir.path().join(path);
    std::fs::create_dir_all(at("etc/ssh/sshd_config.d")).expect("create");
    std::fs::write(at("etc/ssh/sshd_config"), "#Port 1\nPort 2222\nUsePAM yes\n").expect("write");
    std::fs::write(at("etc/ssh/sshd_config.d/own.conf"), "ListenAddress 192.0.2.1:2022\n").expect("write");
    std::fs::create_dir_all(at("var/lib/heg")).expect("create");
    std::fs::write(at("victim"), "of root\n").expect("write");
    std::os::unix::fs::symlink(at("victim"), at("var/lib/heg/sshd-ports")).expect("link");
    let mut script = Command::new("sh");
    script.arg(root().join("debian/heg-gateway.postinst")).args(["configure", ""]).env("DPKG_ROOT", dir.path());
    assert!(script.status().expect("sh").success());
    assert_eq!(std::fs::read_to_string(at("victim")).expect("read"), "of root\n");
    let noted = std::fs::read_to_string(at("var/lib/heg-firewall/sshd-ports")).expect("the note");
    assert_eq!(noted, "Port 2222\nListenAddress 192.0.2.1:2022\n");
    // Where the daemon looks for it, and may.
    for reader in ["heg/src/firewall/ssh.rs", "packaging/apparmor/usr.bin.heg-gateway", "debian/heg-gateway.postrm"] {
        assert!(read(reader).contains("/var/lib/heg-firewall"), "{reader}");
    }
}

/// What debian/ takes from where: the lists by their name, and links as lists of one.
fn lists() -> BTreeMap<String, Vec<String>> {
    let mut lists = BTreeMap::new();
    for entry in std::fs::read_dir(root().join("debian")).expect("debian") {
        let path = entry.expect("entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if let Ok(target) = std::fs::read_link(&path) {
            let target = target.to_string_lossy().trim_start_matches("../").to_owned();
            lists.insert(name, vec![target]);
        } else if [".install", ".manpages", ".examples", ".docs"].iter().any(|end| name.ends_with(end)) {
            let text = std::fs::read_to_string(&path).expect("a list");
            let first = |l: &str| l.split_whitespace().next().map(str::to_owned);
            lists.insert(name, text.lines().filter_map(first).collect());
        }
    }
    lists
}

/// Whether a line of a list takes this file: by name, by a directory, or by one `*` in its last part.
fn covers(line: &str, path: &str) -> bool {
    match line.split_once('*') {
        Some((before, after)) => path
            .strip_prefix(before)
            .and_then(|rest| rest.strip_suffix(after))
            .is_some_and(|middle| !middle.contains('/')),
        None => path == line || path.strip_prefix(line).is_some_and(|rest| rest.starts_with('/')),
    }
}

/// Files below `dir`, as paths from the root.
fn files(dir: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root().join(dir)).unwrap_or_else(|e| panic!("{dir}: {e}")) {
        let entry = entry.expect("entry");
        let path = format!("{dir}/{}", entry.file_name().display());
        if entry.file_type().expect("file type").is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn files_below(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("entry").path();
        if path.is_dir() { files_below(&path, found) } else { found.push(path) }
    }
}

fn workspace_value(key: &str) -> String {
    let manifest: toml::Table = read("Cargo.toml").parse().expect("Cargo.toml is TOML");
    text_of(&manifest["workspace"]["package"], key).to_owned()
}

fn text_of<'a>(table: &'a toml::Value, key: &str) -> &'a str {
    table.get(key).and_then(toml::Value::as_str).unwrap_or_else(|| panic!("no {key}"))
}

fn metadata() -> Metadata {
    // Only this machine's dependencies: others are never fetched.
    let rustc =
        Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into())).arg("-vV").output().expect("rustc -vV");
    let host = String::from_utf8_lossy(&rustc.stdout).lines().find_map(|l| l.strip_prefix("host: ").map(str::to_owned));
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options(vec![
            "--locked".into(),
            "--offline".into(),
            "--filter-platform".into(),
            host.expect("rustc names its host"),
        ])
        .exec()
        .expect("cargo metadata of the workspace")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}
