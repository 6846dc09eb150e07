#!/usr/bin/env bash
# Installs the packages of target/deb by apt from a signed repository into Debian as it comes, and holds what a user relies on: nothing
# asked, users and units there, changed settings and state kept by an upgrade, the firewall's rules gone when the package is, and nothing
# left by a purge. Then Debian's own piuparts and autopkgtest. Needs root; nothing of it touches this machine's network.
#   scripts/install-test.sh [bookworm] [trixie]        (both without)
#   CHECKS="apt piuparts autopkgtest"                  (all without)
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/debian.sh
[ "$(id -u)" = 0 ] || { echo "install-test: needs root" >&2; exit 77; }

suites=("$@")
[ $# -gt 0 ] || suites=(bookworm trixie)
archive=$(archive_of Debian)
version=$(dpkg-parsechangelog -S Version)
architecture=$(dpkg --print-architecture)
work=$PWD/target/install-test
packages=(heg-gateway psm-agent heg-utility)
debs=()
for package in "${packages[@]}"; do debs+=("$PWD/target/deb/${package}_${version}_$architecture.deb"); done
ls "${debs[@]}" >/dev/null || { echo "install-test: \`make deb\` first" >&2; exit 66; }

# What the packages want of Debian is in it, so that the test itself needs no network.
contents=systemd,systemd-sysv,dbus,nftables,tzdata,polkitd,apt-utils
make_system() { fresh_system "$work/system" install-test "$1" "" "$archive" --variant=minbase --include=$contents; } # SUITE

# The version before: the same programs, and settings that were worded otherwise.
earlier=${version%%-*}~earlier-1
older_settings() { # DIRECTORY
    local settings
    for settings in "$1"/etc/*/psm-agent.toml "$1"/etc/*/heg-utility.toml; do
        [ ! -e "$settings" ] || echo "# As an earlier version had it." >"$settings"
    done
}

rm -rf "$work"
mkdir -p "$work/earlier"
for deb in "${debs[@]}"; do as_version "$deb" "$earlier" "$work/earlier/$(basename "${deb/$version/$earlier}")" older_settings; done
APT_REPO=$work/repo APT_KEY_DIR=$work/key scripts/apt-repo.sh "$work"/earlier/*.deb "${debs[@]}" >/dev/null
sed -i 's|^URIs: .*|URIs: file:/srv/repo|' "$work/repo/home-energy-gateway.sources"

by_apt() { # SUITE
    cp scripts/install-test-inside.sh "$work/system/root/"
    cp -r "$work/repo" "$work/system/srv/"
    within "$work/system" bash /root/install-test-inside.sh "$earlier" "$version"
}

by_piuparts() {
    local log=$work/piuparts-$1.log
    # It asks the archive what there is. Nothing is started in its chroot, and no rules are touched from one. What its WARN lines on files
    # of Debian's own packages say is not ours.
    piuparts --distribution "$1" --existing-chroot "$work/system" --no-eatmydata --warn-on-others --skip-logrotatefiles-test \
        --no-upgrade-test --mirror "$archive main" --no-adequate "${debs[@]}" >"$log" 2>&1 || { grep -v INFO "$log" | tail -40; return 1; }
    grep 'PASS:' "$log" | sed 's/^/  /'
}

by_autopkgtest() {
    local out=$work/autopkgtest-$1 code=0
    # Everything is there already; an archive that is asked in vain costs minutes.
    rm -f "$work/system/etc/apt/sources.list" "$work"/system/etc/apt/sources.list.d/*
    # Of the sources only what it reads: it takes all that is there along.
    mkdir -p "$work/source/debian"
    cp -r debian/control debian/changelog debian/tests "$work/source/debian/"
    touch "$work/source/debian/files" # nothing to build
    # 2: tests that need a machine with systemd were skipped.
    beside "$work/system" autopkgtest --output-dir="$out" --no-built-binaries "${debs[@]}" "$work/source/" -- chroot "$work/system" \
        >"$out.log" 2>&1 || code=$?
    [ $code = 0 ] || [ $code = 2 ] || { tail -60 "$out.log"; return 1; }
    sed 's/^/  /' "$out/summary"
}

read -ra checks <<<"${CHECKS:-apt piuparts autopkgtest}"
ran=0
for suite in "${suites[@]}"; do
    make_system "$suite"
    ! lacks_libc_of "$work/system" "${debs[0]}" "skipped: install-test: $suite" || continue
    ran=$((ran + 1))
    for check in "${checks[@]}"; do
        began=$SECONDS
        echo "== $suite: $check"
        make_system "$suite"
        "by_$check" "$suite" || { echo "== $suite: $check: FAILED, see $work"; exit 1; }
        echo "== $suite: $check: ok, $((SECONDS - began)) s"
    done
done
rm -rf "$work/system" "$work/earlier"
[ $ran -gt 0 ] || { echo "install-test: nothing was tested" >&2; exit 65; }
