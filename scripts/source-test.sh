#!/usr/bin/env bash
# Builds the source package of target/dist as Debian's build machines would: in a Debian of its own that has the Build-Depends and nothing
# more, with Debian's compiler, as a user without rights, without a network; then looks at what came out. Needs root.
#   scripts/source-test.sh [bookworm] [trixie]        (both without); the packages are left in target/source-test/SUITE
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "source-test: needs root" >&2; exit 77; }

suites=("$@")
[ $# -gt 0 ] || suites=(bookworm trixie)
name=$(dpkg-parsechangelog -S Source)
version=$(dpkg-parsechangelog -S Version)
dsc=$PWD/target/dist/${name}_$version.dsc
[ -e "$dsc" ] || { echo "source-test: no $dsc; \`make dist\` first" >&2; exit 66; }
# The archives that this machine uses for its own release also hold the other.
archive_of() { apt-get indextargets --format '$(REPO_URI)|$(LABEL)' 'Created-By: Packages' | awk -F'|' -v l="$1" '$2 == l { print $1; exit }'; }
archive=$(archive_of Debian)
security=$(archive_of Debian-Security)
[ -n "$archive" ] && [ -n "$security" ] || { echo "source-test: apt here knows no Debian archive, or not its security updates" >&2; exit 69; }

# Kept for a month, and as long as the Build-Depends are the same.
make_root() { # SUITE DIRECTORY
    local image
    image=.cache/source-test-$1-$(sha256sum <<<"$(sed '/^$/,$d' debian/control) $archive $security $(date +%Y-%m)" | cut -c1-12).tar
    if [ ! -e "$image" ]; then
        mkdir -p .cache
        rm -f .cache/source-test-"$1"-*
        mmdebstrap --quiet --variant=buildd --aptopt='Acquire::Languages "none"' --dpkgopt='path-exclude=/usr/share/doc/*' \
            --customize-hook='mkdir -p "$1/build/debian"' --customize-hook='copy-in debian/control /build/debian' \
            --customize-hook='chroot "$1" apt-get -qq -y --no-install-recommends build-dep /build >/dev/null' \
            --customize-hook='rm -r "$1/build/debian"' --customize-hook='chroot "$1" useradd --home-dir /build builder' \
            --customize-hook='chroot "$1" chown builder: /build' --customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*' \
            "$1" "${image%.tar}-new.tar" "deb $archive $1 main" "deb $security $1-security main"
        mv "${image%.tar}-new.tar" "$image"
    fi
    rm -rf --one-file-system "$2"
    mkdir -p "$2"
    tar --extract --file="$image" --directory="$2"
}

build() { # ROOT
    cp target/dist/"$name"_* "$1/build/"
    chmod a+r "$1"/build/*
    unshare --net --mount --pid --ipc --uts --fork --kill-child -- sh -euc '
        mount --make-rprivate /
        mount --bind "$1" "$1"
        mount -t proc proc "$1/proc"
        mount --rbind /dev "$1/dev"
        exec chroot "$1" runuser -u builder -- env -i PATH=/usr/bin:/bin HOME=/nonexistent LC_ALL=C.UTF-8 sh -euc "
            cd /build
            rustc --version
            dpkg-source --extract $2.dsc tree
            cd tree
            dpkg-buildpackage --build=binary --unsigned-source --unsigned-changes
            scripts/check-deb.sh ../$2_\$(dpkg --print-architecture).changes
        "
    ' build "$1" "${name}_$version"
}

for suite in "${suites[@]}"; do
    began=$SECONDS root=$PWD/target/source-test/root out=target/source-test/$suite
    echo "== $suite"
    mkdir -p "$out"
    rm -f "$out"/*
    make_root "$suite" "$root"
    build "$root" >"$out/build.log" 2>&1 || { tail -60 "$out/build.log"; echo "== $suite: FAILED, see $out/build.log"; exit 1; }
    cp "$root"/build/*.deb "$root"/build/*.changes "$root"/build/*.buildinfo "$out/"
    sed -n '/^rustc [0-9]/p; /^check-deb: /,$p' "$out/build.log"
    echo "== $suite: ok, $((SECONDS - began)) s"
done
rm -rf --one-file-system "$PWD/target/source-test/root"
