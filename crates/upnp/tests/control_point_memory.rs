//! What a known device costs in memory, counted by the allocator.
#![expect(unsafe_code, reason = "a counting allocator has to implement the unsafe GlobalAlloc")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

#[path = "control_point/bench.rs"]
#[expect(dead_code, reason = "only a part of the bench is used here")]
mod bench;

struct Counting;

static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed to the system's allocator unchanged; counting touches no memory of the allocation.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // malloc adds a word and rounds up to 16 bytes.
        LIVE_BYTES.fetch_add((layout.size() + 8).next_multiple_of(16), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of GlobalAlloc::alloc.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub((layout.size() + 8).next_multiple_of(16), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of GlobalAlloc::dealloc, and `memory` came from `System`.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The one test of this file, so that nothing else allocates beside it.
#[test]
fn a_hundred_and_sixty_devices_with_two_subscriptions_each_cost_at_most_four_kilobytes_each() {
    let mut config = bench::config();
    config.subscribe = vec![bench::urn(bench::SWITCH), bench::urn(bench::DIMMING)];
    let mut bench = bench::Bench::with(config);
    let before = LIVE_BYTES.load(Ordering::Relaxed);
    let devices = 160;
    for n in 1..=devices {
        bench.hear(n, &bench::alive(n, &[&format!("BOOTID.UPNP.ORG: {n}")]));
        bench.serve_description(n);
        for _ in 0..2 {
            let subscribe = bench.take("SUBSCRIBE");
            let sid = format!("uuid:3d1cf8be-0000-4000-8000-{n:012}");
            bench.answer(&subscribe, bench::granted(&sid, "Second-1800"));
        }
        bench.events.clear();
    }
    bench.events = Vec::new();
    bench.requests = Vec::new();
    bench.searches = Vec::new();
    assert_eq!(bench.cp.devices().count(), devices as usize);
    let each = (LIVE_BYTES.load(Ordering::Relaxed) - before) / devices as usize;
    assert!(each <= 4096, "{each} bytes a device");
    println!("{each} bytes a device, SSDP and two subscriptions included");
}
