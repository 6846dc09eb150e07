//! For the tests of the probe: puts a string where only kernel memory will do.
//!
//! BPF_PROG_TEST_RUN passes a raw tracepoint's arguments as numbers, and `suspend_resume`'s first is the address of a string in
//! the kernel, which a machine without suspend has nowhere. A test writes the string into `STRING`, runs `address` once and
//! reads from `ADDRESS` where it lies. Never installed: addresses of the kernel are nobody's business.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", expect(unsafe_code, reason = "the panic handler and the licence are symbols"))]

#[cfg(not(target_arch = "bpf"))]
fn main() {
    eprintln!("psm-probe-strings runs in the kernel: `make ebpf` builds it");
    std::process::exit(69);
}

#[cfg(target_arch = "bpf")]
mod strings {
    use aya_ebpf::macros::{map, raw_tracepoint};
    use aya_ebpf::maps::Array;
    use aya_ebpf::programs::RawTracePointContext;

    /// The string, with its zero.
    #[map]
    static STRING: Array<[u8; 32]> = Array::with_max_entries(1, 0);

    /// Where it lies.
    #[map]
    static ADDRESS: Array<u64> = Array::with_max_entries(1, 0);

    #[raw_tracepoint(tracepoint = "suspend_resume")]
    fn address(_ctx: RawTracePointContext) -> i32 {
        let (Some(string), Some(address)) = (STRING.get_ptr(0), ADDRESS.get_ptr_mut(0)) else { return 1 };
        // SAFETY: both lie in maps of this program.
        unsafe { *address = string as u64 };
        0
    }

    /// Never entered.
    #[panic_handler]
    fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
        loop {}
    }

    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
}
