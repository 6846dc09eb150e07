//! The kernel probe: power state events into a ring buffer.
//!
//! In: raw tracepoint `suspend_resume`, tracepoints `sys_enter_reboot` and `sys_exit_reboot`, kprobes and kretprobes where the kernel has them.
//! Out: a [`psm_event::Record`] each in `EVENTS`, its time and process filled in here. What the events mean is the agent's to
//! decide; here only what is none of its business is left out: other phases of a suspend, calls of reboot(2) that only set
//! ctrl-alt-del, by others than root, or for a container.
//!
//! The agent attaches what the running kernel offers. No pointer of the kernel's and nothing else of its memory leaves it.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", expect(unsafe_code, reason = "helpers of the kernel are raw pointers and numbers"))]

#[cfg(not(target_arch = "bpf"))]
fn main() {
    eprintln!("psm-probe runs in the kernel: `make ebpf` builds it");
    std::process::exit(69);
}

#[cfg(target_arch = "bpf")]
mod probe {
    use core::mem::size_of;

    use aya_ebpf::bindings::bpf_pidns_info;
    use aya_ebpf::helpers::{
        bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_uid_gid, bpf_get_ns_current_pid_tgid,
        bpf_ktime_get_boot_ns, bpf_probe_read_kernel_str_bytes,
    };
    use aya_ebpf::macros::{kprobe, kretprobe, map, raw_tracepoint, tracepoint};
    use aya_ebpf::maps::{Array, RingBuf};
    use aya_ebpf::programs::{ProbeContext, RawTracePointContext, RetProbeContext, TracePointContext};
    use psm_event::{Kind, RebootCommand, Record};

    /// Events on their way. A suspend makes about ten records of 48 bytes (header included), and the agent reads at once: a
    /// page holds eight suspends. The loader rounds it up where pages are larger.
    #[map]
    static EVENTS: RingBuf = RingBuf::with_byte_size(4096, 0);

    /// Records lost because `EVENTS` was full. Each record carries it, so that reading it takes no right. Not atomic, which the
    /// target has none of that all kernels take: two processors that lose at the same moment may count as one.
    #[map]
    static LOST: Array<u32> = Array::with_max_entries(1, 0);

    // Where reboot(2)'s tracepoints have their fields: the agent reads it from the kernel's own `format` files, because
    // 32-bit kernels have others. Set before loading.
    #[unsafe(no_mangle)]
    static CMD_OFFSET: u32 = 32;
    #[unsafe(no_mangle)]
    static RET_OFFSET: u32 = 16;
    // The agent's PID namespace: reboot(2) in one below it ends a container.
    #[unsafe(no_mangle)]
    static PID_NS_DEV: u64 = 0;
    #[unsafe(no_mangle)]
    static PID_NS_INO: u64 = 0;

    /// The first 15 bytes of a name in two words, as bpf_probe_read_kernel_str leaves them.
    const fn words(name: &[u8]) -> [u64; 2] {
        let mut bytes = [[0_u8; 8]; 2];
        let mut i = 0;
        while i < name.len() && i < 15 {
            bytes[i / 8][i % 8] = name[i];
            i += 1;
        }
        [u64::from_ne_bytes(bytes[0]), u64::from_ne_bytes(bytes[1])]
    }

    const SUSPEND_ENTER: [u64; 2] = words(b"suspend_enter");
    const MACHINE_SUSPEND: [u64; 2] = words(b"machine_suspend");
    const FREEZE_PROCESSES: [u64; 2] = words(b"freeze_processes");
    const THAW_PROCESSES: [u64; 2] = words(b"thaw_processes");

    /// suspend_resume(const char *action, int val, bool start)
    #[raw_tracepoint(tracepoint = "suspend_resume")]
    fn suspend_resume(ctx: RawTracePointContext) -> i32 {
        let action: *const u8 = ctx.arg(0);
        let state: i32 = ctx.arg(1);
        let begins: u8 = ctx.arg(2);
        let mut name = [0_u64; 2];
        // SAFETY: 16 bytes are 16 bytes, whatever they are called.
        let bytes = unsafe { core::slice::from_raw_parts_mut(name.as_mut_ptr().cast::<u8>(), 16) };
        // SAFETY: the helper checks the address itself.
        if unsafe { bpf_probe_read_kernel_str_bytes(action, bytes) }.is_err() {
            return 0;
        }
        let kind = match name {
            SUSPEND_ENTER => Kind::SuspendEnter,
            MACHINE_SUSPEND => Kind::MachineSuspend,
            FREEZE_PROCESSES => Kind::FreezeProcesses,
            THAW_PROCESSES => Kind::ThawProcesses,
            _ => return 0,
        };
        tell(kind, u16::from(begins & 1), state as u32);
        0
    }

    #[tracepoint(category = "syscalls", name = "sys_enter_reboot")]
    fn reboot_enter(ctx: TracePointContext) -> u32 {
        // SAFETY: the helper checks the address itself; the offset is from the kernel's own description.
        let command = unsafe { ctx.read_at::<u32>(setting(&CMD_OFFSET) as usize) };
        if let Ok(command) = command
            && RebootCommand::of(command).is_some()
            && is_for_the_machine()
        {
            tell(Kind::Reboot, 1, command);
        }
        0
    }

    #[tracepoint(category = "syscalls", name = "sys_exit_reboot")]
    fn reboot_exit(ctx: TracePointContext) -> u32 {
        // SAFETY: as above. The low half of the result: on little-endian machines that is where it begins.
        let result = unsafe { ctx.read_at::<i32>(setting(&RET_OFFSET) as usize) };
        if let Ok(result) = result
            && result < 0
            && is_for_the_machine()
        {
            tell(Kind::RebootFailed, 0, result as u32);
        }
        0
    }

    #[kprobe]
    fn kernel_power_off(_ctx: ProbeContext) -> u32 {
        tell(Kind::PowerOff, 1, 0)
    }

    #[kprobe]
    fn kernel_restart(_ctx: ProbeContext) -> u32 {
        tell(Kind::Restart, 1, 0)
    }

    #[kprobe]
    fn kernel_halt(_ctx: ProbeContext) -> u32 {
        tell(Kind::Halt, 1, 0)
    }

    #[kprobe]
    fn kernel_kexec(_ctx: ProbeContext) -> u32 {
        tell(Kind::Kexec, 1, 0)
    }

    #[kprobe]
    fn hibernate(_ctx: ProbeContext) -> u32 {
        tell(Kind::Hibernate, 1, 0)
    }

    #[kretprobe]
    fn pm_suspend_return(_ctx: RetProbeContext) -> u32 {
        tell(Kind::SleepOver, 0, 0)
    }

    #[kretprobe]
    fn hibernate_return(_ctx: RetProbeContext) -> u32 {
        tell(Kind::SleepOver, 0, 0)
    }

    /// A setting that the agent wrote into the object: read as it is when loaded, not as it was when compiled.
    fn setting<T: Copy>(value: &'static T) -> T {
        // SAFETY: a reference is valid for reads.
        unsafe { core::ptr::read_volatile(value) }
    }

    /// reboot(2) ends the agent's machine only where root calls it in the agent's own PID namespace, which is the outermost unless it
    /// runs in a container itself; a user's call fails, and that of a container below ends the container.
    fn is_for_the_machine() -> bool {
        let mut ids = bpf_pidns_info { pid: 0, tgid: 0 };
        let (dev, ino) = (setting(&PID_NS_DEV), setting(&PID_NS_INO));
        // SAFETY: `ids` is as large as said.
        let elsewhere =
            unsafe { bpf_get_ns_current_pid_tgid(dev, ino, &raw mut ids, size_of::<bpf_pidns_info>() as u32) };
        bpf_get_current_uid_gid() as u32 == 0 && elsewhere == 0
    }

    fn tell(kind: Kind, begins: u16, value: u32) -> u32 {
        // SAFETY: takes nothing.
        let boot_ns = unsafe { bpf_ktime_get_boot_ns() };
        let Some(lost) = LOST.get_ptr_mut(0) else { return 0 };
        let Some(mut entry) = EVENTS.reserve::<Record>(0) else {
            // SAFETY: a map's value, there as long as the program.
            unsafe { *lost = (*lost).wrapping_add(1) };
            return 0;
        };
        entry.write(Record {
            boot_ns,
            kind: kind as u16,
            begins,
            value,
            pid: (bpf_get_current_pid_tgid() >> 32) as u32,
            comm: bpf_get_current_comm().unwrap_or_default(),
            // SAFETY: as above.
            lost: unsafe { *lost },
        });
        entry.submit(0);
        0
    }

    /// Never entered: nothing here panics, and the loader has no place for it.
    #[panic_handler]
    fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
        loop {}
    }

    // Helpers reserved to GPL programs are used (bpf_probe_read_kernel_str); the licence lets that be said.
    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
}
