//! Hosts as network namespaces: this process in an empty one, and other hosts at the ends of cables.

use std::io::Read;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use super::dialogue::SOON;

/// Runs `body` in a process of its own whose network is empty: this test binary again, with only `test`. Where the kernel
/// does not let us, says so and passes.
pub(crate) fn in_own_network(test: &str, body: impl FnOnce()) {
    const INSIDE: &str = "UPNP_NET_TEST_NETWORK";
    if std::env::var_os(INSIDE).is_some() {
        ip("link set lo up");
        return body();
    }
    let works = |args: &[&str]| {
        let quiet = || Stdio::null();
        let probe = Command::new("unshare").args(args).args(["ip", "link"]).stdout(quiet()).stderr(quiet()).status();
        probe.is_ok_and(|s| s.success())
    };
    let ways: [&[&str]; 2] = [&["--net"], &["--user", "--map-root-user", "--net"]];
    let Some(way) = ways.into_iter().find(|way| works(way)) else {
        eprintln!("skipped: {test}: no network namespaces here (unshare and ip of iproute2 are needed)");
        return;
    };
    let done = Command::new("unshare")
        .args(way)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap();
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    assert!(done.status.success(), "{}\n{}", text(&done.stdout), text(&done.stderr));
    assert!(text(&done.stdout).contains("1 passed"), "no test of this name: {test}");
}

/// `ip ARGS` in this thread's network.
pub(crate) fn ip(args: &str) {
    let done = Command::new("ip").args(args.split_whitespace()).output().unwrap();
    assert!(done.status.success(), "ip {args}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Waits until `ip ARGS` prints something for which `wanted` holds.
pub(crate) fn ip_shows(args: &str, wanted: impl Fn(&str) -> bool) {
    let start = std::time::Instant::now();
    loop {
        let done = Command::new("ip").args(args.split_whitespace()).output().unwrap();
        if wanted(&String::from_utf8_lossy(&done.stdout)) {
            return;
        }
        assert!(start.elapsed() < SOON, "ip {args}: {}", String::from_utf8_lossy(&done.stdout));
        thread::sleep(Duration::from_millis(5));
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// Another host: a thread with a network of its own. Sockets made on it stay in that network wherever they are used.
pub(crate) struct Host {
    jobs: mpsc::Sender<Job>,
    thread: nix::unistd::Pid,
}

impl Host {
    pub(crate) fn new() -> Self {
        let (jobs, received) = mpsc::channel::<Job>();
        let (ready, started) = mpsc::channel();
        thread::spawn(move || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            ready.send(nix::unistd::gettid()).unwrap();
            received.into_iter().for_each(|job| job());
        });
        Self { jobs, thread: started.recv().unwrap() }
    }

    /// Does something on that host.
    pub(crate) fn on<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = mpsc::channel();
        self.jobs.send(Box::new(move || done.send(job()).unwrap())).unwrap();
        result.recv().unwrap()
    }

    pub(crate) fn ip(&self, args: &str) {
        let args = args.to_owned();
        self.on(move || ip(&args));
    }

    /// A cable from our `ours` to this host's `theirs`, both up.
    pub(crate) fn cable(&self, ours: &str, theirs: &str) {
        ip(&format!("link add {ours} type veth peer name {theirs} netns {}", self.thread));
        self.plug(ours, theirs);
    }

    /// The same, with our end's kernel index given.
    pub(crate) fn cable_with_index(&self, ours: &str, index: u32, theirs: &str) {
        ip(&format!("link add {ours} index {index} type veth peer name {theirs} netns {}", self.thread));
        self.plug(ours, theirs);
    }

    fn plug(&self, ours: &str, theirs: &str) {
        self.ip(&format!("link set {theirs} up"));
        ip(&format!("link set {ours} up"));
    }

    pub(crate) fn udp(&self, bind: &str) -> std::net::UdpSocket {
        let bind: SocketAddr = bind.parse().unwrap();
        let socket = self.on(move || std::net::UdpSocket::bind(bind).unwrap());
        socket.set_read_timeout(Some(SOON)).unwrap();
        socket
    }

    /// A member of the IPv4 group on the interface with our address `on`, bound to the group's port.
    pub(crate) fn member(&self, group: &str, port: u16, on: &str) -> std::net::UdpSocket {
        let (group, on) = (group.parse().unwrap(), on.parse().unwrap());
        let socket = self.udp(&format!("0.0.0.0:{port}"));
        socket.join_multicast_v4(&group, &on).unwrap();
        socket
    }

    /// The answer to `text` sent over TCP, read to the end; `None` when nobody listens.
    pub(crate) fn ask(&self, to: SocketAddr, text: &'static str) -> oneshot::Receiver<Option<String>> {
        let (done, result) = oneshot::channel();
        let ask = move || {
            let mut stream = std::net::TcpStream::connect_timeout(&to, SOON).ok()?;
            stream.set_read_timeout(Some(SOON)).unwrap();
            std::io::Write::write_all(&mut stream, text.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            Some(answer)
        };
        self.jobs.send(Box::new(move || done.send(ask()).unwrap())).unwrap();
        result
    }
}
