#!/usr/bin/env bash
# Cross-builds the Debian packages for ARM with the compiler of scripts/cross-toolchain.sh.
#   scripts/deb-arm.sh arm64|armhf     the packages of that architecture, in target/deb
#   scripts/deb-arm.sh armv6           gateway and agent for ARMv6, in target/deb-armv6: architecture armhf, version with +armv6
#   PROFILES=LIST  further build profiles, by spaces (debian/rules names them)
# docs/decisions/0075 and 0076 say why so, docs/raspberry-pi.md which board takes which.
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1:-}" in arm64 | armhf | armv6) ;; *) echo "usage: scripts/deb-arm.sh arm64|armhf|armv6" >&2; exit 64 ;; esac
toolchain=$(scripts/cross-toolchain.sh)
# Not by PATH, where rustup's would come first. Any cargo of this age does.
cargo=$(.ci/cargo-path)
export CARGO="env RUSTC=$toolchain/bin/rustc ${cargo##* }"
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET CARGO_TARGET_DIR

if [ "$1" != armv6 ]; then
    scripts/deb.sh "$1"
    exit
fi
# All of Debian's armhf is ARMv7 code, its start-up code and C library too. Its armel is older code with numbers passed in other
# registers: with that, and the standard library built for ARMv6 beside, a static program is made that needs nothing of the system.
export RUST_TARGET=arm-unknown-linux-gnueabi
export CROSS=arm-linux-gnueabi-
export CARGO_MORE="-Zbuild-std=std,panic_abort"
export RUSTC_BOOTSTRAP=1
export RUST_FLAGS_MORE="-Clink-arg=-no-pie -Ctarget-feature=+crt-static"
export VERSION_MORE=+armv6
OUT=${OUT:-target/deb-armv6} PROFILES="pkg.heg.noprobe pkg.heg.noutility ${PROFILES:-}" scripts/deb.sh armhf
