//! The built gateway with a price file, and with a price feed played by this process on the loopback interface.

#![expect(clippy::unwrap_used, reason = "helpers of tests, where a panic is a failed test")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use daemon_kit::clock;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde_json::Value;

/// Sweden's clock, so that the test needs no zone files.
const ZONE: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

/// Today and tomorrow by that clock, in quarters; every price is its place from 0, less three, per MWh.
fn two_days() -> (Vec<Timestamp>, String) {
    let zone = TimeZone::posix(ZONE).unwrap();
    let today = zone.to_datetime(clock::wall()).date();
    let midnight = |days: i32| zone.to_timestamp(today.checked_add(days.days()).unwrap().at(0, 0, 0, 0)).unwrap();
    let (start, end) = (midnight(0), midnight(2));
    let count = (end.as_second() - start.as_second()) / 900;
    let starts: Vec<Timestamp> = (0..count).map(|i| start + (i * 15).minutes()).collect();
    let rows: String = starts.iter().enumerate().map(|(i, at)| format!("{at},{}\n", i as i64 - 3)).collect();
    (starts, format!("start_utc,sek_per_mwh\n{rows}"))
}

#[test]
fn a_price_file_is_taken_kept_and_replaced_and_a_wrong_one_is_refused_with_its_line() {
    let home = Home::new();
    let file = home.dir.path().join("day-ahead.csv");
    home.configure(&format!(
        "zone = '{ZONE}'\ncurrency = 'SEK'\nfile = '{}'\nevery-s = 1\nprice = 2.5\n\
         [[tariff.period]]\nfrom = '00:00'\nto = '24:00'\nprice = 1.25\n",
        file.display()
    ));
    let mut gateway = home.start();
    gateway.prices_are("the table alone", |p| p["source"] == "table" && p["now"] == 1.25 && p["currency"] == "SEK");
    gateway.prices_are("the missing file", |p| p["troubles"].to_string().contains("is not there"));

    // Written whole beside it and renamed over it.
    let (starts, text) = two_days();
    let beside = home.dir.path().join("new");
    fs_write_renamed(&beside, &file, &text);
    let known =
        gateway.prices_are("the file's prices", |p| p["source"] == "file" && p["troubles"] == Value::from(vec![(); 0]));
    let slots = known["slots"].as_array().unwrap();
    assert_eq!(slots.len(), starts.len(), "the last quarter is not lost");
    assert_eq!((&slots[0]["price"], &slots[3]["price"]), (&Value::from(-0.003), &Value::from(0.0)));
    assert_eq!(slots[0]["from"], format!("{:.3}", starts[0]));
    assert_eq!((&known["missing"], &known["per"]), (&Value::from(vec![(); 0]), &"kWh".into()));
    let shown = home.hegctl(&["prices"]);
    let shown = String::from_utf8_lossy(&shown.stdout);
    assert!(shown.contains("PRICE SEK/kWh") && shown.contains("-0.003") && shown.contains("file"), "{shown}");
    let status = gateway.json(&["status"]);
    assert!(status["status"].as_str().unwrap().contains("; prices until "), "{status}");
    assert!(status["status"].as_str().unwrap().contains(" from file"), "{status}");

    // Half of another one, as a disk that is full leaves it: the old prices stay.
    fs_write_renamed(&beside, &file, &text[..text.len() / 2]);
    gateway.prices_are("the refusal", |p| p["troubles"].to_string().contains("prices refused: "));
    gateway.prices_are("the old prices", |p| {
        p["source"] == "file" && p["slots"].as_array().unwrap().len() == starts.len()
    });
    let journal = gateway.json(&["journal"]);
    let reason = |outcome: &str| {
        let of = |e: &&Value| e["action"] == "prices" && e["outcome"] == outcome;
        journal.as_array().unwrap().iter().find(of).map(|e| e["reason"].as_str().unwrap().to_owned())
    };
    let line = text[..text.len() / 2].lines().count();
    assert!(reason("failed").unwrap().contains(&format!(": line {line}: ")), "{journal:#}");
    assert!(reason("observed").unwrap().contains(&format!(" {} prices of 15 min, ", starts.len())), "{journal:#}");

    // After a restart, without the file.
    gateway.stop();
    std::fs::remove_file(&file).unwrap();
    gateway = home.start();
    gateway.prices_are("the prices of before", |p| {
        p["source"] == "file" && p["slots"].as_array().unwrap().len() == starts.len()
    });
    gateway.prices_are("the missing file", |p| p["troubles"].to_string().contains("is not there"));

    // Another tariff, without a restart.
    home.configure(&format!("zone = '{ZONE}'\ncurrency = 'EUR'\nprice = -0.01\n"));
    gateway.signal("HUP");
    gateway.prices_are("the new table", |p| p["source"] == "table" && p["now"] == -0.01 && p["currency"] == "EUR");
    gateway.stop();
}

fn fs_write_renamed(beside: &Path, file: &Path, text: &str) {
    std::fs::write(beside, text).unwrap();
    std::fs::rename(beside, file).unwrap();
}

#[test]
fn a_price_feed_is_asked_for_what_is_newer_and_its_failures_change_nothing() {
    let home = Home::new();
    let feed = Feed::start();
    let (starts, text) = two_days();
    feed.answer(200, &text);
    home.configure(&format!(
        "zone = '{ZONE}'\ncurrency = 'SEK'\nurl = 'http://{}/day?token=secret'\nevery-s = 1\nbilling-slot-min = 60\n",
        feed.address
    ));
    let gateway = home.start();
    let known = gateway.prices_are("the feed's prices", |p| p["source"] == "feed");
    // Billed by the hour: the mean of -3, -2, -1 and 0 per MWh, a half goes up.
    let slots = known["slots"].as_array().unwrap();
    assert_eq!((slots.len(), &slots[0]["price"]), (starts.len() / 4, &Value::from(-0.0015)));

    // Asked again with what the server said of it, and confirmed by 304.
    let asked = wait("a second question", || feed.asked().into_iter().find(|head| head.contains("if-none-match")));
    assert!(asked.starts_with("get /day?token=secret http/1.1") && asked.contains("if-none-match: \"1\""), "{asked}");
    assert!(asked.contains("if-modified-since: thu, 01 jan 2026 00:00:00 gmt"), "{asked}");
    let confirmed = known["confirmed"].clone();
    gateway.prices_are("the confirmation", |p| p["confirmed"] != confirmed);
    assert_eq!(gateway.json(&["prices"])["slots"].as_array().unwrap().len(), starts.len() / 4);

    // Wrong, in trouble: said, and the prices stay. Each answer has another tag.
    for (status, body, want) in
        [(200, "start,price\nsoon,1\n", "line 2: \\\"soon\\\" is no time"), (503, "", "answered 503")]
    {
        feed.answer(status, body);
        let seen = gateway.prices_are(want, |p| p["troubles"].to_string().contains(want));
        assert_eq!((&seen["source"], seen["slots"].as_array().unwrap().len()), (&"feed".into(), starts.len() / 4));
        assert!(!seen.to_string().contains("secret"));
    }
    feed.answer(200, &text);
    gateway.prices_are("the feed's return", |p| p["troubles"] == Value::from(vec![(); 0]));
    gateway.stop();
}

// The feed.

struct Feed {
    address: String,
    answer: Arc<Mutex<(u16, String, u32)>>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Feed {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let feed = Self { address, answer: Default::default(), heads: Default::default() };
        let (answer, heads) = (feed.answer.clone(), feed.heads.clone());
        // Ends with the process: nobody else knows its port.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let _ = Self::serve(stream, &answer, &heads);
            }
        });
        feed
    }

    /// From now on; every answer has a tag of its own.
    fn answer(&self, status: u16, body: &str) {
        let mut answer = self.answer.lock().unwrap();
        *answer = (status, body.to_owned(), answer.2 + 1);
    }

    fn asked(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    fn serve(stream: TcpStream, answer: &Mutex<(u16, String, u32)>, heads: &Mutex<Vec<String>>) -> std::io::Result<()> {
        stream.set_read_timeout(Some(DEADLINE))?;
        let mut head = String::new();
        let mut lines = BufReader::new(&stream);
        while lines.read_line(&mut head)? > 2 {}
        let head = head.to_ascii_lowercase();
        let (status, body, tag) = answer.lock().unwrap().clone();
        let known = head.contains(&format!("if-none-match: \"{tag}\""));
        heads.lock().unwrap().push(head);
        let (status, body) = if known && status == 200 { (304, String::new()) } else { (status, body) };
        write!(
            &stream,
            "HTTP/1.1 {status} X\r\nETag: \"{tag}\"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nLocation: /elsewhere\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        // A peer that has had enough closes first.
        let _ = stream.shutdown(std::net::Shutdown::Write);
        std::io::copy(&mut (&stream).take(1), &mut std::io::sink())?;
        Ok(())
    }
}

// The programs.

const DEADLINE: Duration = Duration::from_secs(60);

fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = clock::boottime() + DEADLINE;
    while clock::boottime() < until {
        if let Some(seen) = look() {
            return seen;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("waited in vain for {what}");
}

struct Home {
    dir: tempfile::TempDir,
    config: PathBuf,
    socket: PathBuf,
}

impl Home {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { config: dir.path().join("heg.toml"), socket: dir.path().join("s"), dir }
    }

    fn configure(&self, tariff: &str) {
        let text = format!(
            "state-dir = '{}'\n[control]\nsocket = '{}'\n[network]\nloopback = true\nipv6 = false\ninterfaces = ['lo']\n\
             [tariff]\n{tariff}",
            self.dir.path().join("state").display(),
            self.socket.display()
        );
        std::fs::write(&self.config, text).unwrap();
    }

    fn start(&self) -> Gateway<'_> {
        let log = std::fs::File::options().create(true).append(true).open(self.dir.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_heg-gateway"))
            .arg("--config")
            .arg(&self.config)
            .env_remove("STATE_DIRECTORY")
            .env_remove("RUNTIME_DIRECTORY")
            .env("LOG_LEVEL", "debug")
            .stderr(log)
            .spawn()
            .unwrap();
        let gateway = Gateway { home: self, child: Some(child) };
        wait("the control socket", || self.hegctl(&["status"]).status.success().then_some(()));
        gateway
    }

    fn hegctl(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_hegctl")).arg("--socket").arg(&self.socket).args(args).output().unwrap()
    }
}

struct Gateway<'a> {
    home: &'a Home,
    child: Option<Child>,
}

impl Gateway<'_> {
    fn json(&self, args: &[&str]) -> Value {
        let out = self.home.hegctl(&[&["--json"], args].concat());
        serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("hegctl {args:?}: {e}: {out:?}"))
    }

    fn prices_are(&self, what: &str, so: impl Fn(&Value) -> bool) -> Value {
        let until = clock::boottime() + DEADLINE;
        let mut last = Value::Null;
        while clock::boottime() < until {
            last = self.json(&["prices"]);
            if so(&last) {
                return last;
            }
            thread::sleep(Duration::from_millis(50));
        }
        let log = std::fs::read_to_string(self.home.dir.path().join("log")).unwrap();
        panic!("waited in vain for {what}: {last:#}\n{log}");
    }

    fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    fn stop(mut self) {
        self.signal("TERM");
        assert_eq!(self.child.take().unwrap().wait().unwrap().code(), Some(0));
    }
}

impl Drop for Gateway<'_> {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
