#!/usr/bin/env bash
# Builds the packages of the last commit here, and again from the source package in another directory, without a network, from unpacked
# crates instead of cargo's registry, in another time zone and language. Every package has to have the same bytes.
set -euo pipefail
cd "$(dirname "$0")/.."
status=$(git status --porcelain)
if [ -n "$status" ]; then
    echo "reproducible: the source package is made of the last commit; commit or stash first" >&2; exit 65
fi

scripts/deb.sh
scripts/dist.sh
env TZ=Pacific/Kiritimati LC_ALL=C scripts/dist.sh build target/reproducible
differ=0
for deb in target/deb/*_"$(dpkg-parsechangelog -S Version)_$(dpkg --print-architecture)".deb; do
    again=target/reproducible/${deb##*/}
    if cmp --silent "$deb" "$again"; then
        echo "same: $(sha256sum "$deb" | cut -c1-16)... ${deb##*/}"
    else
        echo "reproducible: $deb and $again differ (\`diffoscope\` shows where)" >&2; differ=1
    fi
done
exit $differ
