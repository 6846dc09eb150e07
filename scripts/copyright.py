#!/usr/bin/env python3
"""Writes debian/copyright (DEP-5) from Cargo.lock and what each crate says of itself: licence from its manifest, holders from its licence
files, else its authors. `make copyright` runs it after a change of Cargo.lock; the test `packaging` says when that was forgotten."""
import json
import pathlib
import re
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "debian/copyright"
US = "2026 The Home Energy Gateway developers"
LICENCE_FILE = re.compile(r"(licen[sc]e|copying|copyright|notice|unlicense)", re.I)
NOTICE = re.compile(r"^[\s/*#]*(?:Portions )?Copyright[:\s]\s*(?P<holder>.*)$", re.I)
# Lines of the Apache licence's own text and of forms that nobody filled in.
NO_HOLDER = re.compile(r"\[(yyyy|year|fullname)|\b(owner|notice|holder|license|licence|law|laws|to|for)\b", re.I)

# SPDX's name of a licence: Debian's name of it.
NAMES = {
    "Apache-2.0": "Apache-2.0", "MIT": "Expat", "BSD-2-Clause": "BSD-2-clause", "BSD-3-Clause": "BSD-3-clause", "Zlib": "Zlib",
    "Unlicense": "Unlicense", "BSL-1.0": "BSL-1.0", "Unicode-3.0": "Unicode-3.0", "BlueOak-1.0.0": "BlueOak-1.0.0",
    "LGPL-2.1-or-later": "LGPL-2.1+", "GPL-2.0-only": "GPL-2", "Apache-2.0 WITH LLVM-exception": "Apache-2.0-with-LLVM-exception",
}
# Texts that every Debian system has.
COMMON = {"Apache-2.0": "Apache-2.0", "LGPL-2.1+": "LGPL-2.1", "GPL-2": "GPL-2"}
# Whose file has the text of each other licence, and the line it begins with. The Expat one is our own.
TEXTS = {
    "BSD-2-clause": ("zerocopy", "LICENSE-BSD", "Redistribution"),
    "BSD-3-clause": ("subtle", "LICENSE", "Redistribution"),
    "Zlib": ("foldhash", "LICENSE", "This software"),
    "Unlicense": ("memchr", "UNLICENSE", "This is free"),
    "BSL-1.0": ("ryu", "LICENSE-BOOST", "Boost"),
    "Unicode-3.0": ("unicode-ident", "LICENSE-UNICODE", "NOTICE TO USER"),
    "BlueOak-1.0.0": ("minicbor", "LICENSE.md", "# Blue Oak"),
    "Apache-2.0-with-LLVM-exception": ("rustix", "LICENSE-Apache-2.0_WITH_LLVM-exception", "As an exception"),
}
# Files that are not under their crate's licence.
PARTS = {
    "libsqlite3-sys": [("sqlite3/sqlite3*", "none: its authors gave it to the public", "public-domain")],
}
PUBLIC_DOMAIN = "The authors of SQLite disclaim copyright to its source code."


def main():
    cargo = shlex.split(sys.argv[1]) if len(sys.argv) > 1 else ["cargo"]
    out = subprocess.run([*cargo, "metadata", "--locked", "--format-version", "1"], cwd=ROOT, check=True, capture_output=True, text=True)
    crates = sorted((p for p in json.loads(out.stdout)["packages"] if p["source"]), key=lambda p: (p["name"], p["version"]))
    where = {p["name"]: pathlib.Path(p["manifest_path"]).parent for p in crates}
    stanzas, used = {}, {"Apache-2.0", "Expat", "GPL-2"}
    for crate in crates:
        directory = f"vendor/{crate['name']}-{crate['version']}"
        licence = debian_licence(crate["license"], used)
        stanzas.setdefault((tuple(holders(crate)), licence), []).append(f"{directory}/*")
    text = [head()]
    for (who, licence), files in sorted(stanzas.items(), key=lambda s: s[1]):
        text.append(f"Files: {lines(files)}\nCopyright: {lines(who)}\nLicense: {licence}\n")
    # The last stanza that fits a file holds for it.
    for crate in crates:
        for pattern, who, licence in PARTS.get(crate["name"], []):
            text.append(f"Files: vendor/{crate['name']}-{crate['version']}/{pattern}\nCopyright: {who}\nLicense: {licence}\n")
            used.add(licence)
    text += [f"License: {name}\n{indent(licence_text(name, where))}\n" for name in sorted(used)]
    OUTPUT.write_text("\n".join(text))


def head():
    return f"""Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: Home Energy Gateway
Comment: Written by scripts/copyright.py. What is in vendor/ comes along with the source package, and is part of the programs or was
 needed to build them. Of other crates of Cargo.lock just the manifest is there.

Files: *
Copyright: {US}
License: Apache-2.0 or Expat

Files: psm-ebpf/*
Copyright: {US}
License: Apache-2.0 or Expat or GPL-2
"""


def debian_licence(expression, used):
    """The SPDX expression in Debian's words: `or`, `and`, and a comma where SPDX has brackets."""
    expression = expression.replace("/", " OR ")
    for spdx in sorted(NAMES, key=len, reverse=True):
        found = re.sub(rf"(?<![\w.-]){re.escape(spdx)}(?![\w.-]| WITH)", f"<{NAMES[spdx]}>", expression)
        if found != expression:
            used.add(NAMES[spdx])
            expression = found
    left = re.sub(r"<[^>]*>|\bOR\b|\bAND\b|[() ]", "", expression)
    if left:
        sys.exit(f"copyright: no Debian name for {left}; add it to NAMES")
    bracketed = re.fullmatch(r"\((.*)\) AND ([^()]*)", expression)
    if bracketed:
        expression = f"{bracketed[1]}, and {bracketed[2]}"
    elif "(" in expression:
        sys.exit(f"copyright: brackets in {expression}")
    return expression.replace(" OR ", " or ").replace(" AND ", " and ").translate({60: None, 62: None})


def holders(crate):
    found = []
    for path in sorted(pathlib.Path(crate["manifest_path"]).parent.iterdir()):
        if not (LICENCE_FILE.match(path.name) and path.is_file()):
            continue
        for line in path.read_text(errors="replace").splitlines():
            notice = NOTICE.match(line)
            if not notice or not re.search(r"\d{4}|\(c\)|©", line, re.I):
                continue
            holder = re.sub(r"^(\(c\)|©|[,:]|\s)+", "", notice["holder"], flags=re.I)
            holder = re.sub(r"[.,]?\s*All rights reserved\.?$", "", holder, flags=re.I).rstrip(". ")
            # A year alone names nobody.
            if re.search(r"[A-Za-z]", holder) and not NO_HOLDER.search(holder) and holder not in found:
                found.append(holder)
    if not found:
        found = [re.sub(r"\s*<[^>]*>", "", author) for author in crate["authors"]]
    return found or [f"The {crate['name']} developers"]


def licence_text(name, where):
    if name in COMMON:
        return f"On Debian systems the text of this license is in /usr/share/common-licenses/{COMMON[name]}."
    if name == "public-domain":
        return PUBLIC_DOMAIN
    if name == "Expat":
        return after((ROOT / "LICENSE-MIT").read_text(), "Permission")
    crate, file, begin = TEXTS[name]
    text = after((where[crate] / file).read_text(), begin)
    if name == "Apache-2.0-with-LLVM-exception":
        return f"{licence_text('Apache-2.0', where)} This exception goes with it:\n\n{text}"
    return text


def after(text, begin):
    found = re.search(rf"^{re.escape(begin)}", text, re.M)
    if not found:
        sys.exit(f"copyright: no line that begins with {begin!r}")
    return text[found.start():].strip()


def indent(text):
    return "\n".join(f" {line.strip()}" if line.strip() else " ." for line in text.splitlines())


def lines(items):
    return "\n ".join(items)


if __name__ == "__main__":
    main()
