//! The probe in the kernel (IO): loads it, attaches what the running kernel offers, and reads its records.
//!
//! All of it beside the main loop: loading takes up to some hundred milliseconds (the loader reads the kernel's type information),
//! for which the start of the device does not wait. A thread at real-time priority, where that is allowed, waits for records, and
//! lifts the main loop's priority before it hands one over ([`crate::realtime`]).
//!
//! The object is a file, `/usr/lib/psm/psm-probe.o`; without it, without the right, or on a kernel without tracing programs the
//! agent goes on with its other sources, and says why. Loading takes CAP_BPF and CAP_PERFMON, which end with the loading thread;
//! the reboot tracepoints also need tracefs.

use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};
use std::error::Error;
use std::fs;
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::linux::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aya::maps::{MapData, RingBuf};
use aya::programs::kprobe::KProbeLink;
use aya::programs::raw_trace_point::RawTracePointLink;
use aya::programs::trace_point::TracePointLink;
use aya::programs::{KProbe, RawTracePoint, TracePoint};
use aya::sys::is_program_supported;
use aya::{Ebpf, EbpfLoader};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{major, minor};
use psm_event::Record;
use tokio::sync::mpsc;

use crate::limits::{
    PROBE_OBJECT_BYTES_MAX, PROBE_RECORDS_QUEUED_MAX, PROBE_THREAD_STACK_BYTES, TRACEFS_FILE_BYTES_MAX,
};
use crate::privileges;
use crate::realtime::{self, MainLoop};

/// Where the object is installed.
pub const OBJECT: &str = "/usr/lib/psm/psm-probe.o";

/// Where tracefs is mounted, now and on older systems.
const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// Programs of kprobes and their functions: those that end the system or put it to disk, whoever asks, and the return of those
/// that put it to sleep, also where nothing came of it. A kernel has only those it is built with.
const KPROBES: [(&str, &str); 7] = [
    ("kernel_power_off", "kernel_power_off"),
    ("kernel_restart", "kernel_restart"),
    ("kernel_halt", "kernel_halt"),
    ("kernel_kexec", "kernel_kexec"),
    ("hibernate", "hibernate"),
    ("hibernate_return", "hibernate"),
    ("pm_suspend_return", "pm_suspend"),
];

/// There where the kernel has kprobes: as events of perf's, or on older kernels of tracefs'.
const KPROBE_EVENTS: [&str; 3] = [
    "/sys/bus/event_source/devices/kprobe",
    "/sys/kernel/tracing/kprobe_events",
    "/sys/kernel/debug/tracing/kprobe_events",
];

/// Why there is no probe.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// The object cannot be read.
    #[error("no object {}: {source}", path.display())]
    NoObject {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// EPERM.
    #[error("no permission: loading takes CAP_BPF and CAP_PERFMON")]
    NoPermission,
    /// ENOSYS.
    #[error("the kernel has no bpf(2)")]
    NoBpf,
    /// Programs of the tracing kinds are unknown to the kernel.
    #[error("the kernel takes no tracing programs (built without CONFIG_BPF_EVENTS, as on Raspberry Pi OS)")]
    NoTracing,
    /// The object is not one of this version, or damaged.
    #[error("object {}: {why}", path.display())]
    Object {
        /// Its path.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The kernel refused something else.
    #[error("{what}: {why}")]
    Refused {
        /// What was tried.
        what: &'static str,
        /// The kernel's words.
        why: String,
    },
    /// No thread.
    #[error("no thread: {0}")]
    Thread(io::Error),
    /// The thread that reads has ended.
    #[error("its thread has ended")]
    Ended,
}

/// What is attached beside the trace point of suspends, without which there is no probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The trace points of reboot(2), or why not.
    pub reboot: Result<(), String>,
    /// The programs of kprobes that are attached, or why none is.
    pub kprobes: Result<Vec<&'static str>, String>,
    /// The thread that reads is at real-time priority, or why not.
    pub realtime: Result<(), String>,
}

impl fmt::Display for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.realtime {
            Ok(()) => f.write_str("suspend_resume, at real-time priority"),
            Err(why) => write!(f, "suspend_resume, at usual priority: {why}"),
        }
    }
}

/// What the probe's thread tells.
#[derive(Debug)]
pub enum Told {
    /// It reads from now on.
    Reads(Attached),
    /// It does not, and has ended.
    Failed(ProbeError),
    /// An event.
    Event(Record),
}

/// The probe's thread, seen from the main loop. It lives as long as the process.
#[derive(Debug)]
pub struct Probe {
    /// None once the thread has ended.
    told: Option<mpsc::Receiver<Told>>,
    lost: Lost,
    main: Arc<MainLoop>,
}

/// Events that did not arrive.
#[derive(Clone, Debug, Default)]
struct Lost {
    /// The ring buffer was full.
    in_kernel: Arc<AtomicU32>,
    /// The main loop was behind.
    here: Arc<AtomicU32>,
}

impl Probe {
    /// Begins to load `object`. What becomes of it is the first thing [`Self::next`] gives.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(object: &Path) -> Result<Self, ProbeError> {
        let (tell, told) = mpsc::channel(PROBE_RECORDS_QUEUED_MAX);
        let lost = Lost::default();
        let main = Arc::new(MainLoop::of_this_process());
        let (object, counted, lifts) = (object.to_owned(), lost.clone(), Arc::clone(&main));
        let thread = std::thread::Builder::new().name("probe".to_owned()).stack_size(PROBE_THREAD_STACK_BYTES);
        let run = move || match load_apart(object) {
            Ok(loaded) => loaded.read(&tell, &counted, &lifts),
            // The receiver is gone only with the process.
            Err(error) => drop(tell.blocking_send(Told::Failed(error))),
        };
        thread.spawn(run).map_err(ProbeError::Thread)?;
        Ok(Self { told: Some(told), lost, main })
    }

    /// The next thing it tells; waits for ever once its thread has ended. Cancel safe.
    pub async fn next(&mut self) -> Told {
        let Some(receiver) = &mut self.told else { return core::future::pending().await };
        let told = receiver.recv().await.unwrap_or(Told::Failed(ProbeError::Ended));
        if matches!(told, Told::Failed(_)) {
            self.told = None;
        }
        told
    }

    /// Events lost so far: in the kernel's ring buffer, as the last one that came through says, and between the two threads.
    pub fn lost(&self) -> u32 {
        self.lost.in_kernel.load(Ordering::Relaxed).saturating_add(self.lost.here.load(Ordering::Relaxed))
    }

    /// Puts the main loop back to its usual priority, if an event had lifted it.
    pub fn calm(&self) {
        self.main.lower();
    }
}

/// Loads on a thread that ends with it: its capabilities are gone then, and so is the memory it took, 20 MB for a moment, of
/// which the C library would keep crumbs all over for a thread that goes on.
fn load_apart(object: PathBuf) -> Result<Loaded, ProbeError> {
    let thread = std::thread::Builder::new().name("probe load".to_owned()).stack_size(PROBE_THREAD_STACK_BYTES);
    let loading = thread.spawn(move || Loaded::load(&object)).map_err(ProbeError::Thread)?;
    if let Err(error) = privileges::keep(privileges::READER) {
        tracing::warn!(%error, "the probe's thread keeps its capabilities");
    }
    let loaded = loading.join();
    daemon_kit::memory::give_back();
    let mut loaded = loaded.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    loaded.attached.realtime = realtime::enter().map_err(|e| e.to_string());
    Ok(loaded)
}

/// What keeps the programs attached; detached when dropped.
struct Links {
    _suspend: RawTracePointLink,
    reboot: Vec<TracePointLink>,
    functions: Vec<KProbeLink>,
}

/// The probe in the kernel. Of the loader's picture of it only this is kept.
struct Loaded {
    _links: Links,
    ring: RingBuf<MapData>,
    attached: Attached,
}

impl Loaded {
    fn load(path: &Path) -> Result<Self, ProbeError> {
        let object = read_object(path)?;
        // Asked first: a kernel that takes none answers as vaguely as to a program it does not like.
        match is_program_supported(RawTracePoint::PROGRAM_TYPE) {
            Ok(true) => {}
            Ok(false) => return Err(ProbeError::NoTracing),
            Err(error) => return Err(refused("tracing programs", &error)),
        }
        let damaged = |why: String| ProbeError::Object { path: path.to_owned(), why };
        // Without tracefs these stay as they are and are not used: attaching fails for the same reason.
        let command = field_offset("sys_enter_reboot", "cmd");
        let result = field_offset("sys_exit_reboot", "ret");
        let (dev, ino) = own_pid_namespace().map_err(|e| refused("PID namespace", &e))?;
        let mut loader = EbpfLoader::new();
        loader.btf(None).override_global("PID_NS_DEV", &dev, true).override_global("PID_NS_INO", &ino, true);
        if let (Ok(command), Ok(result)) = (&command, &result) {
            loader.override_global("CMD_OFFSET", command, true).override_global("RET_OFFSET", result, true);
        }
        let mut programs = loader.load(&object).map_err(|e| match os_error(&e) {
            Some(_) => refused("maps", &e),
            None => damaged(chain(&e)),
        })?;
        let events = programs.take_map("EVENTS").ok_or_else(|| damaged("has no map EVENTS".to_owned()))?;
        let ring = RingBuf::try_from(events).map_err(|e| refused("ring buffer", &e))?;
        let suspend = attach_suspend(&mut programs, path)?;
        let mut links = Links { _suspend: suspend, reboot: Vec::new(), functions: Vec::new() };
        let reboot = command.and(result).and_then(|_| attach_reboot(&mut programs, &mut links));
        let kprobes = attach_kprobes(&mut programs, &mut links);
        let attached = Attached { reboot, kprobes, realtime: Err("not asked for yet".to_owned()) };
        Ok(Self { _links: links, ring, attached })
    }

    /// Hands over what comes, for ever.
    fn read(mut self, tell: &mpsc::Sender<Told>, lost: &Lost, main: &MainLoop) {
        // The receiver is gone only with the process.
        drop(tell.blocking_send(Told::Reads(self.attached)));
        loop {
            let mut fds = [PollFd::new(self.ring.as_fd(), PollFlags::POLLIN)];
            let broken = match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) if fds[0].any() == Some(true) => fds[0].revents().is_none_or(|e| !e.contains(PollFlags::POLLIN)),
                Ok(_) | Err(nix::errno::Errno::EINTR) => false,
                Err(_) => true,
            };
            if broken {
                let why = "cannot be waited for".to_owned();
                return drop(tell.blocking_send(Told::Failed(ProbeError::Refused { what: "ring buffer", why })));
            }
            while let Some(item) = self.ring.next() {
                match Record::from_bytes(&item) {
                    Ok(record) => {
                        main.raise();
                        lost.in_kernel.store(record.lost, Ordering::Relaxed);
                        if tell.try_send(Told::Event(record)).is_err() {
                            lost.here.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    // The object is not this version's.
                    Err(error) => tracing::debug!(%error, "record not understood"),
                }
            }
        }
    }
}

fn read_object(path: &Path) -> Result<Vec<u8>, ProbeError> {
    let no_object = |source| ProbeError::NoObject { path: path.to_owned(), source };
    let mut object = Vec::new();
    let file = fs::File::open(path).map_err(no_object)?;
    file.take(PROBE_OBJECT_BYTES_MAX + 1).read_to_end(&mut object).map_err(no_object)?;
    if object.len() as u64 > PROBE_OBJECT_BYTES_MAX {
        let why = format!("larger than {PROBE_OBJECT_BYTES_MAX} bytes");
        return Err(ProbeError::Object { path: path.to_owned(), why });
    }
    Ok(object)
}

fn attach_suspend(programs: &mut Ebpf, path: &Path) -> Result<RawTracePointLink, ProbeError> {
    const NAME: &str = "suspend_resume";
    let program: Result<&mut RawTracePoint, String> = program(programs, NAME);
    let program = program.map_err(|why| ProbeError::Object { path: path.to_owned(), why })?;
    program.load().map_err(|e| refused(NAME, &e))?;
    program.attach(NAME).and_then(|id| program.take_link(id)).map_err(|e| refused(NAME, &e))
}

fn attach_reboot(programs: &mut Ebpf, links: &mut Links) -> Result<(), String> {
    for (name, point) in [("reboot_enter", "sys_enter_reboot"), ("reboot_exit", "sys_exit_reboot")] {
        let program: &mut TracePoint = program(programs, name)?;
        program.load().map_err(|e| chain(&e))?;
        let link = program.attach("syscalls", point).and_then(|id| program.take_link(id));
        links.reboot.push(link.map_err(|e| chain(&e))?);
    }
    Ok(())
}

/// Those that the kernel has: one built without hibernation has no such function.
fn attach_kprobes(programs: &mut Ebpf, links: &mut Links) -> Result<Vec<&'static str>, String> {
    if !KPROBE_EVENTS.iter().any(|path| Path::new(path).exists()) {
        return Err("the kernel has none (CONFIG_KPROBE_EVENTS)".to_owned());
    }
    let mut attached = Vec::new();
    let mut first = None;
    for (name, function) in KPROBES {
        let program: &mut KProbe = program(programs, name)?;
        program.load().map_err(|e| chain(&e))?;
        match program.attach(function, 0).and_then(|id| program.take_link(id)) {
            Ok(link) => {
                links.functions.push(link);
                attached.push(name);
            }
            Err(error) => {
                tracing::debug!(name, error = chain(&error), "kprobe not attached");
                first.get_or_insert(chain(&error));
            }
        }
    }
    if attached.is_empty() { Err(first.unwrap_or_default()) } else { Ok(attached) }
}

fn program<'a, P>(programs: &'a mut Ebpf, name: &str) -> Result<&'a mut P, String>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = aya::programs::ProgramError>,
{
    let program = programs.program_mut(name).ok_or_else(|| format!("has no program {name}"))?;
    program.try_into().map_err(|_| format!("{name} is of another kind"))
}

/// Where a field of a syscall's tracepoint is, bytes, from tracefs.
fn field_offset(point: &str, field: &str) -> Result<u32, String> {
    let mut why = None;
    for tracefs in TRACEFS {
        let path = Path::new(tracefs).join("events/syscalls").join(point).join("format");
        let mut text = String::new();
        match fs::File::open(&path).and_then(|file| file.take(TRACEFS_FILE_BYTES_MAX).read_to_string(&mut text)) {
            Ok(_) => return offset_in(&text, field).ok_or_else(|| format!("{} has no field {field}", path.display())),
            // Of two places where it is not the reason is told of one where it is and cannot be read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => drop(why.get_or_insert(format!("{}: {error}", path.display()))),
        }
    }
    Err(why.unwrap_or_else(|| "tracefs is not mounted, or the kernel traces no system calls".to_owned()))
}

/// Reads `field:unsigned int cmd; offset:32; size:8; signed:0;`, with tabs between.
fn offset_in(format: &str, field: &str) -> Option<u32> {
    let line = format.lines().map(str::trim).find(|line| {
        let declared = line.strip_prefix("field:").and_then(|rest| rest.split(';').next());
        declared.and_then(|d| d.split_whitespace().next_back()) == Some(field)
    })?;
    line.split(';').find_map(|part| part.trim().strip_prefix("offset:"))?.parse().ok()
}

/// Device and inode of this process' PID namespace, the device as the kernel writes it.
fn own_pid_namespace() -> io::Result<(u64, u64)> {
    let namespace = fs::metadata("/proc/self/ns/pid")?;
    let dev = namespace.st_dev();
    Ok(((major(dev) << 20) | minor(dev), namespace.st_ino()))
}

fn refused(what: &'static str, error: &(dyn Error + 'static)) -> ProbeError {
    match os_error(error) {
        Some(nix::libc::EPERM | nix::libc::EACCES) => ProbeError::NoPermission,
        Some(nix::libc::ENOSYS) => ProbeError::NoBpf,
        _ => ProbeError::Refused { what, why: chain(error) },
    }
}

/// The kernel's error number somewhere in the chain.
fn os_error(error: &(dyn Error + 'static)) -> Option<i32> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(number) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return Some(number);
        }
        next = error.source();
    }
    None
}

/// An error and its causes in one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: &str = "name: sys_enter_reboot\nID: 300\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n\
        \tfield:int __syscall_nr;\toffset:8;\tsize:4;\tsigned:1;\n\
        \tfield:unsigned int cmd;\toffset:32;\tsize:8;\tsigned:0;\n\
        \tfield:void * arg;\toffset:40;\tsize:8;\tsigned:0;\n";

    #[test]
    fn a_field_is_found_where_the_kernel_says_it_is() {
        assert_eq!(offset_in(FORMAT, "cmd"), Some(32));
        assert_eq!(offset_in(FORMAT, "arg"), Some(40));
        assert_eq!(offset_in(FORMAT, "ret"), None);
        assert_eq!(offset_in("field:unsigned int cmd;", "cmd"), None);
    }

    #[test]
    fn what_fails_says_why() {
        let missing = Loaded::load(Path::new("/nonexistent/psm-probe.o")).err().unwrap().to_string();
        assert_eq!(missing, "no object /nonexistent/psm-probe.o: No such file or directory (os error 2)");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("psm-probe.o");
        fs::write(&path, b"\x7fELF and then nothing").unwrap();
        let damaged = Loaded::load(&path).err().unwrap();
        assert!(matches!(damaged, ProbeError::Object { .. }), "{damaged:?}");
        fs::write(&path, vec![0; PROBE_OBJECT_BYTES_MAX as usize + 1]).unwrap();
        assert!(Loaded::load(&path).err().unwrap().to_string().contains("larger than"));
        assert!(matches!(refused("maps", &io::Error::from_raw_os_error(1)), ProbeError::NoPermission));
        assert!(matches!(refused("maps", &io::Error::from_raw_os_error(38)), ProbeError::NoBpf));
    }
}
