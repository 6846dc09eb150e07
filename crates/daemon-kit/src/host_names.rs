//! How host names are looked up in a statically linked program.
//!
//! The C library looks into `/etc/nsswitch.conf` and loads what stands there (`mdns4_minimal`, `resolve`) as shared libraries, made for the C
//! library of the system. A statically linked program has one of its own, on ARMv6 even with another way of passing numbers, and
//! must not load them. Files and DNS are in the program itself.
#![cfg_attr(
    all(target_env = "gnu", target_feature = "crt-static"),
    expect(unsafe_code, reason = "the C library's choice of services is a C function")
)]

/// Has host names looked up in `/etc/hosts` and by DNS only, where the program is linked statically; elsewhere the system's settings hold.
/// Call it first of all, before there is a second thread.
pub fn without_loaded_libraries() {
    #[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
    {
        use std::ffi::{c_char, c_int};
        unsafe extern "C" {
            // nss.h of the GNU C library
            fn __nss_configure_lookup(database: *const c_char, services: *const c_char) -> c_int;
        }
        // SAFETY: both are constant C strings, which the C library only reads; there is one thread.
        let result = unsafe { __nss_configure_lookup(c"hosts".as_ptr(), c"files dns".as_ptr()) };
        assert_eq!(result, 0, "the C library knows the services that are built into it");
    }
}
