//! The kernel's part in a suspend, played to the probe that a running agent has loaded.
//!
//! BPF_PROG_TEST_RUN runs a loaded program with arguments of the caller's, here the very program of the agent's process, so
//! that the record goes through its ring buffer to it, on any kernel with BPF, also one that cannot suspend. The string argument
//! must lie in kernel memory: a second program, `psm-probe-strings`, holds it there and tells its address.
//!
//! All of it takes CAP_SYS_ADMIN in the initial user namespace.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use aya::maps::{Array, MapData};
use aya::programs::{RawTracePoint, RawTracePointRunOptions, TestRun, loaded_programs};
use aya::{Ebpf, EbpfLoader};

/// suspend_state_t: suspend to memory.
pub const TO_MEMORY: i32 = 3;

/// The tracepoint's name of one phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// `suspend_enter`
    SuspendEnter,
    /// `freeze_processes`
    FreezeProcesses,
    /// `machine_suspend`
    MachineSuspend,
    /// `thaw_processes`
    ThawProcesses,
    /// `dpm_suspend`: one of those that the probe leaves out.
    DevicesSuspend,
}

impl Phase {
    const ALL: [Self; 5] =
        [Self::SuspendEnter, Self::FreezeProcesses, Self::MachineSuspend, Self::ThawProcesses, Self::DevicesSuspend];

    const fn name(self) -> &'static str {
        match self {
            Self::SuspendEnter => "suspend_enter",
            Self::FreezeProcesses => "freeze_processes",
            Self::MachineSuspend => "machine_suspend",
            Self::ThawProcesses => "thaw_processes",
            Self::DevicesSuspend => "dpm_suspend",
        }
    }
}

/// The kernel, for one agent.
#[derive(Debug)]
pub struct Kernel {
    program: RawTracePoint,
    addresses: BTreeMap<Phase, u64>,
    /// Hold the strings.
    _strings: Vec<Ebpf>,
}

impl Kernel {
    /// For the agent with process number `pid`, which has loaded the probe. `strings` is the object of the test aid.
    ///
    /// # Errors
    /// No such program in that process, or no right.
    pub fn of_agent(pid: u32, strings: &Path) -> Result<Self> {
        let id = suspend_program(pid)?;
        let info = loaded_programs()
            .filter_map(Result::ok)
            .find(|info| info.id() == id)
            .with_context(|| format!("program {id} is not loaded"))?;
        let program = RawTracePoint::from_program_info(info, "suspend_resume".into()).context("opening the program")?;
        let object = fs::read(strings).with_context(|| format!("reading {}", strings.display()))?;
        let mut held = Vec::new();
        let mut addresses = BTreeMap::new();
        for phase in Phase::ALL {
            let (ebpf, address) = hold(&object, phase.name())?;
            addresses.insert(phase, address);
            held.push(ebpf);
        }
        Ok(Self { program, addresses, _strings: held })
    }

    /// Lets the tracepoint `suspend_resume` fire as the kernel would, in the context of the calling process.
    ///
    /// # Errors
    /// The kernel refuses the run.
    pub fn fires(&self, phase: Phase, state: i32, begins: bool) -> Result<()> {
        let mut args = [0; 12];
        args[0] = self.addresses[&phase];
        args[1] = u64::from(state.cast_unsigned());
        args[2] = u64::from(begins);
        self.program.test_run(RawTracePointRunOptions { args, ..RawTracePointRunOptions::new() })?;
        Ok(())
    }

    /// What a suspend fires until the machine stands still.
    ///
    /// # Errors
    /// As [`Self::fires`].
    pub fn falls_asleep(&self) -> Result<()> {
        self.fires(Phase::SuspendEnter, TO_MEMORY, true)?;
        self.fires(Phase::FreezeProcesses, 0, true)?;
        self.fires(Phase::FreezeProcesses, 0, false)?;
        self.fires(Phase::SuspendEnter, TO_MEMORY, false)?;
        self.fires(Phase::DevicesSuspend, 2, true)?;
        self.fires(Phase::MachineSuspend, TO_MEMORY, true)
    }

    /// What follows when it is woken.
    ///
    /// # Errors
    /// As [`Self::fires`].
    pub fn wakes(&self) -> Result<()> {
        self.fires(Phase::MachineSuspend, TO_MEMORY, false)?;
        self.fires(Phase::DevicesSuspend, 2, false)?;
        self.fires(Phase::ThawProcesses, 0, true)?;
        self.fires(Phase::ThawProcesses, 0, false)
    }

    /// Nanoseconds the program has run and how often, since [`aya::sys::enable_stats`].
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn cost(&self) -> Result<(u64, u64)> {
        let info = self.program.info()?;
        Ok((u64::try_from(info.run_time().as_nanos()).unwrap_or(u64::MAX), info.run_count()))
    }
}

/// The program behind the link to `suspend_resume` that process `pid` holds.
fn suspend_program(pid: u32) -> Result<u32> {
    let dir = format!("/proc/{pid}/fdinfo");
    for entry in fs::read_dir(&dir).with_context(|| format!("reading {dir}"))?.flatten() {
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        let value = |key: &str| text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':')).map(str::trim);
        if value("tp_name") == Some("suspend_resume") {
            return value("prog_id").and_then(|id| id.parse().ok()).context("a link without a program");
        }
    }
    bail!("process {pid} holds no link to suspend_resume")
}

/// Puts `text` into kernel memory; it stays as long as the object.
fn hold(object: &[u8], text: &str) -> Result<(Ebpf, u64)> {
    let mut ebpf = EbpfLoader::new().btf(None).load(object).context("loading the test aid")?;
    let mut bytes = [0; 32];
    bytes.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
    let map = ebpf.map_mut("STRING").context("the test aid has no STRING")?;
    Array::<&mut MapData, [u8; 32]>::try_from(map)?.set(0, bytes, 0)?;
    let program: &mut RawTracePoint = ebpf.program_mut("address").context("the test aid has no program")?.try_into()?;
    program.load()?;
    program.test_run(RawTracePointRunOptions::new())?;
    let map = ebpf.map("ADDRESS").context("the test aid has no ADDRESS")?;
    let address = Array::<&MapData, u64>::try_from(map)?.get(&0, 0)?;
    anyhow::ensure!(address != 0, "the test aid told no address");
    Ok((ebpf, address))
}
