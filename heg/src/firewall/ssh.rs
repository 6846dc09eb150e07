//! Who has an SSH connection to this machine open now, by the kernel's lists of TCP sockets (proc_net_tcp).

use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::limits::{FIREWALL_SSH_SOURCES_MAX, TCP_TABLE_BYTES_MAX};

/// Sources of connections that are open to one of these ports, loopback left out.
///
/// # Errors
/// Neither list can be read; a kernel without IPv6 has one.
pub fn sources(ports: &[u16]) -> io::Result<BTreeSet<IpAddr>> {
    let (v4, v6) = (read("/proc/net/tcp"), read("/proc/net/tcp6"));
    let texts = match (v4, v6) {
        (Err(error), Err(_)) => return Err(error),
        (v4, v6) => [v4.unwrap_or_default(), v6.unwrap_or_default()],
    };
    let all = texts.iter().flat_map(|text| established(text, ports));
    Ok(all.filter(|a| !a.is_loopback()).take(FIREWALL_SSH_SOURCES_MAX).collect())
}

fn read(path: &str) -> io::Result<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(TCP_TABLE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The other ends of established connections to one of `ports` in the text of `/proc/net/tcp` or `tcp6`.
pub fn established<'a>(text: &'a str, ports: &'a [u16]) -> impl Iterator<Item = IpAddr> + 'a {
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
        let seen = || established(&read("/proc/net/tcp").unwrap(), &[port]).collect::<Vec<_>>();
        assert_eq!(seen(), Vec::<IpAddr>::new());
        let _client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let _server = listener.accept().unwrap();
        assert_eq!(seen(), [here]);
        assert!(sources(&[port]).unwrap().is_empty(), "who is on this machine needs no way in");
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
        let all: Vec<String> = established(text, &[22]).map(|a| a.to_string()).collect();
        assert_eq!(all, ["192.168.0.7", "2001:db8::9", "192.168.0.9"]);
    }
}
