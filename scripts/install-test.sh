#!/usr/bin/env bash
# Installs the packages of target/deb by apt from a signed repository into Debian as it comes, and holds what a user relies on: nothing
# asked, users and units there, changed settings and state kept by an upgrade, the firewall's rules gone when the package is, and nothing
# left by a purge. Then Debian's own piuparts and autopkgtest. Needs root; nothing of it touches this machine's network.
#   scripts/install-test.sh [bookworm] [trixie]        (both without)
#   CHECKS="apt piuparts autopkgtest"                  (all without)
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "install-test: needs root" >&2; exit 77; }

suites=("$@")
[ $# -gt 0 ] || suites=(bookworm trixie)
# The archive this machine uses for its own release also holds the other.
archive=$(apt-get indextargets --format '$(REPO_URI)|$(LABEL)' 'Created-By: Packages' | awk -F'|' '$2 == "Debian" { print $1; exit }')
[ -n "$archive" ] || { echo "install-test: apt knows no Debian archive on this machine" >&2; exit 69; }
version=$(dpkg-parsechangelog -S Version)
architecture=$(dpkg --print-architecture)
work=$PWD/target/install-test
packages=(heg-gateway psm-agent heg-utility)
debs=()
for package in "${packages[@]}"; do debs+=("$PWD/target/deb/${package}_${version}_$architecture.deb"); done
ls "${debs[@]}" >/dev/null || { echo "install-test: \`make deb\` first" >&2; exit 66; }

# What the packages want of Debian is in it, so that the test itself needs no network.
contents=systemd,systemd-sysv,dbus,nftables,tzdata,polkitd,apt-utils
make_root() { # SUITE DIRECTORY
    local image
    # Another list, another image; and of another month, so that it is not the Debian of years ago.
    image=.cache/install-test-$1-$(sha256sum <<<"$contents $archive $(date +%Y-%m)" | cut -c1-12).tar
    if [ ! -e "$image" ]; then
        mkdir -p .cache
        rm -f .cache/install-test-"$1"-*
        mmdebstrap --quiet --variant=minbase --include=$contents "$1" "${image%.tar}-new.tar" "$archive"
        mv "${image%.tar}-new.tar" "$image"
    fi
    rm -rf "$2"
    mkdir -p "$2"
    tar --extract --file="$image" --directory="$2"
    cp scripts/install-test-inside.sh "$2/root/"
}

# The version before: the same programs with an earlier version, and settings that were worded otherwise.
make_earlier() { # DIRECTORY
    local deb tree settings
    mkdir -p "$1"
    for deb in "${debs[@]}"; do
        tree=$(mktemp -d)
        dpkg-deb --raw-extract "$deb" "$tree"
        sed -i "s/^Version: .*/Version: ${version%%-*}~earlier-1/" "$tree/DEBIAN/control"
        for settings in "$tree"/etc/*/psm-agent.toml "$tree"/etc/*/heg-utility.toml; do
            [ ! -e "$settings" ] || echo "# As an earlier version had it." >"$settings"
        done
        dpkg-deb -Znone --build --root-owner-group "$tree" "$1/$(basename "${deb/$version/${version%%-*}~earlier-1}")" >/dev/null
        rm -rf "$tree"
    done
}

# Without a network but its own loopback, and with its own processes.
inside() { # DIRECTORY COMMAND...
    local root=$1
    shift
    unshare --net --mount --pid --ipc --uts --fork --kill-child -- sh -euc '
        root=$1; shift
        mount --make-rprivate /
        mount --bind "$root" "$root"
        mount -t proc proc "$root/proc"
        mount -t tmpfs tmpfs "$root/run"
        mount --rbind /dev "$root/dev"
        mkdir -p "$root/srv/repo"
        mount --bind "$2" "$root/srv/repo"
        shift; shift
        ip link set lo up
        exec chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
    ' inside "$root" "$root" "$work/repo" "$@"
}

rm -rf "$work"
make_earlier "$work/earlier"
APT_REPO=$work/repo APT_KEY_DIR=$work/key scripts/apt-repo.sh "$work"/earlier/*.deb "${debs[@]}" >/dev/null
sed -i 's|^URIs: .*|URIs: file:/srv/repo|' "$work/repo/home-energy-gateway.sources"

by_apt() { # SUITE
    inside "$work/root" bash /root/install-test-inside.sh "${version%%-*}~earlier-1" "$version"
}

by_piuparts() {
    local log=$work/piuparts-$1.log
    # It asks the archive what there is. Nothing is started in its chroot, and no rules are touched from one. What its WARN lines on files
    # of Debian's own packages say is not ours.
    piuparts --distribution "$1" --existing-chroot "$work/root" --no-eatmydata --warn-on-others --skip-logrotatefiles-test \
        --no-upgrade-test --mirror "$archive main" --no-adequate "${debs[@]}" >"$log" 2>&1 || { grep -v INFO "$log" | tail -40; return 1; }
    grep 'PASS:' "$log" | sed 's/^/  /'
}

by_autopkgtest() {
    local out=$work/autopkgtest-$1 code=0
    # Everything is there already; an archive that is asked in vain costs minutes.
    rm -f "$work/root/etc/apt/sources.list" "$work"/root/etc/apt/sources.list.d/*
    # Of the sources only what it reads: it takes all that is there along.
    mkdir -p "$work/source/debian"
    cp -r debian/control debian/changelog debian/tests "$work/source/debian/"
    touch "$work/source/debian/files" # nothing to build
    # 2: tests that need a machine with systemd were skipped.
    unshare --net --mount -- sh -euc '
        mount --make-rprivate /
        mount -t proc proc "$6/proc"
        mount --rbind /dev "$6/dev"
        ip link set lo up
        exec autopkgtest --output-dir="$1" --no-built-binaries "$2" "$3" "$4" "$5"/ -- chroot "$6"
    ' autopkgtest "$out" "${debs[@]}" "$work/source" "$work/root" >"$out.log" 2>&1 || code=$?
    [ $code = 0 ] || [ $code = 2 ] || { tail -60 "$out.log"; return 1; }
    sed 's/^/  /' "$out/summary"
}

# What was built on a newer Debian asks for its C library.
wants=$(dpkg-deb --field "${debs[@]:0:1}" Depends | sed -n 's/.*\blibc6 (>= \([^)]*\)).*/\1/p')
[ -n "$wants" ] || { echo "install-test: ${debs[0]} does not say which libc6 it needs" >&2; exit 65; }
too_old() { # SUITE
    local has
    make_root "$1" "$work/root"
    has=$(dpkg-query --admindir="$work/root/var/lib/dpkg" --show --showformat '${Version}' libc6)
    dpkg --compare-versions "$has" lt "$wants" || return 1
    echo "skipped: install-test: $1 has libc6 $has, and these packages need $wants: build them on Debian 12 for both"
}

read -ra checks <<<"${CHECKS:-apt piuparts autopkgtest}"
ran=0
for suite in "${suites[@]}"; do
    ! too_old "$suite" || continue
    ran=$((ran + 1))
    for check in "${checks[@]}"; do
        began=$SECONDS
        echo "== $suite: $check"
        make_root "$suite" "$work/root"
        "by_$check" "$suite" || { echo "== $suite: $check: FAILED, see $work"; exit 1; }
        echo "== $suite: $check: ok, $((SECONDS - began)) s"
    done
done
rm -rf "$work/root" "$work/earlier"
[ $ran -gt 0 ] || { echo "install-test: nothing was tested" >&2; exit 65; }
