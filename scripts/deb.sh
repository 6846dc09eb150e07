#!/usr/bin/env bash
# Builds the Debian packages from this tree, with the compiler of PATH, and looks at what came out.
#   scripts/deb.sh [ARCH [DPKG-BUILDPACKAGE-OPTION...]]     ARCH: this machine's without, else cross-built (its tools must be there)
#   OUT=DIR        where the packages go (target/deb)
#   PROFILES=LIST  further build profiles, by spaces (debian/rules names them)
set -euo pipefail
cd "$(dirname "$0")/.."

arch=${1:-$(dpkg --print-architecture)}
[ $# -eq 0 ] || shift
out=$(realpath -m "${OUT:-target/deb}")
read -ra profiles <<<"pkg.heg.rustup ${PROFILES:-}"
[ "$arch" = "$(dpkg --print-architecture)" ] || profiles+=(nocheck)

# Where the probe can't be built the agent is packed without, and says so itself when it runs.
if [[ " ${profiles[*]} " != *" pkg.heg.noprobe "* ]] && ! .ci/ebpf check; then
    echo "deb: psm-agent is packed without its kernel probe" >&2
    profiles+=(pkg.heg.noprobe)
fi

version=$(dpkg-parsechangelog -S Version)
name=home-energy-gateway_${version}_$arch
mkdir -p "$out"
# By its file list: what an earlier build left there is none of this one.
if [ -e "$out/$name.changes" ]; then
    sed -n '/^Files:/,/^[^ ]/s/^ .* //p' "$out/$name.changes" | (cd "$out" && xargs -r rm -f --)
fi
export DEB_OUT=$out
dpkg-buildpackage --host-arch "$arch" --build=binary --unsigned-source --unsigned-changes --no-check-builddeps \
    --build-profiles="$(IFS=,; echo "${profiles[*]}")" \
    --buildinfo-file="$out/$name.buildinfo" --buildinfo-option="-u$out" \
    --changes-file="$out/$name.changes" --changes-option="-u$out" "$@"
scripts/check-deb.sh "$out/$name.changes"
