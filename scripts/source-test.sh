#!/usr/bin/env bash
# Builds the source package of target/dist as Debian's build machines would: in a Debian of its own that has the Build-Depends and nothing
# more, with Debian's compiler, as a user without rights, without a network; then looks at what came out. Needs root.
#   scripts/source-test.sh [bookworm] [trixie]        (both without); the packages are left in target/source-test/SUITE
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/debian.sh
[ "$(id -u)" = 0 ] || { echo "source-test: needs root" >&2; exit 77; }

suites=("$@")
[ $# -gt 0 ] || suites=(bookworm trixie)
name=$(dpkg-parsechangelog -S Source)
version=$(dpkg-parsechangelog -S Version)
dsc=$PWD/target/dist/${name}_$version.dsc
[ -e "$dsc" ] || { echo "source-test: no $dsc; \`make dist\` first" >&2; exit 66; }
archive=$(archive_of Debian)
security=$(archive_of Debian-Security)

system=$PWD/target/source-test/system

# With the Build-Depends, and who builds.
make_system() { # SUITE
    fresh_system "$system" source-test "$1" "$(sed '/^$/,$d' debian/control)" "deb $archive $1 main" "deb $security $1-security main" \
        --variant=buildd --aptopt='Acquire::Languages "none"' --dpkgopt='path-exclude=/usr/share/doc/*' \
        --customize-hook='mkdir -p "$1/build/debian"' --customize-hook='copy-in debian/control /build/debian' \
        --customize-hook='chroot "$1" apt-get -qq -y --no-install-recommends build-dep /build >/dev/null' \
        --customize-hook='rm -r "$1/build/debian"' --customize-hook='chroot "$1" useradd --home-dir /build builder' \
        --customize-hook='chroot "$1" chown builder: /build' --customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*'
}

build() {
    cp target/dist/"$name"_* "$system/build/"
    chmod a+r "$system"/build/*
    within "$system" runuser -u builder -- env -i PATH=/usr/bin:/bin HOME=/nonexistent LC_ALL=C.UTF-8 sh -euc '
        cd /build
        rustc --version
        dpkg-source --extract "$1.dsc" tree
        cd tree
        dpkg-buildpackage --build=binary --unsigned-source --unsigned-changes
        scripts/check-deb.sh "../$1_$(dpkg --print-architecture).changes"
    ' build "${name}_$version"
}

for suite in "${suites[@]}"; do
    began=$SECONDS out=target/source-test/$suite
    echo "== $suite"
    mkdir -p "$out"
    rm -f "$out"/*
    make_system "$suite"
    build >"$out/build.log" 2>&1 || { tail -60 "$out/build.log"; echo "== $suite: FAILED, see $out/build.log"; exit 1; }
    cp "$system"/build/*.deb "$system"/build/*.changes "$system"/build/*.buildinfo "$out/"
    sed -n '/^rustc [0-9]/p; /^check-deb: /,$p' "$out/build.log"
    echo "== $suite: ok, $((SECONDS - began)) s"
done
rm -rf --one-file-system "$system"
