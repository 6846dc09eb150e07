#!/usr/bin/env bash
# The part of scripts/install-test.sh that runs in the installed system, as its root: install-test-inside.sh EARLIER-VERSION VERSION
set -euo pipefail
earlier=$1 version=$2
packages=(heg-gateway psm-agent heg-utility)
users=(heg psm-agent heg-utility heg-kmc)

say() { echo "  $*"; }
fail() { echo "install-test: $*" >&2; exit 1; }
apt() { apt-get -y -o Dpkg::Use-Pty=0 "$@" </dev/null >/tmp/apt.log 2>&1 || { cat /tmp/apt.log; fail "apt-get $*"; }; }
at() { local p; for p in "${packages[@]}"; do echo "$p=$1"; done; }
# Everything but what the system itself writes.
list_files() {
    find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /srv -o -path /root -o -path /var/cache \
        -o -path /var/log -o -path /var/lib/apt -o -path /var/lib/dpkg -o -path /etc/apt \) -prune -o -print | sort
}
state() { (cd /var/lib && tar -c heg-kmc heg psm-agent heg-utility | sha256sum); }
mode_of() { stat -c '%a %U:%G' "$1"; }

# The administrator's part, as the quick start says it.
rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*
install -D -m 644 /srv/repo/home-energy-gateway.asc /etc/apt/keyrings/home-energy-gateway.asc
install -m 644 /srv/repo/home-energy-gateway.sources /etc/apt/sources.list.d/
apt update
list_files >/tmp/before

apt install $(at "$earlier")
for user in "${users[@]}"; do
    entry=$(getent passwd "$user") || fail "no user $user"
    [[ $entry == *nologin ]] || fail "$user can log in: $entry"
done
for unit in heg-firewall heg-gateway psm-agent heg-utility heg-kmc; do
    [ "$(systemctl is-enabled $unit)" = enabled ] || fail "$unit is not enabled"
done
[ "$(mode_of /etc/heg/heg-gateway.toml)" = "640 root:heg" ] || fail "heg-gateway.toml is $(mode_of /etc/heg/heg-gateway.toml)"
[ "$(mode_of /etc/heg/heg-utility.toml)" = "640 root:heg-utility" ] || fail "heg-utility.toml is $(mode_of /etc/heg/heg-utility.toml)"
[ "$(mode_of /etc/heg/heg-kmc.toml)" = "640 root:heg-kmc" ] || fail "heg-kmc.toml is $(mode_of /etc/heg/heg-kmc.toml)"
for program in heg-gateway hegctl psm-agent heg-utility utilityctl heg-kmc; do
    # The one that reads the settings it was installed with, as the user it runs as.
    $program --version >/dev/null
done
runuser -u heg -- heg-gateway --check
runuser -u psm-agent -- psm-agent --check
runuser -u heg-utility -- heg-utility --check
runuser -u heg-kmc -- heg-kmc --check
verified=$(dpkg --verify "${packages[@]}" || true)
[ -z "$verified" ] || fail "not as it was packed: $verified"
say "installed $earlier: users, units, settings of their own daemons only, files as packed"

# An administrator's change, a centre's keys, a home's state, and rules in the kernel beside those of others.
echo -e '[log]\nlevel = "debug"' >>/etc/heg/heg-gateway.toml
echo -e '[console]\nlisten = ["127.0.0.1:8581"]' >>/etc/heg/heg-utility.toml
install -d -m 700 -o heg-kmc -g heg-kmc /var/lib/heg-kmc
runuser -u heg-kmc -- heg-kmc init >/tmp/init
for user in heg psm-agent heg-utility; do
    install -d -m 700 -o "$user" -g "$user" "/var/lib/$user"
    runuser -u "$user" -- sh -c "echo kept >/var/lib/$user/state"
done
state >/tmp/state
nft add table inet others
heg-gateway firewall baseline
nft list tables | grep -q 'inet heg$' || fail "no rules after firewall baseline"

# No question: of settings that both sides changed, the administrator's stay. The package's are laid beside them.
apt -o Dpkg::Options::=--force-confold install $(at "$version")
state | cmp - /tmp/state || fail "an upgrade changed the state"
grep -q '^level = "debug"' /etc/heg/heg-gateway.toml || fail "an upgrade took the change in heg-gateway.toml back"
grep -q '^listen = ' /etc/heg/heg-utility.toml || fail "an upgrade took the change in heg-utility.toml back"
[ -e /etc/heg/heg-utility.toml.dpkg-dist ] || fail "the new heg-utility.toml is not beside the changed one"
grep -q 'psm-agent.toml(5)' /etc/psm/psm-agent.toml || fail "settings that nobody changed were not renewed"
[ "$(mode_of /etc/heg/heg-gateway.toml)" = "640 root:heg" ] || fail "heg-gateway.toml is open after an upgrade"
[ "$(mode_of /etc/heg/heg-utility.toml)" = "640 root:heg-utility" ] || fail "heg-utility.toml is open after an upgrade"
nft list tables | grep -q 'inet heg$' || fail "an upgrade took the rules away"
say "upgraded to $version: changed settings, state, keys and rules are as they were"

apt remove "${packages[@]}"
[ -e /etc/heg/heg-gateway.toml ] || fail "removal took the settings"
[ -e /var/lib/heg-kmc/kmc.db ] || fail "removal took the state"
! nft list tables | grep -q 'inet heg$' || fail "the rules outlive the package"
nft list tables | grep -q 'inet others$' || fail "the rules of others went along"
[ ! -e /usr/bin/heg-gateway ] || fail "the program is still there"
say "removed: rules gone, those of others not, settings and state kept"

apt install $(at "$version")
runuser -u heg-kmc -- heg-kmc --check
grep -q '^level = "debug"' /etc/heg/heg-gateway.toml || fail "installing again lost the settings"
# As `utilityctl init` leaves it for a passphrase.
install -d /etc/systemd/system/heg-kmc.service.d
echo '[Service]' >/etc/systemd/system/heg-kmc.service.d/passphrase.conf
apt purge "${packages[@]}"
list_files >/tmp/after
# Users stay, so their files have copies.
left=$(diff /tmp/before /tmp/after | grep '^[<>]' | grep -vE '^> /etc/(passwd|group|shadow|gshadow)-$' || true)
[ -z "$left" ] || fail "a purge leaves (>) or takes of others (<): $left"
say "purged: nothing left"
