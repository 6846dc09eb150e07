# To be sourced by what makes Debian systems and puts our packages in them (bash, in the repository's directory).

# Where apt here gets that archive from ("Debian" or "Debian-Security"): it holds the other releases too.
archive_of() { # LABEL
    local found
    found=$(apt-get indextargets --format '$(REPO_URI)|$(LABEL)' 'Created-By: Packages' |
        awk -F'|' -v label="$1" '$2 == label && !seen++ { sub(/\/$/, "", $1); print $1 }')
    [ -n "$found" ] ||
        { echo "${0##*/}: no archive $1 is among apt's sources on this machine, or apt-get update never ran" >&2; return 69; }
    echo "$found"
}

# A Debian as it comes. How it was made is kept for a month, and as long as it is asked for in the same words; KEY says what else it
# depends on.
fresh_system() { # DIRECTORY NAME SUITE KEY MMDEBSTRAP-ARGUMENT...
    local directory=$1 name=$2-$3 suite=$3 image
    image=.cache/$name-$(sha256sum <<<"$(date +%Y-%m) ${*:4}" | cut -c1-12).tar
    shift 4
    if [ ! -e "$image" ]; then
        mkdir -p .cache
        rm -f .cache/"$name"-*
        mmdebstrap --quiet "$suite" "${image%.tar}-new.tar" "$@"
        mv "${image%.tar}-new.tar" "$image"
    fi
    rm -rf --one-file-system "$directory"
    mkdir -p "$directory"
    tar --extract --file="$image" --directory="$directory"
}

# With processes and mounts of its own, and no network but its own loopback. The command sees both systems; `within` only that one.
beside() { # SYSTEM COMMAND...
    unshare --net --mount --pid --ipc --uts --fork --kill-child --mount-proc -- sh -euc '
        system=$1
        shift
        mount --make-rprivate /
        mount --bind "$system" "$system"
        mount -t proc proc "$system/proc"
        mount -t tmpfs tmpfs "$system/run"
        mount --rbind /dev "$system/dev"
        ip link set lo up
        exec "$@"
    ' beside "$@"
}
within() { # SYSTEM COMMAND...
    local system=$1
    shift
    beside "$system" chroot "$system" \
        env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
}

# What was built on a newer Debian asks for its C library. Where that system has an older one it says so of SUBJECT.
lacks_libc_of() { # SYSTEM PACKAGE.deb SUBJECT
    local has wants
    wants=$(dpkg-deb --field "$2" Depends | sed -n 's/.*\blibc6 (>= \([^)]*\)).*/\1/p')
    [ -n "$wants" ] || { echo "${0##*/}: $2 does not say which libc6 it needs" >&2; exit 65; }
    has=$(dpkg-query --admindir="$1/var/lib/dpkg" --show --showformat '${Version}' libc6)
    dpkg --compare-versions "$has" lt "$wants" || return 1
    echo "$3 has libc6 $has, and these packages need $wants: build them on Debian 12 for both"
}

# The same package as if it had been released with that version, after EDIT (a command, with the unpacked package as its argument).
as_version() { # PACKAGE.deb VERSION NEW.deb [EDIT]
    local tree=$3.tree
    dpkg-deb --raw-extract "$1" "$tree"
    sed -i "s/^Version: .*/Version: $2/" "$tree/DEBIAN/control"
    ${4:+"$4" "$tree"}
    dpkg-deb -Znone --build --root-owner-group "$tree" "$3" >/dev/null
    rm -rf "$tree"
}
