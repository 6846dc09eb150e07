//! The machine under test: Debian's kernel, systemd and logind in QEMU, on a tap of the lab's LAN.
//!
//! Its network card is the lab's watcher: no card that QEMU emulates can wake the machine, so a thread looks for magic packets on
//! the wire, as a card does, and wakes it by the emulator.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, Result, ensure};
use house_tests::house::{House, succeeded};
use serde_json::json;
use testkit::lab::lan::mac_text;
use testkit::lab::{Mark, Process, Tap, Watcher};

use crate::limits::CARD_POLL;
use crate::qmp::Qmp;

/// `pc` without HPET: the only machine seen to suspend again and again (q35 came back at once, without having slept).
const MACHINE: &[&str] = &[
    "-M",
    "pc,hpet=off",
    "-accel",
    "tcg,thread=multi",
    "-cpu",
    "qemu64",
    "-smp",
    "2",
    "-m",
    "512",
    "-display",
    "none",
    "-vga",
    "none",
    "-nodefaults",
    "-no-user-config",
    // The end of the machine is looked at before the emulator's.
    "-no-shutdown",
    "-device",
    "virtio-rng-pci",
];

/// Quick to boot on an emulated processor; AppArmor as Debian has it.
const KERNEL_ARGUMENTS: &str = "root=/dev/vda rw console=ttyS0 quiet loglevel=5 systemd.show_status=0 net.ifnames=0 \
    mitigations=off init_on_alloc=0 transparent_hugepage=never";

const EMULATOR: &str = "qemu-system-x86_64";

/// A running virtual machine. Dropping it ends the emulator.
#[derive(Debug)]
pub(crate) struct Guest {
    qmp: Arc<Qmp>,
    card: Arc<Card>,
    watching: Option<JoinHandle<()>>,
    emulator: Process,
}

#[derive(Debug)]
struct Card {
    mac: [u8; 6],
    /// The machine sleeps in a way the emulator can't tell from running (s2idle).
    idle: AtomicBool,
    stop: AtomicBool,
}

impl Guest {
    /// Starts the emulator on `disk`; from the snapshot `load`, or by booting.
    ///
    /// # Errors
    /// When it can't be started.
    pub(crate) fn start(house: &House, tap: &Tap, image: &Path, disk: &Path, load: Option<&str>) -> Result<Guest> {
        let lab = house.lab();
        let socket = lab.dir().join("qmp.sock");
        // Of the guest before this one.
        let _none = std::fs::remove_file(&socket);
        // Where it may, it goes before what else this machine does: the race under test is between the guest's two processors. Where
        // it may not, `nice` says so and goes on.
        let mut command = Command::new("nice");
        command
            .args(["-n", "-15", EMULATOR])
            .args(MACHINE)
            .arg("-kernel")
            .arg(image.join("vmlinuz"))
            .arg("-initrd")
            .arg(image.join("initrd"))
            .args(["-append", KERNEL_ARGUMENTS, "-drive"])
            .arg(format!("file={},if=none,id=disk,format=qcow2,cache=unsafe", disk.display()))
            .args(["-device", "virtio-blk-pci,drive=disk", "-netdev"])
            .arg(format!("tap,id=lan,ifname={},script=no,downscript=no", tap.name()))
            .arg("-device")
            .arg(format!("virtio-net-pci,netdev=lan,mac={},romfile=", mac_text(&tap.mac())))
            .arg("-chardev")
            .arg(format!("file,id=console,path={},append=on", lab.dir().join("log/nas-console.log").display()))
            .args(["-serial", "chardev:console", "-qmp"])
            .arg(format!("unix:{},server=on,wait=off", socket.display()));
        if let Some(snapshot) = load {
            command.args(["-loadvm", snapshot]);
        }
        let emulator = Process::start("qemu", &mut command, &lab.dir().join("log/nas-qemu.log"))?;
        let qmp = Arc::new(Qmp::connect(&socket)?);
        let card = Arc::new(Card { mac: tap.mac(), idle: AtomicBool::new(false), stop: AtomicBool::new(false) });
        let watcher = Arc::clone(lab.watcher());
        let (looking, power, mark) = (Arc::clone(&card), Arc::clone(&qmp), watcher.mark());
        let watching = std::thread::Builder::new()
            .name("nas card".into())
            .spawn(move || looking.watch(&watcher, mark, &power))
            .context("starting the network card")?;
        Ok(Guest { qmp, card, watching: Some(watching), emulator })
    }

    /// The emulator's control socket.
    pub(crate) fn qmp(&self) -> &Qmp {
        &self.qmp
    }

    /// Wakes it from suspend, as its power button would.
    ///
    /// # Errors
    /// When it is not suspended.
    pub(crate) fn wake(&self) -> Result<()> {
        self.qmp.command("system_wakeup", &json!({})).map(drop)
    }

    /// Presses the power button, which ends s2idle.
    ///
    /// # Errors
    /// When the emulator does not answer.
    pub(crate) fn press_power_button(&self) -> Result<()> {
        self.qmp.command("system_powerdown", &json!({})).map(drop)
    }

    /// Tells the network card that the machine is in s2idle, until it is woken.
    pub(crate) fn set_idle(&self) {
        self.card.idle.store(true, Ordering::Relaxed);
    }

    /// Ends the emulator with everything on its disk.
    ///
    /// # Errors
    /// When it does not end.
    pub(crate) fn quit(mut self) -> Result<()> {
        self.qmp.command("quit", &json!({}))?;
        let status = self.emulator.wait(crate::limits::QMP_S_MAX)?;
        ensure!(status.success(), "the emulator ended with {status}");
        Ok(())
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.card.stop.store(true, Ordering::Relaxed);
        if let Some(watching) = self.watching.take() {
            let _ended = watching.join();
        }
    }
}

impl Card {
    fn watch(&self, watcher: &Watcher, mark: Mark, power: &Qmp) {
        let mut next = mark;
        while !self.stop.load(Ordering::Relaxed) {
            let (mark, frame) = watcher
                .poll_for(next, CARD_POLL, |frame| frame.magic_packet().is_some_and(|magic| magic.target == self.mac));
            next = mark;
            if frame.is_none() {
                continue;
            }
            // The emulator refuses to wake what runs. A power button pressed while the machine runs is another matter: only once.
            let _refused = if self.idle.swap(false, Ordering::Relaxed) {
                power.command("system_powerdown", &json!({}))
            } else {
                power.command("system_wakeup", &json!({}))
            };
        }
    }
}

/// What a snapshot depends on beside the disk: the emulator's version and the machine's make-up.
///
/// # Errors
/// When there is no emulator.
pub(crate) fn make_up() -> Result<String> {
    let version = Command::new(EMULATOR).arg("--version").output().with_context(|| format!("starting {EMULATOR}"))?;
    Ok(format!("{} {MACHINE:?} {KERNEL_ARGUMENTS}", succeeded(version)?))
}

/// An empty disk over the image, which is only read.
///
/// # Errors
/// When it can't be made.
pub(crate) fn make_disk(disk: &Path, image: &Path) -> Result<()> {
    let base: PathBuf = image.join("disk.img");
    let mut command = Command::new("qemu-img");
    command.args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]).arg(base).arg(disk);
    succeeded(command.output().context("starting qemu-img")?).map(drop)
}
