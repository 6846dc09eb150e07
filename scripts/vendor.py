#!/usr/bin/env python3
"""Puts the crates of Cargo.lock into a directory, as the Debian source package carries them along to be built without a network.
    scripts/vendor.py DIRECTORY [CARGO]
Crates that only other systems than Linux need are left with their manifest, which cargo wants to see, and an empty library: most of the
bytes would be theirs, and a Debian source package must not hold programs without source."""
import json
import pathlib
import shlex
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
# The machines that packages are made for, and the kernel.
TARGETS = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "armv7-unknown-linux-gnueabihf", "arm-unknown-linux-gnueabi",
           "bpfel-unknown-none"]


def main():
    directory = pathlib.Path(sys.argv[1])
    cargo = shlex.split(sys.argv[2]) if len(sys.argv) > 2 else ["cargo"]
    run = {"cwd": ROOT, "check": True, "text": True, "stdout": subprocess.PIPE}
    subprocess.run([*cargo, "vendor", "--quiet", "--locked", "--versioned-dirs", directory.resolve()], **run)
    wanted = set()
    for target in TARGETS:
        out = subprocess.run([*cargo, "metadata", "--locked", "--format-version", "1", "--filter-platform", target], **run).stdout
        wanted |= {f"{p['name']}-{p['version']}" for p in json.loads(out)["packages"] if p["source"]}
    kept = 0
    for crate in sorted(directory.iterdir()):
        if crate.name in wanted:
            kept += 1
        else:
            reduce_to_manifest(crate)
    print(f"vendor: {kept} crates whole, {len(list(directory.iterdir())) - kept} by their manifest")


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
