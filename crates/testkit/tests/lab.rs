//! The lab's own promises: hosts are real, what they send is seen once, and nothing is left behind.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::Signal;
use testkit::lab::sandbox::{self, Sandbox};
use testkit::lab::{Frame, Lab, wait_until};

const SOON: Duration = Duration::from_secs(10);

#[test]
fn a_datagram_reaches_the_other_host_and_is_seen_once_with_its_sender() {
    sandbox::test(|| {
        let mut lab = Lab::new()?;
        let lan = lab.lan()?;
        let (gateway, tv) = (lab.host("gateway")?, lab.host("tv")?);
        lab.attach(&gateway, "eth0", &lan, 1)?;
        let link = lab.attach(&tv, "eth0", &lan, 2)?;
        let mark = lab.watcher().mark();

        let listener = tv.in_network(|| Ok(UdpSocket::bind((link.ipv4(), 5000))?))?;
        gateway.in_network(|| Ok(UdpSocket::bind("0.0.0.0:0")?.send_to(b"good morning", (link.ipv4(), 5000))?))?;

        listener.set_read_timeout(Some(SOON))?;
        let mut buffer = [0; 100];
        let (len, from) = listener.recv_from(&mut buffer)?;
        assert_eq!((&buffer[..len], from.ip()), (&b"good morning"[..], lan.ipv4(1).into()));
        let seen = lab.watcher().wait_for("the datagram", mark, SOON, |f| f.says("good morning"))?;
        assert_eq!(&*seen.sender, "gateway");
        assert!(!seen.at.is_zero(), "the kernel stamps every frame");
        let count = lab.watcher().since(mark).iter().filter(|f| f.says("good morning")).count();
        assert_eq!(count, 1);
        Ok(())
    });
}

#[test]
fn a_host_has_its_own_name_run_directory_and_network() {
    sandbox::test(|| {
        let mut lab = Lab::new()?;
        let tv = lab.host("tv")?;
        let said =
            tv.run("sh", &["-c", "hostname; touch /run/here /var/lib/there; ls /sys/class/net; ls /run /var/lib"])?;
        let said = String::from_utf8(said.stdout)?;
        assert_eq!(said.split_whitespace().collect::<Vec<_>>(), ["tv", "lo", "/run:", "here", "/var/lib:", "there"]);
        assert!(tv.dir().join("run/here").exists() && tv.dir().join("lib/there").exists());
        Ok(())
    });
}

#[test]
fn nothing_passes_while_the_cable_is_pulled() {
    sandbox::test(|| {
        let mut lab = Lab::new()?;
        let lan = lab.lan()?;
        let (gateway, tv) = (lab.host("gateway")?, lab.host("tv")?);
        lab.attach(&gateway, "eth0", &lan, 1)?;
        let link = lab.attach(&tv, "eth0", &lan, 2)?;
        let listener = tv.in_network(|| Ok(UdpSocket::bind((link.ipv4(), 5000))?))?;
        listener.set_read_timeout(Some(SOON))?;
        let sender = gateway.in_network(|| Ok(UdpSocket::bind("0.0.0.0:0")?))?;
        let mut buffer = [0; 100];

        link.pull()?;
        wait_until("no carrier at the host", SOON, || carrier(&tv).filter(|c| c == "0"))?;
        sender.send_to(b"lost", (link.ipv4(), 5000))?;
        link.plug()?;
        // The kernel keeps what waits for an address resolution, so "lost" may still come; "found" must.
        wait_until("a datagram after plugging in", SOON, || {
            sender.send_to(b"found", (link.ipv4(), 5000)).ok()?;
            listener.set_read_timeout(Some(Duration::from_millis(100))).ok()?;
            let (len, _) = listener.recv_from(&mut buffer).ok()?;
            (&buffer[..len] == b"found").then_some(())
        })
    });
}

#[test]
fn the_processes_of_one_host_can_be_stopped_without_the_others() {
    sandbox::test(|| {
        let mut lab = Lab::new()?;
        let (tv, nas) = (lab.host("tv")?, lab.host("nas")?);
        let _on_tv = tv.start("work", tv.command("sleep").arg("1000"))?;
        let _on_nas = nas.start("work", nas.command("sleep").arg("1000"))?;
        let is_sleep = |f: &testkit::lab::host::Found| f.command_line == "sleep 1000";
        let found = wait_until("both", SOON, || {
            Some((tv.processes().into_iter().find(is_sleep)?, nas.processes().into_iter().find(is_sleep)?))
        })?;

        assert_eq!(tv.signal_all(Signal::SIGSTOP, |_| true), 1);

        wait_until("the television stopped", SOON, || (state(found.0.pid)? == 'T').then_some(()))?;
        assert_eq!(state(found.1.pid), Some('S'));
        Ok(())
    });
}

#[test]
fn killing_the_program_that_entered_the_sandbox_ends_everything_in_it() {
    const NAME: &str = "killing_the_program_that_entered_the_sandbox_ends_everything_in_it";
    // A duration nobody else sleeps for marks the process inside.
    const MARK: &str = "86399.125";
    if sandbox::is_inside() {
        // The outer half of this test holds the sandbox; this half only lives in it.
        let mut lab = Lab::new().unwrap();
        let tv = lab.host("tv").unwrap();
        let _work = tv.start("work", tv.command("sleep").arg(MARK)).unwrap();
        println!("up");
        std::thread::sleep(Duration::from_secs(600));
        return;
    }
    let Ok(sandbox) = Sandbox::find() else { return sandbox::test(|| Ok(())) };
    let mut command = sandbox.this_program(Duration::from_secs(600)).unwrap();
    let mut child = command
        .args([NAME, "--exact", "--nocapture", "--test-threads=1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(std::io::Result::ok).any(|line| line.ends_with("up")));
    wait_until("the process inside", SOON, || (count_of(MARK) == 1).then_some(())).unwrap();

    child.kill().unwrap();
    child.wait().unwrap();

    wait_until("the end of the process inside", SOON, || (count_of(MARK) == 0).then_some(())).unwrap();
}

#[test]
fn the_watcher_waits_no_longer_than_told() {
    sandbox::test(|| {
        let lab = Lab::new()?;
        let began = Instant::now();
        let (mark, found) =
            lab.watcher().poll_for(lab.watcher().mark(), Duration::from_millis(30), |f: &Frame| f.says("never"));
        assert!(found.is_none() && began.elapsed() < SOON);
        assert_eq!(mark, lab.watcher().mark());
        Ok(())
    });
}

fn carrier(host: &testkit::lab::Host) -> Option<String> {
    let output = host.run("cat", &["/sys/class/net/eth0/carrier"]).ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The letter of proc(5) for a process' state.
fn state(pid: u32) -> Option<char> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("reading").ok()?;
    text.rsplit(')').next()?.trim().chars().next()
}

fn count_of(argument: &str) -> usize {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .filter(|line| line.starts_with(b"sleep\0") && line.split(|b| *b == 0).any(|a| a == argument.as_bytes()))
        .count()
}
