#!/usr/bin/env python3
"""Writes what a package is made of as a CycloneDX 1.5 bill of materials: each crate that is in its programs, with licence and checksum,
and each that was only needed to build them (scope "excluded"). Nothing in it depends on the machine, or on the time but by
SOURCE_DATE_EPOCH."""
import argparse
import datetime
import hashlib
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tomllib
import uuid

ROOT = pathlib.Path(__file__).resolve().parent.parent
BPF = "bpfel-unknown-none"
# What each package is built from; None is the machine it is for.
PACKAGES = {
    "heg-gateway": [("heg", None)],
    "psm-agent": [("psm-agent", None), ("psm-ebpf", BPF)],
    "heg-utility": [("utility", None), ("kmc", None)],
}


def main():
    options = arguments()
    tree = Tree()
    for crate, target in parts(options):
        tree.add(options.cargo, crate, target or options.target, in_program=True)
        tree.add(options.cargo, crate, target or options.target, in_program=False)
    out = json.dumps(bill(options, tree), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(out)
    else:
        sys.stdout.write(out)


def parts(options):
    return [(crate, target) for crate, target in PACKAGES[options.package] if target != BPF or not options.no_probe]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--package", required=True, choices=sorted(PACKAGES))
    parser.add_argument("--version", required=True, help="the package's")
    parser.add_argument("--no-probe", action="store_true", help="it is packed without the kernel probe")
    parser.add_argument("--static-libc-of", metavar="CC", help="the C compiler whose library is linked into its programs, where one is")
    parser.add_argument("--target", help="Rust's name of the machine it is for, this one without")
    parser.add_argument("--cargo", default="cargo", type=shlex.split, help="the cargo to ask, with its environment")
    parser.add_argument("--output", type=pathlib.Path, help="file to write, else standard output")
    options = parser.parse_args()
    if not options.target:
        out = subprocess.run([*options.cargo, "-vV"], check=True, capture_output=True, text=True).stdout
        options.target = re.search(r"^host: (.*)$", out, re.M)[1]
    return options


class Tree:
    """Crates as (name, version): licence, whether they are in a program, and what each uses."""

    def __init__(self):
        self.licence, self.own, self.in_program, self.uses = {}, set(), set(), {}

    def add(self, cargo, crate, target, in_program):
        # A crate that stands again has its own crates where it stood first, so that every edge is seen once.
        edges = "normal" if in_program else "normal,build"
        out = subprocess.run(
            [*cargo, "tree", "--locked", "-p", crate, "--target", target, "-e", edges, "--prefix", "depth", "-f", "|{p}|{l}"],
            cwd=ROOT, check=True, capture_output=True, text=True).stdout
        above = []
        # Below a macro's crate everything runs in the compiler.
        compiler_from = None
        for line in out.splitlines():
            depth, package, licence = line.split("|")
            depth, words = int(depth), package.split()
            key = (words[0], words[1].removeprefix("v"))
            if compiler_from is not None and depth <= compiler_from:
                compiler_from = None
            if "(proc-macro)" in words and compiler_from is None:
                compiler_from = depth
            if any(word.startswith("(/") for word in words):
                self.own.add(key)
            if in_program and compiler_from is None:
                self.in_program.add(key)
            self.licence[key] = licence.removesuffix(" (*)").replace("/", " OR ")
            self.uses.setdefault(key, set())
            del above[depth:]
            if above:
                self.uses[above[-1]].add(key)
            above.append(key)


def bill(options, tree):
    version = options.version
    checksum = {(p["name"], p["version"]): p.get("checksum") for p in lock()}
    components = [component(key, tree, checksum[key]) for key in sorted(tree.licence)]
    roots = [next(ref(k, tree) for k in tree.licence if k[0] == crate) for crate, _ in parts(options)]
    dependencies = {ref(k, tree): sorted(ref(u, tree) for u in used) for k, used in tree.uses.items()}
    for wrapper in (k for k in tree.licence if k[0] == "libsqlite3-sys"):
        sqlite = sqlite_component(options.cargo, options.target)
        components.append(sqlite)
        dependencies[ref(wrapper, tree)].append(sqlite["bom-ref"])
    top = f"pkg:deb/home-energy-gateway/{options.package}@{version}"
    linked = c_library(options.static_libc_of) if options.static_libc_of else []
    components += linked
    dependencies[top] = sorted(roots) + [part["bom-ref"] for part in linked]
    made = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application", "bom-ref": top, "purl": top, "name": options.package, "version": version,
                "licenses": [{"expression": "Apache-2.0 OR MIT"}],
            },
            "properties": [{"name": "rust:target", "value": options.target}],
        },
        "components": components,
        "dependencies": [{"ref": r, "dependsOn": d} for r, d in sorted(dependencies.items())],
    }
    if epoch := os.environ.get("SOURCE_DATE_EPOCH"):
        moment = datetime.datetime.fromtimestamp(int(epoch), datetime.timezone.utc)
        made["metadata"]["timestamp"] = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    digest = hashlib.sha256(json.dumps(made, sort_keys=True).encode()).digest()
    made["serialNumber"] = uuid.UUID(bytes=digest[:16], version=4).urn
    return made


def lock():
    return tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]


def ref(key, tree):
    return f"home-energy-gateway#{key[0]}@{key[1]}" if key in tree.own else f"pkg:cargo/{key[0]}@{key[1]}"


def component(key, tree, checksum):
    made = {
        "type": "library", "bom-ref": ref(key, tree), "name": key[0], "version": key[1],
        "scope": "required" if key in tree.in_program else "excluded",
        "licenses": [{"expression": tree.licence[key]}],
    }
    if key not in tree.own:
        made["purl"] = ref(key, tree)
    if checksum:
        made["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return made


def sqlite_component(cargo, target):
    """SQLite itself, whose C source the crate brings along."""
    out = subprocess.run([*cargo, "metadata", "--locked", "--format-version", "1", "--filter-platform", target],
                         cwd=ROOT, check=True, capture_output=True, text=True).stdout
    manifest = next(p["manifest_path"] for p in json.loads(out)["packages"] if p["name"] == "libsqlite3-sys")
    header = (pathlib.Path(manifest).parent / "sqlite3/sqlite3.h").read_text()
    version = re.search(r'#define SQLITE_VERSION\s+"(.*?)"', header)[1]
    return {
        "type": "library", "bom-ref": f"sqlite@{version}", "name": "sqlite", "version": version, "scope": "required",
        "cpe": f"cpe:2.3:a:sqlite:sqlite:{version}:*:*:*:*:*:*:*", "licenses": [{"license": {"name": "public domain"}}],
    }


def c_library(compiler):
    """What a static program has of the C library and of the compiler's own."""
    asked = [compiler, "-dM", "-E", "-include", "features.h", "-x", "c", "/dev/null"]
    macros = dict(re.findall(r"^#define (__GLIBC__|__GLIBC_MINOR__) (\d+)$",
                             subprocess.run(asked, check=True, capture_output=True, text=True).stdout, re.M))
    glibc = f"{macros['__GLIBC__']}.{macros['__GLIBC_MINOR__']}"
    gcc = subprocess.run([compiler, "-dumpfullversion"], check=True, capture_output=True, text=True).stdout.strip()
    return [
        {
            "type": "library", "bom-ref": f"glibc@{glibc}", "name": "glibc", "version": glibc, "scope": "required",
            "cpe": f"cpe:2.3:a:gnu:glibc:{glibc}:*:*:*:*:*:*:*", "licenses": [{"expression": "LGPL-2.1-or-later"}],
        },
        {
            "type": "library", "bom-ref": f"libgcc@{gcc}", "name": "libgcc", "version": gcc, "scope": "required",
            "licenses": [{"expression": "GPL-3.0-or-later WITH GCC-exception-3.1"}],
        },
    ]


if __name__ == "__main__":
    main()
