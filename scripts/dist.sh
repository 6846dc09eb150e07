#!/usr/bin/env bash
# Makes the Debian source package of the last commit in target/dist: the sources, the crates they need (a second tarball, unpacked as
# vendor/), and debian/. It builds without a network. The same commit gives the same bytes.
#   scripts/dist.sh           the source package
#   scripts/dist.sh build DIR builds it in DIR with no network at all (packages and log go there)
set -euo pipefail
cd "$(dirname "$0")/.."
read -ra cargo <<<"${CARGO:-$(.ci/cargo-path)}"

name=$(dpkg-parsechangelog -S Source)
version=$(dpkg-parsechangelog -S Version)
upstream=${version%-*}
dist=$(realpath -m target/dist)

make_source() {
    local status
    status=$(git status --porcelain)
    [ -z "$status" ] || echo "dist: what is not committed is left out" >&2
    export SOURCE_DATE_EPOCH
    SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
    local tree=$dist/$name-$upstream
    rm -rf "$dist"
    mkdir -p "$dist"
    git archive --prefix="$name-$upstream/" HEAD | tar -x -C "$dist"
    pack "$dist/${name}_$upstream.orig.tar.xz" "$dist" --exclude="$name-$upstream/debian" "$name-$upstream"
    scripts/vendor.py "$dist/vendor" "${cargo[*]}"
    pack "$dist/${name}_$upstream.orig-vendor.tar.xz" "$dist" vendor
    mv "$dist/vendor" "$tree/vendor"
    (cd "$dist" && dpkg-source --build "$tree")
    rm -rf "$tree"
    echo "dist: $dist/${name}_$version.dsc and $(du -ch "$dist"/*.tar.xz | tail -1 | cut -f1) of tarballs"
}

# pack FILE DIRECTORY TAR-ARGUMENT...: the same bytes for the same files
pack() {
    local file=$1 from=$2
    shift 2
    tar --create --directory="$from" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
        --mode=u+rw,go=rX --format=gnu --xz --file="$file" "$@"
}

build() {
    local work=$1
    rm -rf "$work"
    mkdir -p "$work"
    dpkg-source --extract "$dist/${name}_$version.dsc" "$work/tree" >/dev/null
    # No network, not even loopback; a user without root gets that by a namespace of its own.
    local apart=(unshare --net)
    [ "$(id -u)" = 0 ] || apart=(unshare --map-current-user --net)
    (cd "$work/tree" && OUT=$work "${apart[@]}" scripts/deb.sh)
}

case "${1:-source}" in
    source) make_source ;;
    build) build "$(realpath -m "$2")" ;;
    *) echo "usage: scripts/dist.sh [build DIR]" >&2; exit 64 ;;
esac
