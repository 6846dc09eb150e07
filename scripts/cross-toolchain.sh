#!/usr/bin/env bash
# The Rust compiler for other processors: Debian's rustc-web with its standard library for them, unpacked under .cache and installed
# nowhere. rustup's compiler can't take Debian's libraries, nor Debian's older one ours.
#   scripts/cross-toolchain.sh         makes it where it is missing, and prints where it is; the compiler is bin/rustc there
#   scripts/cross-toolchain.sh pins    prints the lines below anew, of what the archive has now (on Debian 12)
# It is called by its pins: with others another one is made. About 250 MB to fetch and 0.9 GB unpacked. No root is needed.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/debian.sh

version=1.96.0+dfsg1-1~deb12u2
llvm=22.1.8-1~deb12u1
# sha256 and place in Debian's security archive: compiler, its libraries, the standard library of each processor, and its source for the
# processors that Debian has none for.
pins="
8fefe1d6377fe4082f5a9d2a47e095e2d20319eaab9754bd2f0275155c9adf90 pool/updates/main/r/rustc-web/rustc-web_${version}_amd64.deb
3755f30434ae29574c91b0beb86632bee401607b0ac35c3e52810f9a53fae0d1 pool/updates/main/r/rustc-web/libstd-rust-web-1.96_${version}_amd64.deb
729ec3e943d320515c2bbdc96acfffd7ce34861e62bd5c42726bf586d644dfe2 pool/updates/main/l/llvm-toolchain-22/libllvm22_${llvm}_amd64.deb
e38dbeaaad673fc63fb47c5140cf34da271ac71c3ecafc828b762c2fb01fe77a pool/updates/main/r/rustc-web/libstd-rust-web-dev_${version}_amd64.deb
02419380801b9f61391294823659b17b90f7a863ca3bbccb9140d2f0f8a2c910 pool/updates/main/r/rustc-web/libstd-rust-web-dev_${version}_arm64.deb
b9f9dd1d03a903680f918cb2bba00a2a3d76558545d5e6a8061072ab461bb989 pool/updates/main/r/rustc-web/libstd-rust-web-dev_${version}_armhf.deb
9de8597c464d0a9283672973ed7e50092b49a92b95861429043fe8b57468a208 pool/updates/main/r/rustc-web/rust-web-src_${version}_all.deb
"

fail() { echo "cross-toolchain: $*" >&2; exit 69; }

[ "$(dpkg --print-architecture 2>/dev/null)" = amd64 ] || fail "it is made of Debian's packages for amd64, and this machine is no such Debian"
helper=/usr/lib/apt/apt-helper
[ -x $helper ] || fail "no $helper: apt is needed to fetch Debian packages"
archive=$(archive_of Debian-Security)
# apt would fetch as a user that may not write here.
fetch() { $helper -qq -o APT::Sandbox::User="$(id -un)" download-file "$archive/$1" "$2" ${3:+"SHA256:$3"}; }

if [ "${1:-}" = pins ]; then
    [ "$(. /etc/os-release && echo "${VERSION_CODENAME:-}")" = bookworm ] ||
        fail "the compiler is Debian 12's (bookworm-security), and only an apt of Debian 12 knows the one of the day"
    work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
    field() { apt-cache show --no-all-versions "$1" | sed -n "s/^$2: //p"; } # PACKAGE FIELD
    # The first of a package's dependencies whose name begins so: names with a version in them are those of the day.
    needs() { field "$1" Depends | grep -oE "\b$2[0-9.]+" | head -1; }
    std=$(needs libstd-rust-web-dev libstd-rust-web-) || fail "apt knows no libstd-rust-web-dev"
    library=$(needs "$std" libllvm) || fail "$std depends on no libllvm"
    now=$(field rustc-web Version) now_llvm=$(field "$library" Version)
    now_llvm=${now_llvm#*:}
    echo "version=$now"
    echo "llvm=$now_llvm"
    echo 'pins="'
    for package in rustc-web "$std" "$library" libstd-rust-web-dev libstd-rust-web-dev:arm64 libstd-rust-web-dev:armhf rust-web-src; do
        place=$(field "${package%:*}" Filename)
        [ -n "$place" ] || fail "apt knows no $package"
        # Indexes of other architectures are not here; their packages lie beside this one's, and are fetched to be summed.
        case "$package" in
            *:*)
                place=${place/_amd64./_${package#*:}.}
                fetch "$place" "$work/deb" || fail "not in the archive: $place"
                sum=$(sha256sum "$work/deb" | cut -d' ' -f1)
                rm "$work/deb" ;;
            *) sum=$(field "$package" SHA256) ;;
        esac
        place=${place//"$now_llvm"/'${llvm}'}
        echo "$sum ${place//"$now"/'${version}'}"
    done
    echo '"'
    exit
fi
[ $# -eq 0 ] || { echo "usage: scripts/cross-toolchain.sh [pins]" >&2; exit 64; }

dir=$PWD/.cache/cross-$(sha256sum <<<"tree $pins" | cut -c1-12)
if [ ! -x "$dir/bin/rustc" ]; then
    echo "cross-toolchain: fetching Debian's rustc-web $version into ${dir#"$PWD/"}" >&2
    mkdir -p .cache
    new=$(mktemp -d .cache/cross-new.XXXXXX); trap 'rm -rf "$new"' EXIT
    mkdir "$new/tree" "$new/bin"
    while read -r sum place; do
        [ -n "$sum" ] || continue
        fetch "$place" "$new/deb" "$sum" >&2 || fail "$archive has ${place##*/} no longer, or with other bytes: see \`$0 pins\`"
        # Of the sources only the standard library's; the compiler's own are four times as much.
        case "$place" in
            */rust-web-src_*) dpkg-deb --fsys-tarfile "$new/deb" | tar -x -C "$new/tree" --wildcards './usr/lib/*' './usr/src/*/library/*' ;;
            *) dpkg-deb --extract "$new/deb" "$new/tree" ;;
        esac
        rm "$new/deb"
    done <<<"$pins"
    cat >"$new/bin/rustc" <<'WRAPPER'
#!/bin/sh
tree=$(dirname "$(dirname "$(readlink -f "$0")")")/tree
LD_LIBRARY_PATH=$tree/usr/lib/x86_64-linux-gnu exec "$tree/usr/bin/rustc" "$@"
WRAPPER
    chmod +x "$new/bin/rustc"
    if ! "$new/bin/rustc" -vV >/dev/null 2>"$new/error"; then
        cat "$new/error" >&2
        missing=$(LD_LIBRARY_PATH=$new/tree/usr/lib/x86_64-linux-gnu ldd "$new"/tree/usr/lib/x86_64-linux-gnu/lib*.so* 2>/dev/null |
            awk '/not found/ { print $1 }' | sort -u | xargs)
        fail "the compiler does not run here${missing:+; libraries that it misses: $missing}"
    fi
    rm -f "$new/error"
    # Complete or not at all, also where two build at once.
    rm -rf "$dir"; mv "$new" "$dir"; trap - EXIT; chmod 755 "$dir"
fi
echo "$dir"
