# The front door: `make help` says what is behind it.

CARGO ?= cargo
CC ?= cc
PREFIX ?= /usr/local
DESTDIR ?=
BINDIR ?= $(PREFIX)/bin
# The command finds the library beside itself, in ../lib, ../lib64, ../lib/x86_64-linux-gnu or ../lib/epollshim.
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
.PHONY: tested help sweeps build release assets dist test test-dist test-hosts test-portable test-servers test-sweep-calm calm demo bench soak fuzz functions samples header install uninstall toolchain programs

help:
	@echo 'make            build the library and the command: $(LIBRARY), $(COMMAND);'
	@echo '                manual pages and completions: $(ASSETS)'
	@echo 'make demo       build it, and show it on a real server and on a small program'
	@echo 'make test       everything: format, lints, tests on C programs, real servers and Python'
	@echo '                (EPOLLSHIM_CFLAGS=FLAGS: compile the C programs of the tests with these as well, such as'
	@echo '                -ftrivial-auto-var-init=pattern)'
	@echo 'make test-portable  the tests on C programs with entries in plain Rust (cargo build --features portable)'
	@echo 'make test-servers   19 servers under load, for 20 seconds each, and again beside 8 busy processes: is what is found in them true,'
	@echo '                and what does epollshim inspect cost them? (SERVERS=NAMES: these alone)'
	@echo 'make test-sweep-calm  500 runs of small programs and servers in which nothing fails, two and eight at a time, beside a busy process,'
	@echo '                judged as if a call had failed: none may be suspicious (SWEEP_CALM_RUNS=NUMBER); and what the sweep itself costs'
	@echo 'make test-hosts     the files of make dist on other hosts: Debian bullseye to sid, musl, without libgcc_s (as root; docs/hosts.md)'
	@echo 'make sweeps     epollshim sweep on ten programs, and docs/sweeps.md anew (SWEEPS=NAMES: these alone, the others as they were)'
	@echo 'make calm       the tests CALM_ROUNDS times (5) beside two busy processes: which of them failed, and how often?'
	@echo 'make bench      what a call costs under the shim, beside a plain forwarder; what servers pay'
	@echo 'make soak       a crowd of threads and signal handlers, again and again: is every step followed?'
	@echo 'make fuzz       arbitrary bytes for each grammar of the options and for recordings, for FUZZ_SECONDS each (60)'
	@echo 'make functions  write the lists of functions in docs/ anew from crates/format/src/functions.rs'
	@echo 'make samples    write the samples of README.md and docs/ anew, as the programs print them now'
	@echo 'make header     write include/epollshim.h anew from src/capi.rs'
	@echo 'make install    copy all of it, the header and a pkg-config file below $(DESTDIR)$(PREFIX)'
	@echo '                (PREFIX=, DESTDIR=, BINDIR=, LIBDIR=, INCLUDEDIR=, DATADIR=, MANDIR=, PKGCONFIGDIR=)'
	@echo 'make dist       a tarball, a .deb and a .rpm with a static command, the debug files, and SHA256SUMS: $(TARGET)/dist'
	@echo 'make test-dist  makes them twice, from two directories: the same bytes? And lintian, rpm, and the tests of the command on the static one'
	@echo 'make uninstall  remove what was installed with the same PREFIX=, DESTDIR=...'

build: release assets

release: toolchain
	$(CARGO) build --release

# With the tests' profile: link-time optimisation takes longer than all that it does.
assets: toolchain
	$(CARGO) run --quiet --profile checks --package epollshim-cli --example assets -- '$(ASSETS)'

# What a test needs and the machine lacks is installed when this runs as root, else named in one line.
# NO_SKIP=1: a test that would skip for want of a program fails instead.
test: toolchain programs
	$(CARGO) fmt --all --check
	scripts/prose
	$(CARGO) clippy --profile checks --workspace --all-targets -- -D warnings
	scripts/deny
	$(MAKE) --no-print-directory tested
	sh scripts/check-header include/epollshim.h
	CARGO='$(CARGO)' scripts/run-tests --profile checks --workspace

# The tests try the library as it is shipped, and a command that is built without link-time optimisation,
# which would take a minute: $(TESTED) has both, and the manual pages and completions.
TESTED := $(TARGET)/tested/release
tested: toolchain
	$(CARGO) build --release --package epollshim
	$(CARGO) test --profile checks --workspace --no-run
	mkdir -p '$(TESTED)'
	ln -f '$(LIBRARY)' '$(TARGET)/checks/epollshim' '$(TESTED)'
	'$(TARGET)/checks/examples/assets' '$(TESTED)/assets'

# The library with entries in plain Rust, in a directory of its own, and the tests that concern entries. Not tests/cost.rs, which counts
# the instructions of those in assembly, nor the tests of the command, of reports and of readers, to which the library is the same.
PORTABLE := $(TARGET)/portable
PORTABLE_TESTS := c_programs armed_ways recorded_programs recording recording_full census limits log faults stacks findings \
    hosts_exact hosts_halfway hosts_owner hosts_descriptors
test-portable: toolchain programs
	$(CARGO) build --release --features portable --target-dir $(PORTABLE)
	LIBRARY_UNDER_TEST=$(abspath $(PORTABLE))/release/libepollshim.so \
	    $(CARGO) test --profile checks $(addprefix --test ,$(PORTABLE_TESTS))

# As root, which installs the servers that the machine lacks (some 1 GB, most of it wine), and starts them with users of their own. NAMES are those of the
# tests in tests/healthy_servers.rs. Both runs together take 20 minutes.
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

# As root, in root directories of Debian's packages below $(TARGET)/hosts (1.5 GB; once 7 minutes, then 10). EPOLLSHIM_BLESS=1 writes
# docs/hosts.md.
test-hosts: export HOSTS_FILES := $(abspath $(TARGET))/hosts/files
test-hosts: toolchain programs dist
	$(MAKE) --no-print-directory tested
	rm -rf '$(HOSTS_FILES)' && mkdir -p '$(HOSTS_FILES)'
	tar -xzf $(TARGET)/dist/epollshim-*-x86_64-linux.tar.gz -C '$(HOSTS_FILES)'
	$(CARGO) test --profile checks --test other_hosts --test hosts_packages -- --include-ignored

# Four minutes. It says which programs are not installed, and which finds have no reason in examples/sweeps yet.
SWEEPS ?=
sweeps: toolchain
	bash scripts/need redis-server redis-cli nginx memcached lighttpd haproxy mosquitto mosquitto_pub unbound dnsmasq dig node curl
	$(CARGO) build --release
	EPOLLSHIM='$(abspath $(COMMAND))' scripts/sweeps $(SWEEPS)

# What fails here now and then depends on time, on the machine or on another test.
CALM_ROUNDS ?= 5
calm: toolchain programs
	$(MAKE) --no-print-directory tested
	bash scripts/calm $(CALM_ROUNDS)

demo: release
	bash scripts/demo $(LIBRARY)

bench: release
	benches/run

# Ten rounds each of what `make test` runs once: a crowd; and dups at the very moment of another thread's first ADD of
# their source. And 3,000 seeds of numbers that race, 10,000 instances that share files and end in every order, and the storm
# of the census for 10 seconds. And ten million descriptors, recorded.
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

# Needs a C++ compiler and, the first time, the registry. What it broke or found worth keeping lies under $(TARGET)/fuzz.
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

# Of two builds in two directories, one of them in a clone of what is committed; 10 minutes. Not in `make test`, where tests/dist.rs looks at
# what `make dist` has made last.
DIST_TESTS := run run_parent run_programs run_terminal check ctl
test-dist: toolchain programs
	bash scripts/need lintian
	$(MAKE) --no-print-directory dist
	$(MAKE) --no-print-directory tested
	$(CARGO) test --profile checks --test dist -- --include-ignored --nocapture
	COMMAND_UNDER_TEST=$(abspath $(TARGET))/package/files/epollshim \
	    $(CARGO) test --profile checks --package epollshim-cli $(addprefix --test ,$(DIST_TESTS))

# Neither builds: root need not have a Rust toolchain.
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
