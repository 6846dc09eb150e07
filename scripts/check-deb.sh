#!/usr/bin/env bash
# Holds what no Debian tool holds of built packages: units, users and pages are in them, dependencies can be met on another machine, and
# nothing in them speaks of the machine that built them; bills of materials are whole, and documents lead to files that are there.
#   scripts/check-deb.sh FILE.changes
set -euo pipefail
changes=$(realpath "$1")
source=$(realpath "$(dirname "$0")/..")
cd "$(dirname "$changes")"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bad=0
wrong() { echo "check-deb: $*" >&2; bad=1; }
names=$(sed -n '/^Files:/,/^[^ ]/s/^ .* //p' "$changes")
# The units of each package.
units_of() {
    case "$1" in
        heg-gateway) echo heg-gateway.service heg-firewall.service ;;
        psm-agent) echo psm-agent.service psm-agent-wake.service appliance.target ;;
        heg-utility) echo heg-utility.service heg-kmc.service ;;
        *) wrong "$1 is a package without a list of its units" ;;
    esac
}
profiles=$(sed -n 's/^Built-For-Profiles: //p' "$changes")

for deb in $names; do
    case "$deb" in *-dbgsym_*) continue ;; *.deb) ;; *) continue ;; esac
    package=${deb%%_*}
    root=$work/$package
    dpkg-deb --extract "$deb" "$root"
    dpkg-deb --control "$deb" "$root/DEBIAN"
    depends=$(dpkg-deb --field "$deb" Depends Pre-Depends Recommends)
    case "$depends" in *-cross* | *:a[mr]* | *'${'*) wrong "$deb can't be installed elsewhere: $depends" ;; esac
    [[ " $names " == *"$package-dbgsym_"* ]] || wrong "$deb has no -dbgsym beside it"
    for unit in $(units_of "$package"); do
        [ -s "$root/usr/lib/systemd/system/$unit" ] || wrong "$deb lacks $unit"
        ! grep -q '^\[Install\]' "$root/usr/lib/systemd/system/$unit" ||
            grep -q "deb-systemd-helper.* '*$unit" "$root/DEBIAN/postinst" || wrong "$deb does not enable $unit"
    done
    for file in sysusers.d/$package.conf tmpfiles.d/$package.conf; do
        [ -s "$root/usr/lib/$file" ] || wrong "$deb lacks $file"
        grep -q "${file%%.d/*}.*$package.conf" "$root/DEBIAN/postinst" || wrong "$deb does not apply $file"
    done
    for program in "$root"/usr/bin/*; do
        ls "$root"/usr/share/man/man[18]/"${program##*/}".[18].gz >/dev/null 2>&1 || wrong "$deb has no page of ${program##*/}"
    done
    for file in copyright changelog.Debian.gz changelog.gz "$package.cdx.json"; do
        [ -s "$root/usr/share/doc/$package/$file" ] || wrong "$deb lacks $file"
    done
    if [ "$package" = psm-agent ] && [[ $profiles != *pkg.heg.noprobe* ]]; then
        [ -s "$root/usr/lib/psm/psm-probe.o" ] || wrong "$deb lacks the kernel probe"
    fi
    PROFILES=$profiles python3 - "$deb" "$root/usr/share/doc/$package" "$(dpkg-deb --field "$deb" Version)" <<'END' || bad=1
import json, os, pathlib, re, sys
deb, documents, version = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
package = deb.split("_")[0]
wrong = []
bill = json.loads((documents / f"{package}.cdx.json").read_text())
top = bill["metadata"]["component"]
names = {c["name"] for c in bill["components"]}
refs = {top["bom-ref"]} | {c["bom-ref"] for c in bill["components"]}
used = {d["ref"]: d["dependsOn"] for d in bill["dependencies"]}
if (bill["bomFormat"], bill["specVersion"]) != ("CycloneDX", "1.5"):
    wrong.append(f"is of form {bill['bomFormat']} {bill['specVersion']}")
if (top["name"], top["version"]) != (package, version):
    wrong.append(f"is of {top['name']} {top['version']}, not {version}")
if len(refs) != len(bill["components"]) + 1 or len(names) < 20:
    wrong.append(f"names {len(bill['components'])} components by {len(refs)} references")
wrong += [f"lacks what {ref} uses: {name}" for ref, uses in used.items() for name in [ref, *uses] if name not in refs]
reached, ahead = set(), [top["bom-ref"]]
while ahead:
    ref = ahead.pop()
    if ref not in reached:
        reached.add(ref)
        ahead += used.get(ref, [])
wrong += [f"has {ref}, which nothing uses" for ref in sorted(refs - reached)]
expected = {"heg-gateway": ["sqlite"], "heg-utility": ["sqlite"], "psm-agent": []}[package]
expected += ["psm-ebpf"] if package == "psm-agent" and "pkg.heg.noprobe" not in os.environ["PROFILES"] else []
static = "+armv6" in version
expected += ["glibc", "libgcc"] if static else []
wrong += [f"lacks {name}" for name in expected if name not in names]
wrong += [f"has {name}" for name in ["psm-ebpf", "glibc"] if name in names and name not in expected]
wrong = [f"its bill of materials {what}" for what in wrong]
if static != ("GNU C library" in (documents / "copyright").read_text()):
    wrong.append("its copyright and its C library do not agree")
for document in documents.rglob("*.md"):
    for link in re.findall(r"\]\(([^)#\s]+)", document.read_text()):
        if "://" not in link and not (document.parent / link).exists():
            wrong.append(f"{document.relative_to(documents)} leads to {link}, which is not there")
for what in wrong:
    print(f"check-deb: {deb}: {what}", file=sys.stderr)
sys.exit(bool(wrong))
END
    [ ! -e "$root/lib" ] || wrong "$deb has files in /lib"
    for word in "$source" "${CARGO_HOME:-$HOME/.cargo}" "${RUSTUP_HOME:-$HOME/.rustup}" "$HOME/"; do
        # At the beginning of a path: "/kmc/v1/root/..." is no home.
        ! found=$(grep -rlE -- "(^|[^[:alnum:]._-])$(sed 's/[][().*+?{}|^$\\]/\\&/g' <<<"$word")" "$root") || wrong "$deb speaks of $word: ${found//$root/}"
    done
done
[ $bad = 0 ] || exit 1
echo "check-deb: $(grep -c '\.deb$' <<<"$names") packages in order:"
(cd "$(dirname "$changes")" && grep '\.deb$' <<<"$names" | xargs ls -l | awk '{ printf "  %9d %s\n", $5, $9 }')
