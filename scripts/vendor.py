#!/usr/bin/env python3
"""Puts the crates of Cargo.lock into a directory, as the Debian source package carries them along to be built without a network.
    scripts/vendor.py DIRECTORY [CARGO]
Crates that no packed program is made of (those of other systems, and those of tests) are left with their manifest, which cargo wants to see,
and an empty library: most of the bytes would be theirs, and a Debian source package must not hold programs without source."""
import json
import pathlib
import shlex
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
# What is packed, for the machines that packages are made for. Builds run on one of these too.
PROGRAMS = ["heg", "psm-agent", "utility", "kmc"]
TARGETS = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "armv7-unknown-linux-gnueabihf", "arm-unknown-linux-gnueabi"]
PROBE = ("psm-ebpf", "bpfel-unknown-none")


def main():
    directory = pathlib.Path(sys.argv[1])
    cargo = shlex.split(sys.argv[2]) if len(sys.argv) > 2 else ["cargo"]
    run = {"cwd": ROOT, "check": True, "text": True, "stdout": subprocess.PIPE}
    subprocess.run([*cargo, "vendor", "--quiet", "--locked", "--versioned-dirs", directory.resolve()], **run)
    wanted = set()
    for crate, target in [(p, t) for p in PROGRAMS for t in TARGETS] + [PROBE]:
        out = subprocess.run([*cargo, "tree", "--locked", "-p", crate, "--target", target, "-e", "normal,build", "--prefix", "none"], **run)
        for line in out.stdout.splitlines():
            name, version = line.split()[:2]
            wanted.add(f"{name}-{version.removeprefix('v')}")
    kept = 0
    for crate in sorted(directory.iterdir()):
        if crate.name in wanted:
            kept += 1
            drop_what_dpkg_drops(crate)
        else:
            reduce_to_manifest(crate)
    print(f"vendor: {kept} crates whole, {len(list(directory.iterdir())) - kept} by their manifest")


def drop_what_dpkg_drops(crate):
    # dpkg-source takes files of this ending for leftovers of patches; cargo would miss them.
    for leftover in crate.rglob("*.orig"):
        leftover.unlink()
    path = crate / ".cargo-checksum.json"
    checksums = json.loads(path.read_text())
    checksums["files"] = {name: digest for name, digest in checksums["files"].items() if not name.endswith(".orig")}
    path.write_text(json.dumps(checksums))


def reduce_to_manifest(crate):
    manifest = (crate / "Cargo.toml").read_bytes()
    checksums = json.loads((crate / ".cargo-checksum.json").read_text())
    shutil.rmtree(crate)
    (crate / "src").mkdir(parents=True)
    (crate / "Cargo.toml").write_bytes(manifest)
    (crate / "src/lib.rs").write_text("")
    # Of no file: cargo holds to this list what it finds.
    (crate / ".cargo-checksum.json").write_text(json.dumps({"files": {}, "package": checksums["package"]}))


if __name__ == "__main__":
    main()
