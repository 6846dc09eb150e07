# The only door. Every target does the set-up it needs; `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
# Where rustup's compiler is older than the sources need, setup installs Debian's, which is in /usr/bin.
CARGO ?= $(shell .ci/cargo-path)
export CARGO_TERM_COLOR ?= auto

.PHONY: help setup build ebpf demo test lint doc unit e2e attacks vm vm-deb nspawn interop fuzz bench man completions install install-files clean \
	deb deb-arm64 deb-armhf deb-armv6 arm-test dist lintian apt-repo install-test source-test reproducible sbom copyright

# Said before anything is installed.
needs_root = @[ "$$(id -u)" = 0 ] || { echo "make $@: needs root" >&2; exit 77; }

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-13s %s\n", $$1, $$2 }'

setup: ## install what building and testing need (Debian packages by name; only missing ones)
	@.ci/setup build test

build: ## build all programs (debug)
	@.ci/setup build
	$(CARGO) build --locked --workspace --bins

ebpf: ## the kernel probe, target/bpf/psm-probe.o (Debian's compiler and llc; else rustup with bpf-linker)
	@.ci/setup build ebpf
	@.ci/ebpf

demo: ## a home of four hosts and its utility on this machine, narrated (one and a half minutes); KEEP=1 keeps it up
	@.ci/setup build
	$(CARGO) build --locked --bins -p psm-agent -p heg -p kmc -p utility -p house-tests
	@target/debug/demo

test: ## everything that must be green: format, lints, docs, unit, simulation, lab
	@.ci/setup build test ebpf
	@.ci/test

lint: ## format, clippy and documentation, warnings are errors
	@.ci/setup build test
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps

e2e: ## the end-to-end tests in network namespaces
	@.ci/setup build
	$(CARGO) build --locked --bins -p psm-agent -p heg -p kmc -p utility -p house-tests
	$(CARGO) test --locked -p house-tests --test e2e -- --test-threads=1

attacks: ## the attacks of the paper's Table III, with sealed messages and without, as a table with what each costs
	@.ci/setup build
	$(CARGO) build --locked --release --bins -p kmc
	$(CARGO) build --locked --release --bins -p utility
	$(CARGO) test --locked --release -p house-tests --test attacks -- --nocapture --test-threads=1

vm: ## the agent on a real Debian kernel with systemd in QEMU: every way to sleep, wake and end (skipped without QEMU)
	@.ci/setup build ebpf vm
	@tests/vm/run

vm-deb: ## the same with the packages installed in it, all daemons under their AppArmor profiles (builds the packages)
	@.ci/setup build ebpf deb vm
	@scripts/deb.sh
	@VM_DEBS=target/deb tests/vm/run

nspawn: ## the packages under a real systemd, in containers of Debian 12 and 13 (skipped where there can be none; as root)
	$(needs_root)
	@.ci/setup build ebpf deb nspawn
	@tests/nspawn/run

interop: ## our programs against foreign UPnP stacks (builds libupnp, takes minutes the first time)
	@.ci/setup build interop
	@tests/interop/run

bench: ## the figures of docs/benchmarks.md, ours and foreign stacks side by side
	@.ci/setup build bench ebpf vm
	@bench/run

fuzz: ## every parser for a short while (FUZZ_SECONDS each, default 30)
	@.ci/setup build fuzz
	@fuzz/run

man: ## build the man pages from docs/man/*.md
	@.ci/setup build
	$(CARGO) run --locked -q -p house-tests --bin man

completions: ## build the completion scripts of packaging/completions from the programs' command lines
	@.ci/setup build
	$(CARGO) build --locked -p heg -p utility -p house-tests --bins
	target/debug/completions

install: ## install programs, probe, units, users, settings, profiles, man pages, completion under DESTDIR/PREFIX (/usr/local)
	@.ci/setup build ebpf
	$(CARGO) build --locked --release -p psm-agent -p heg
	@# By themselves: what they want of shared crates would make the gateway larger.
	$(CARGO) build --locked --release -p utility
	$(CARGO) build --locked --release -p kmc
	@# Without the probe the agent works, by logind alone. It looks for it here, whatever the PREFIX.
	.ci/ebpf && install -D -m 644 -t $(DESTDIR)/usr/lib/psm target/bpf/psm-probe.o || echo "installed without the kernel probe"
	install -D -t $(DESTDIR)$(PREFIX)/bin $(addprefix target/release/,psm-agent heg-gateway hegctl heg-utility utilityctl heg-kmc)
	@$(MAKE) --no-print-directory install-files
	@echo "installed. Next: systemd-sysusers && systemd-tmpfiles --create && sysctl --system && systemctl daemon-reload"
	@echo "and of these the ones for this machine: systemctl enable --now heg-firewall heg-gateway | psm-agent | heg-utility heg-kmc"

# All but what is built. The user's settings stay.
install-files:
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)/etc/apparmor.d
	for unit in packaging/systemd/*; do \
		sed 's|/usr/bin/|$(PREFIX)/bin/|' $$unit >$(DESTDIR)$(PREFIX)/lib/systemd/system/$${unit##*/}; done
	for profile in packaging/apparmor/*; do \
		program=$${profile##*/usr.bin.}; name=$$(sed 's|^/||; s|/|.|g' <<<$(PREFIX)/bin/$$program); \
		sed "s|/usr/bin/$$program\b|$(PREFIX)/bin/$$program|" $$profile >$(DESTDIR)/etc/apparmor.d/$$name; done
	for settings in packaging/etc/*.toml; do \
		name=$${settings##*/}; case $$name in psm-*) to=$(DESTDIR)/etc/psm/$$name ;; *) to=$(DESTDIR)/etc/heg/$$name ;; esac; \
		[ -e $$to ] || install -D -m 644 $$settings $$to; done
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/lib/sysusers.d packaging/sysusers/*.conf
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/lib/tmpfiles.d packaging/tmpfiles/*.conf
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/lib/sysctl.d packaging/sysctl/*.conf
	@# polkit looks only here.
	install -D -m 644 -t $(DESTDIR)/usr/share/polkit-1/rules.d packaging/polkit/*.rules
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/doc/home-energy-gateway packaging/examples/*.toml packaging/grafana/* packaging/prometheus/*
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/bash-completion/completions packaging/completions/bash/*
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/zsh/site-functions packaging/completions/zsh/*
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d packaging/completions/fish/*
	for s in 1 5 8; do install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man$$s docs/man/*.$$s; done

PREFIX ?= /usr/local

deb: ## the Debian packages for this machine's architecture, in target/deb, and a look at what is in them
	@.ci/setup build ebpf deb
	@scripts/deb.sh

deb-arm64: ## the packages for 64-bit ARM, cross-built, in target/deb
	@.ci/setup build ebpf deb cross-arm64
	@scripts/deb-arm.sh arm64

deb-armhf: ## the packages for 32-bit ARM from ARMv7 on (Raspberry Pi 2 and later), cross-built, in target/deb
	@.ci/setup build ebpf deb cross-armhf
	@scripts/deb-arm.sh armhf

deb-armv6: ## gateway and agent for ARMv6 (Raspberry Pi 1 and Zero) as +armv6 of armhf, cross-built, in target/deb-armv6
	@.ci/setup build deb cross-armv6
	@scripts/deb-arm.sh armv6

packed = $(wildcard target/deb/*.changes target/deb-armv6/*.changes)

arm-test: ## the programs of those packages under qemu-user: self-tests, and a home (ARM="arm64 armhf armv6"; as root)
	$(needs_root)
	@.ci/setup arm-test
	@tests/arm/run $(ARM)

dist: ## the Debian source package of the last commit with all crates, in target/dist; it builds without a network
	@.ci/setup build deb
	@scripts/dist.sh

lintian: ## Debian's checks of the packages that are built: no error and no warning, the rest is shown
	@[ -n "$(packed)" ] || { echo "lintian: no packages; \`make deb\` first" >&2; exit 66; }
	@.ci/setup deb lintian
	lintian --fail-on error,warning --pedantic -EIL '>=pedantic' $(packed)

apt-repo: ## a signed package repository, target/apt, of what is in target/deb
	@.ci/setup apt-repo
	@scripts/apt-repo.sh

install-test: ## install, upgrade, remove and purge the packages in Debian 12 and 13 by apt; piuparts and autopkgtest (as root)
	$(needs_root)
	@.ci/setup deb apt-repo install-test
	@scripts/install-test.sh

source-test: ## the source package built by Debian's own compiler in Debian 12 and 13, with what it asks for and no network (as root)
	$(needs_root)
	@.ci/setup build deb source-test
	@scripts/dist.sh
	@scripts/source-test.sh

reproducible: ## builds the last commit a second time, elsewhere and without a network: the same bytes
	@.ci/setup build ebpf deb
	@scripts/reproducible.sh

sbom: ## what each package is made of (CycloneDX), in target/sbom; the packages bring theirs along
	@.ci/setup build deb
	@for p in heg-gateway psm-agent heg-utility; do \
		scripts/sbom.py --package $$p --version "$$(dpkg-parsechangelog -S Version)" --cargo "$(CARGO)" --output target/sbom/$$p.cdx.json; done

copyright: ## debian/copyright anew, after a change of Cargo.lock
	@.ci/setup build deb
	@scripts/copyright.py "$(CARGO)"

clean: ## remove what was built (not the cache of foreign stacks)
	$(CARGO) clean
	! command -v dh_clean >/dev/null || dh_clean
