#!/usr/bin/env bash
# Holds what no Debian tool holds of built packages: units, users and pages are in them, dependencies can be met on another machine, and
# nothing in them speaks of the machine that built them.
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
    [ ! -e "$root/lib" ] || wrong "$deb has files in /lib"
    for word in "$source" "${CARGO_HOME:-$HOME/.cargo}" "${RUSTUP_HOME:-$HOME/.rustup}" "$HOME/"; do
        # At the beginning of a path: "/kmc/v1/root/..." is no home.
        ! found=$(grep -rlE -- "(^|[^[:alnum:]._-])$(sed 's/[][().*+?{}|^$\\]/\\&/g' <<<"$word")" "$root") || wrong "$deb speaks of $word: ${found//$root/}"
    done
done
[ $bad = 0 ] || exit 1
echo "check-deb: $(grep -c '\.deb$' <<<"$names") packages in order:"
(cd "$(dirname "$changes")" && grep '\.deb$' <<<"$names" | xargs ls -l | awk '{ printf "  %9d %s\n", $5, $9 }')
