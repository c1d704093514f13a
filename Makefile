# `make help` lists the targets.

CARGO ?= cargo
CC ?= cc
PREFIX ?= /usr/local
DESTDIR ?=
BINDIR ?= $(PREFIX)/bin
# The command looks for the library beside itself, and in ../lib, ../lib64,
# ../lib/x86_64-linux-gnu and ../lib/epollshim.
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
DATADIR ?= $(PREFIX)/share
MANDIR ?= $(DATADIR)/man
PKGCONFIGDIR ?= $(LIBDIR)/pkgconfig

TARGET := $(or $(CARGO_TARGET_DIR),target)
LIBRARY := $(TARGET)/release/libepollshim.so
COMMAND := $(TARGET)/release/epollshim
# Manual pages and completions, made from the command line of the command.
ASSETS := $(TARGET)/release/assets

.DEFAULT_GOAL := build
.PHONY: tested tested-library tested-programs test-foreign help sweeps build release assets dist test test-dist test-hosts test-portable test-servers test-sweep-calm calm demo bench soak fuzz functions samples header install uninstall toolchain programs

help:
	@echo 'make                  build the library and the command, with manual pages and completions'
	@echo 'make demo             build, and run the shim on a real server and on a small program'
	@echo 'make test             format, lints, and all tests (EPOLLSHIM_CFLAGS=: more flags for C programs)'
	@echo 'make test-foreign     tests with the programs of others: Python, servers, another Debian, musl'
	@echo 'make test-portable    tests of C programs on hooks in plain Rust (features = portable)'
	@echo 'make test-servers     19 servers under load, idle and busy machine (SERVERS=NAMES: only these)'
	@echo 'make test-sweep-calm  sweeps without faults report nothing (SWEEP_CALM_RUNS=500)'
	@echo 'make test-hosts       the packages on Debian bullseye to sid, and musl (root; docs/hosts.md)'
	@echo 'make test-dist        make the packages twice and compare them; lintian, rpm, static command'
	@echo 'make sweeps           sweep ten programs, and rewrite docs/sweeps.md (SWEEPS=NAMES: only these)'
	@echo 'make calm             repeat all tests beside two busy processes (CALM_ROUNDS=5)'
	@echo 'make bench            measure what a call costs under the shim, and what servers pay'
	@echo 'make soak             repeat the tests of races and threads many times'
	@echo 'make fuzz             fuzz the grammars of options, and the reader of recordings (FUZZ_SECONDS=60)'
	@echo 'make functions        regenerate the lists of functions in docs/'
	@echo 'make samples          regenerate the samples of output in README.md and docs/'
	@echo 'make header           regenerate include/epollshim.h from src/capi.rs'
	@echo 'make dist             build a tarball, a .deb, a .rpm and SHA256SUMS into $(TARGET)/dist'
	@echo 'make install          install below $(DESTDIR)$(PREFIX) (PREFIX=, DESTDIR=, BINDIR=, LIBDIR=...)'
	@echo 'make uninstall        remove what make install installed with the same variables'

build: release assets

release: toolchain
	$(CARGO) build --release

# Uses the tests' profile: link-time optimisation would take longer than the program runs.
assets: toolchain
	@echo 'make: building the manual pages and completions (a second build, of some minutes)'
	$(CARGO) run --profile checks --package epollshim-cli --example assets -- '$(ASSETS)'

# Installs, if run as root, the programs that tests need and the machine lacks; otherwise prints
# their names. NO_SKIP=1: a test that would skip because a program is missing fails instead.
# TEST_JOBS=N: that many test programs at a time.
test: toolchain programs
	$(CARGO) fmt --all --check
	scripts/prose
	$(CARGO) clippy --profile checks --workspace --all-targets -- -D warnings
	scripts/deny
	RUSTDOCFLAGS='-D warnings -A rustdoc::private_intra_doc_links' \
	    $(CARGO) doc --quiet --profile checks --workspace --no-deps --document-private-items
	$(MAKE) --no-print-directory tested
	sh scripts/check-header include/epollshim.h
	CARGO='$(CARGO)' scripts/run-tests $(if $(TEST_JOBS),--jobs $(TEST_JOBS)) --skip '$(FOREIGN)' --profile checks --workspace

# Programs and hosts of others: Python's own tests, servers under load, C programs on an older
# Debian and on musl. They take a third of the time of all tests; .ci/run runs them as well.
FOREIGN := python_suite,healthy_servers,other_hosts
test-foreign: toolchain programs
	$(MAKE) --no-print-directory tested
	CARGO='$(CARGO)' scripts/run-tests $(if $(TEST_JOBS),--jobs $(TEST_JOBS)) --only '$(FOREIGN)' --profile checks --workspace

# The tests use the library as it is shipped, and a command without link-time optimisation, which
# would take a minute. $(TESTED) contains both, and the manual pages and completions.
TESTED := $(TARGET)/tested/release
tested: toolchain
	$(MAKE) --no-print-directory -j2 tested-library tested-programs
	mkdir -p '$(TESTED)'
	ln -f '$(LIBRARY)' '$(TARGET)/checks/epollshim' '$(TESTED)'
	'$(TARGET)/checks/examples/assets' '$(TESTED)/assets'

# Side by side, since link-time optimisation of the library uses one processor.
tested-library:
	$(CARGO) build --release --package epollshim
tested-programs:
	$(CARGO) test --profile checks --workspace --no-run

# The library with entries in plain Rust, in a directory of its own, and the tests that concern
# entries. Not included: tests/cost.rs, which counts the instructions of the entries in assembly,
# and the tests of the command, of reports and of readers, which do not depend on the entries.
PORTABLE := $(TARGET)/portable
PORTABLE_TESTS := c_programs armed recorded_programs recording recording_full census limits log faults stacks findings \
    hosts_exact hosts_halfway hosts_owner hosts_descriptors
test-portable: toolchain programs
	$(CARGO) build --release --features portable --target-dir $(PORTABLE)
	LIBRARY_UNDER_TEST=$(abspath $(PORTABLE))/release/libepollshim.so \
	    $(CARGO) test --profile checks $(addprefix --test ,$(PORTABLE_TESTS))

# Run it as root: it installs missing servers (about 1 GB, mostly wine), and starts each with its
# own user. NAMES are those of the tests in tests/healthy_servers.rs. Each server is loaded for 20
# seconds, first alone, then beside 8 busy processes: 20 minutes together.
SERVERS ?=
test-servers: toolchain programs
	bash scripts/need node postgres apache2 mosquitto squid unbound named mariadbd php-fpm puma celery wine
	$(MAKE) --no-print-directory tested
	for busy in 0 8; do \
	    echo "beside $$busy busy processes:"; \
	    SERVERS_SECONDS=20 SERVERS_BUSY=$$busy $(CARGO) test --profile checks --test healthy_servers -- \
	        --include-ignored --test-threads=2 $(SERVERS) || exit; \
	done

SWEEP_CALM_RUNS ?= 500
test-sweep-calm: toolchain programs
	$(MAKE) --no-print-directory tested
	SWEEP_CALM_RUNS=$(SWEEP_CALM_RUNS) $(CARGO) test --profile checks --package epollshim-cli --lib sweep::c -- --include-ignored --nocapture

# Run it as root. It makes root directories of Debian's packages below $(TARGET)/hosts (1.5 GB,
# once, 7 minutes); the tests take 10 minutes. EPOLLSHIM_BLESS=1 writes docs/hosts.md.
test-hosts: export HOSTS_FILES := $(abspath $(TARGET))/hosts/files
test-hosts: toolchain programs dist
	$(MAKE) --no-print-directory tested
	rm -rf '$(HOSTS_FILES)' && mkdir -p '$(HOSTS_FILES)'
	tar -xzf $(TARGET)/dist/epollshim-*-x86_64-linux.tar.gz -C '$(HOSTS_FILES)'
	$(CARGO) test --profile checks --test other_hosts --test hosts_packages -- --include-ignored

# Takes four minutes. It prints which programs are not installed, and which finds have no reason in
# examples/sweeps yet.
SWEEPS ?=
sweeps: toolchain
	bash scripts/need redis-server redis-cli nginx memcached lighttpd haproxy mosquitto mosquitto_pub unbound dnsmasq dig node curl
	$(CARGO) build --release
	EPOLLSHIM='$(abspath $(COMMAND))' scripts/sweeps $(SWEEPS)

# A test that fails here sometimes depends on time, on the machine or on another test.
CALM_ROUNDS ?= 5
calm: toolchain programs
	$(MAKE) --no-print-directory tested
	bash scripts/calm $(CALM_ROUNDS)

demo: release
	bash scripts/demo $(LIBRARY)

bench: release
	benches/run

# Runs: ten rounds of crowd and of dup_while_adding (dups that race with another thread's first ADD
# of their source), which `make test` runs once; 10,000 instances that share files and are closed in
# every order; 3,000 seeds of descriptor numbers that race; the storm of the census for 10 seconds;
# ten million recorded descriptors.
soak: release
	@scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && \
	for program in crowd dup_while_adding; do \
	    $(CC) -std=gnu11 -O1 -g -pthread -Iinclude -o "$$scratch/$$program" c-tests/$$program.c -ldl -rdynamic || exit; \
	    for round in 1 2 3 4 5 6 7 8 9 10; do \
	        printf '%s: ' $$program; \
	        LD_PRELOAD=$(abspath $(LIBRARY)) EPOLLSHIM_REPORT=none "$$scratch/$$program" | tail -n 1; \
	    done; \
	done
	EPOLLSHIM_SOAK=10 $(CARGO) test --profile checks --test hosts_halfway
	RACING_SEEDS=3000 $(CARGO) test --profile checks --test hosts_exact -- --nocapture
	EPOLLSHIM_STORM_SECONDS=10 $(CARGO) test --profile checks --test census storm -- --nocapture
	EPOLLSHIM_FLAT=10000000 $(CARGO) test --profile checks --test ends flat -- --nocapture

# Needs a C++ compiler and, the first time, the registry. The corpus and the inputs that failed are
# kept in $(TARGET)/fuzz.
FUZZ_SECONDS ?= 60
fuzz:
	@fuzz/run $(TARGET)/fuzz $(FUZZ_SECONDS)

functions: tested
	EPOLLSHIM_BLESS=1 $(CARGO) test --profile checks --test functions

samples: tested
	EPOLLSHIM_BLESS=1 $(CARGO) test --profile checks --test docs_samples --test thresholds
	INSTA_UPDATE=always $(CARGO) test --profile checks -p epollshim-recording -p epollshim-cli --test reports --test texts

header: toolchain
	EPOLLSHIM_BLESS=1 $(CARGO) test --profile checks --test header

dist: assets
	TARGET='$(TARGET)' CARGO='$(CARGO)' bash scripts/dist

# Compares two builds in two directories, one of them in a clone of the last commit. Takes 10
# minutes. Not part of `make test`, where tests/dist.rs checks the last result of `make dist`.
DIST_TESTS := run run_parent run_programs run_terminal check ctl
test-dist: toolchain programs
	bash scripts/need lintian
	$(MAKE) --no-print-directory dist
	$(MAKE) --no-print-directory tested
	$(CARGO) test --profile checks --test dist -- --include-ignored --nocapture
	COMMAND_UNDER_TEST=$(abspath $(TARGET))/package/files/epollshim \
	    $(CARGO) test --profile checks --package epollshim-cli $(addprefix --test ,$(DIST_TESTS))

# Neither target builds: root need not have a Rust toolchain.
install uninstall: export DESTDIR := $(DESTDIR)
install uninstall: export PREFIX := $(PREFIX)
install uninstall: export BINDIR := $(BINDIR)
install uninstall: export LIBDIR := $(LIBDIR)
install uninstall: export INCLUDEDIR := $(INCLUDEDIR)
install uninstall: export DATADIR := $(DATADIR)
install uninstall: export MANDIR := $(MANDIR)
install uninstall: export PKGCONFIGDIR := $(PKGCONFIGDIR)
install uninstall: export RELEASE := $(TARGET)/release
install uninstall:
	@sh scripts/install $@

programs:
	bash scripts/need redis-server redis-benchmark nginx memcached haproxy wrk strace valgrind jq g++ python-tests python-jsonschema man mandoc pkg-config zsh fish heaptrack libjemalloc.so.2 libtcmalloc_minimal.so.4 libmimalloc.so.2 curl gdb ltrace clang clang-sanitizers musl-gcc setpriv sshd ssh chronyd tor libseccomp.h xmllint promtool prometheus-node-exporter go mmdebstrap systemd-analyze python-yaml python-pip rpmbuild objcopy dpkg-deb

toolchain:
	@for tool in $(CARGO) $(CC); do \
	    command -v $$tool >/dev/null || { echo "make: $$tool is not installed (rustup.rs for cargo; apt-get install gcc for cc)" >&2; exit 1; }; \
	done
