#!/usr/bin/env bash
# Makes a signed package repository, target/apt, of the packages in target/deb (or those named), of all their architectures. What is
# in it already stays. It can be used as it lies (file:), where apt's own user can read it, or be copied to any web server.
#   scripts/apt-repo.sh [FILE.deb...]
#   APT_REPO=DIR     where the repository is to be (target/apt)
#   APT_KEY_DIR=DIR  the key that signs, made at the first run (~/.local/share/home-energy-gateway/apt-key); keep it, or machines
#                    won't take updates
set -euo pipefail
cd "$(dirname "$0")/.."

repo=$(realpath -m "${APT_REPO:-target/apt}")
export GNUPGHOME
GNUPGHOME=$(realpath -m "${APT_KEY_DIR:-${XDG_DATA_HOME:-$HOME/.local/share}/home-energy-gateway/apt-key}")
suite=stable
debs=("$@")
[ $# -gt 0 ] || debs=(target/deb/*.deb)
[ -e "${debs[0]}" ] || { echo "apt-repo: no packages; \`make deb\` makes some" >&2; exit 66; }

mkdir -p "$(dirname "$GNUPGHOME")"
install -d -m 700 "$GNUPGHOME"
if [ -z "$(gpg --list-secret-keys --with-colons)" ]; then
    gpg --batch --quiet --passphrase '' --quick-generate-key "Home Energy Gateway packages" ed25519 sign never
fi
trap 'gpgconf --kill gpg-agent' EXIT

mkdir -p "$repo/pool"
cp "${debs[@]}" "$repo/pool/"
# apt reads as a user of its own, which doesn't come through a home directory of mode 0700.
place=$repo above=$repo
while [ "$above" != / ]; do
    above=$(dirname "$above")
    [ -n "$(find "$above" -maxdepth 0 -perm -o+x)" ] || place=/srv/heg-apt
done
architectures=$(for deb in "$repo"/pool/*.deb; do dpkg-deb --field "$deb" Architecture; done | sort -u)
rm -rf "$repo/dists"
(
    cd "$repo"
    for architecture in $architectures; do
        index=dists/$suite/main/binary-$architecture
        mkdir -p "$index"
        apt-ftparchive --arch "$architecture" packages pool >"$index/Packages"
        gzip -9nk "$index/Packages"
    done
    apt-ftparchive -o APT::FTPArchive::Release::Origin="Home Energy Gateway" -o APT::FTPArchive::Release::Label="Home Energy Gateway" \
        -o APT::FTPArchive::Release::Suite=$suite -o APT::FTPArchive::Release::Codename=$suite \
        -o APT::FTPArchive::Release::Components=main -o APT::FTPArchive::Release::Architectures="${architectures//$'\n'/ }" \
        release dists/$suite >Release
    mv Release dists/$suite/Release
    gpg --batch --yes --quiet --clearsign --output dists/$suite/InRelease dists/$suite/Release
    gpg --batch --yes --quiet --armor --detach-sign --output dists/$suite/Release.gpg dists/$suite/Release
    gpg --batch --quiet --armor --export >home-energy-gateway.asc
    # The key is named beside it: trusted for this repository and no other.
    cat >home-energy-gateway.sources <<END
Types: deb
URIs: file:$place
Suites: $suite
Components: main
Signed-By: /etc/apt/keyrings/home-energy-gateway.asc
END
    chmod -R u=rwX,go=rX .
)
echo "apt-repo: signed by the key in $GNUPGHOME"
echo "apt-repo: $repo ($(ls "$repo"/pool/*.deb | wc -l) packages for ${architectures//$'\n'/, }). On a machine that sees it:"
[ "$place" = "$repo" ] || echo "  mkdir -p $place && cp -a $repo/. $place/    # apt's user (_apt) can't read where it lies"
cat <<END
  install -D -m 644 $place/home-energy-gateway.asc /etc/apt/keyrings/home-energy-gateway.asc
  install -m 644 $place/home-energy-gateway.sources /etc/apt/sources.list.d/    # and URIs: in it where it is served elsewhere
  apt update && apt install heg-gateway
END
