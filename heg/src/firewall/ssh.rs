//! On which ports SSH is served here, by the server's own configuration (sshd_config(5)), and who has a connection to one open
//! now, by the kernel's lists of TCP sockets (proc_net_tcp). IO.

use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use super::prefix::Prefix;
use crate::limits::{FIREWALL_LIST_MAX, FIREWALL_SSH_SOURCES_MAX, SSHD_CONFIG_BYTES_MAX, TCP_TABLE_BYTES_MAX};

/// Where the SSH server has its configuration.
const DIR: &str = "/etc/ssh";
/// Lines of it that the package noted as root when it was installed: the daemon may not be able to read that. Not in the daemon's own
/// directory, where root must not write.
const NOTE: &str = "/var/lib/heg-firewall/sshd-ports";

/// The ports that are `set`, and those that sshd is told to serve on this machine, as far as that may be read.
pub fn ports(set: &[u16]) -> BTreeSet<u16> {
    ports_in(set, Path::new(DIR), Path::new(NOTE))
}

fn ports_in(set: &[u16], dir: &Path, note: &Path) -> BTreeSet<u16> {
    let files = files(dir).into_iter().chain([note.to_owned()]);
    let texts: Vec<String> = files.filter_map(|file| read(file, SSHD_CONFIG_BYTES_MAX).ok()).collect();
    let named = texts.iter().flat_map(|text| served(text)).take(FIREWALL_LIST_MAX);
    set.iter().copied().chain(named).collect()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir.join("sshd_config.d"))
        .map(|entries| entries.flatten().map(|e| e.path()).take(FIREWALL_LIST_MAX).collect())
        .unwrap_or_default();
    files.retain(|file| file.extension().is_some_and(|e| e == "conf"));
    files.push(dir.join("sshd_config"));
    files
}

/// Why it is not known on which ports SSH is served: something of the server's configuration may not be read, and is newer than the note.
pub fn trouble() -> Option<String> {
    let denied = |path: &Path| {
        let opened =
            if path.is_dir() { std::fs::read_dir(path).map(drop) } else { std::fs::File::open(path).map(drop) };
        opened.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    };
    trouble_in(Path::new(DIR), Path::new(NOTE), denied)
}

fn trouble_in(dir: &Path, note: &Path, denied: impl Fn(&Path) -> bool) -> Option<String> {
    let changed = |path: &Path| std::fs::metadata(path).and_then(|file| file.modified()).ok();
    let noted = changed(note);
    let hidden = |path: &PathBuf| denied(path) && noted.is_none_or(|noted| changed(path).is_none_or(|at| at > noted));
    let path = [dir.to_owned(), dir.join("sshd_config.d")].into_iter().chain(files(dir)).find(hidden)?;
    Some(format!(
        "{} may not be read: if SSH has another port than those in ssh-ports, name it there, or it will be closed on the WAN side",
        path.display()
    ))
}

/// The ports in `Port` and `ListenAddress` lines of an sshd_config(5).
fn served(text: &str) -> impl Iterator<Item = u16> + '_ {
    text.lines().filter_map(|line| {
        let mut words = line.split([' ', '\t', '=', '"']).filter(|word| !word.is_empty());
        let (keyword, value) = (words.next()?, words.next()?);
        let port = if keyword.eq_ignore_ascii_case("Port") {
            value
        } else if keyword.eq_ignore_ascii_case("ListenAddress") {
            // An IPv6 address without brackets has no port.
            value.rsplit_once(':').filter(|(host, _)| host.ends_with(']') || !host.contains(':'))?.1
        } else {
            return None;
        };
        port.parse().ok().filter(|port| *port != 0)
    })
}

/// Sources of connections that are open to one of these ports, as many as are let in; loopback and the `home`'s networks, which
/// need no way in, left out.
///
/// # Errors
/// Neither list can be read; a kernel without IPv6 has one.
pub fn sources(ports: &BTreeSet<u16>, home: &[Prefix]) -> io::Result<BTreeSet<IpAddr>> {
    let (v4, v6) = (read("/proc/net/tcp", TCP_TABLE_BYTES_MAX), read("/proc/net/tcp6", TCP_TABLE_BYTES_MAX));
    let texts = match (v4, v6) {
        (Err(error), Err(_)) => return Err(error),
        (v4, v6) => [v4.unwrap_or_default(), v6.unwrap_or_default()],
    };
    Ok(from_outside(&texts, ports, home))
}

/// However many connections those at home have open, or one source by itself: they take nobody's place.
fn from_outside(texts: &[String], ports: &BTreeSet<u16>, home: &[Prefix]) -> BTreeSet<IpAddr> {
    let at_home = |source: &IpAddr| home.iter().any(|network| network.covers(Prefix::host(*source)));
    let all = texts.iter().flat_map(|text| established(text, ports));
    let outside: BTreeSet<IpAddr> = all.filter(|source| !source.is_loopback() && !at_home(source)).collect();
    outside.into_iter().take(FIREWALL_SSH_SOURCES_MAX).collect()
}

fn read(path: impl AsRef<Path>, bytes_max: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The other ends of established connections to one of `ports` in the text of `/proc/net/tcp` or `tcp6`.
pub fn established<'a>(text: &'a str, ports: &'a BTreeSet<u16>) -> impl Iterator<Item = IpAddr> + 'a {
    const ESTABLISHED: &str = "01";
    text.lines().skip(1).filter_map(move |line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (local, remote, state) = (fields.next()?, fields.next()?, fields.next()?);
        let port = u16::from_str_radix(local.split_once(':')?.1, 16).ok()?;
        (state == ESTABLISHED && ports.contains(&port)).then(|| address(remote.split_once(':')?.0))?
    })
}

/// An address as the kernel prints it: 32-bit words in the machine's own order.
fn address(hex: &str) -> Option<IpAddr> {
    let word = |i: usize| u32::from_str_radix(hex.get(i * 8..i * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    match hex.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let octets = [word(0)?, word(1)?, word(2)?, word(3)?].concat();
            let octets: [u8; 16] = octets.try_into().ok()?;
            Some(IpAddr::V6(Ipv6Addr::from(octets)).to_canonical())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn an_open_connection_is_seen_with_its_source_and_a_listener_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let here: IpAddr = "127.0.0.1".parse().unwrap();
        let seen = || established(&read("/proc/net/tcp", 1 << 20).unwrap(), &[port].into()).collect::<Vec<_>>();
        assert_eq!(seen(), Vec::<IpAddr>::new());
        let _client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let _server = listener.accept().unwrap();
        assert_eq!(seen(), [here]);
        assert!(sources(&[port].into(), &[]).unwrap().is_empty(), "who is on this machine needs no way in");
    }

    #[test]
    fn many_connections_from_home_or_from_one_source_take_nobodys_place() {
        let line = |n: usize, source: [u8; 4]| {
            format!("{n}: 0100000A:0016 {:08X}:{:04X} 01 0\n", u32::from_ne_bytes(source), 40_000 + n)
        };
        let many = 2 * FIREWALL_SSH_SOURCES_MAX;
        let home = (0..many).map(|n| line(n, [192, 168, 0, 1 + n as u8]));
        let twice = (0..many).map(|n| line(many + n, [203, 0, 113, 9]));
        let text: String = home.chain(twice).chain([line(2 * many, [203, 0, 113, 200])]).collect();
        let network = Prefix::new([192, 168, 0, 0].into(), 24).unwrap();
        let seen = from_outside(&[format!("  sl  local_address\n{text}")], &[22].into(), &[network]);
        assert_eq!(seen.iter().map(ToString::to_string).collect::<Vec<_>>(), ["203.0.113.9", "203.0.113.200"]);
    }

    #[test]
    fn the_servers_own_configuration_says_where_it_listens() {
        let text = "# Port 1\n port 2222\nPort=2200 # away\nPORT \"2201\"\nPort many\nPort 0\nPorts 7\n\
            ListenAddress 192.0.2.1:2022\nListenAddress [2001:db8::1]:2023 rdomain x\n\
            ListenAddress 2001:db8::22\nListenAddress 0.0.0.0\nListenAddress";
        assert_eq!(served(text).collect::<Vec<_>>(), [2222, 2200, 2201, 2022, 2023]);
        let dir = tempfile::tempdir().unwrap();
        let note = dir.path().join("sshd-ports");
        let ports = || ports_in(&[22], dir.path(), &note);
        assert_eq!(ports(), [22].into(), "no server");
        std::fs::create_dir(dir.path().join("sshd_config.d")).unwrap();
        std::fs::write(dir.path().join("sshd_config"), "Port 2222\n").unwrap();
        std::fs::write(dir.path().join("sshd_config.d/own.conf"), "Port 443\n").unwrap();
        std::fs::write(dir.path().join("sshd_config.d/own.conf.old"), "Port 80\n").unwrap();
        assert_eq!(ports(), [22, 443, 2222].into());
        // What the daemon may not read was noted when the package was installed.
        std::fs::write(&note, "Port 2244\nListenAddress 0.0.0.0:2245\n").unwrap();
        assert_eq!(ports(), [22, 443, 2222, 2244, 2245].into());
    }

    #[test]
    fn a_configuration_that_may_not_be_read_is_told_unless_it_was_noted_since() {
        let dir = tempfile::tempdir().unwrap();
        let (config, note) = (dir.path().join("sshd_config"), dir.path().join("sshd-ports"));
        std::fs::write(&config, "Port 2222\n").unwrap();
        let trouble = |hidden: bool| trouble_in(dir.path(), &note, |path| hidden && path == config);
        assert_eq!(trouble(false), None);
        let said = trouble(true).unwrap();
        assert!(said.contains("sshd_config may not be read") && said.contains("ssh-ports"), "{said}");
        std::fs::write(&note, "Port 2222\n").unwrap();
        assert_eq!(trouble(true), None);
        let later = std::fs::metadata(&note).unwrap().modified().unwrap() + std::time::Duration::from_secs(60);
        std::fs::File::options().write(true).open(&config).unwrap().set_modified(later).unwrap();
        assert!(trouble(true).is_some(), "changed since");
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn both_families_are_read_and_nonsense_is_left_out() {
        let text = "  sl  local_address remote_address st\n\
            0: 00000000:0016 00000000:0000 0A 0\n\
            1: 0100000A:0016 0700A8C0:C350 01 0\n\
            2: 0100000A:0016 0800A8C0:C350 06 0\n\
            3: 00000000000000000000000000000000:0016 B80D01200000000000000000 01\n\
            4: B80D0120000000000000000001000000:0016 B80D0120000000000000000009000000:0400 01 0\n\
            5: 0000000000000000FFFF00000100000A:0016 0000000000000000FFFF00000900A8C0:0400 01 0\n\
            6: nonsense\n7: a:b c:d 01\n";
        let all: Vec<String> = established(text, &[22].into()).map(|a| a.to_string()).collect();
        assert_eq!(all, ["192.168.0.7", "2001:db8::9", "192.168.0.9"]);
    }
}
