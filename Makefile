# rivet-runnerd. `make run` tries it, `make test` proves it, `make help` lists the rest.
#
# Knobs: CC, SAN=asan|tsan, BUILD (where everything built goes), V=1 (show commands),
# PREFIX, DESTDIR (install), FUZZ_SECONDS, WERROR= (empty: warnings do not fail).

CC ?= gcc
SAN ?=
V ?=
WERROR ?= -Werror
BUILD ?= build$(if $(SAN),/$(SAN))
PREFIX ?= /usr/local
DESTDIR ?=
FUZZ_SECONDS ?= 20
PYTHON ?= /usr/bin/python3
VERSION := 0.1.0

Q := $(if $(V),,@)
say = $(if $(V),,@echo "  $(1)	$(2)")

PKGS := libuv jansson libsystemd sqlite3 openssl
# Debian 13 and later have llhttp as a library, Debian 12 its sources, which are only safe when strict.
LLHTTP_PC := $(shell pkg-config --exists libllhttp 2>/dev/null && echo libllhttp)
LLHTTP_SRC := $(if $(LLHTTP_PC),,/usr/share/llhttp)
PKGS += $(LLHTTP_PC)

PKG_CFLAGS = $(patsubst -I%,-isystem %,$(shell pkg-config --cflags $(PKGS) 2>/dev/null)) $(if $(LLHTTP_SRC),-isystem /usr/share/include/llhttp)
PKG_LIBS = $(shell pkg-config --libs $(PKGS) 2>/dev/null)

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes -Wmissing-prototypes \
	-Wpointer-arith -Wcast-qual -Wwrite-strings -Wundef -Wformat=2 -Wvla -Wswitch-enum -Wimplicit-fallthrough \
	-Wnull-dereference -Wdouble-promotion
IS_CLANG := $(shell $(CC) --version 2>/dev/null | grep -c clang)
ifeq ($(IS_CLANG),0)
WARN += -Wlogical-op -Wduplicated-cond -Wduplicated-branches -Wjump-misses-init
else
WARN += -Wno-gnu-statement-expression
endif

HARDEN := -fstack-protector-strong -fstack-clash-protection -fcf-protection -fPIE
LDHARDEN := -pie -Wl,-z,relro,-z,now
OPT := -O2 -g
# Lists are threaded through what they hold: a node's neighbour may be of any type, which gcc's rules of aliasing do not follow.
ALIAS := -fno-strict-aliasing
ifeq ($(SAN),asan)
SANFLAGS := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
OPT := -O1 -g
else ifeq ($(SAN),tsan)
SANFLAGS := -fsanitize=thread -fno-omit-frame-pointer
OPT := -O1 -g
else
HARDEN += -D_FORTIFY_SOURCE=3
endif

CFLAGS ?=
ALL_CFLAGS = -std=gnu17 -D_GNU_SOURCE -DRUNNERD_VERSION='"$(VERSION)"' -Isrc $(PKG_CFLAGS) $(OPT) $(ALIAS) $(WARN) $(WERROR) $(HARDEN) $(SANFLAGS) -MMD -MP $(CFLAGS)
ALL_LDFLAGS = $(LDHARDEN) $(SANFLAGS) $(LDFLAGS)
LIBS = $(PKG_LIBS) -lpthread

# Both programs are one file with main() and the library.
SRC := $(filter-out src/ctl/ctl.c,$(wildcard src/*/*.c))
OBJ := $(SRC:src/%.c=$(BUILD)/obj/%.o)
LLHTTP_OBJ := $(if $(LLHTTP_SRC),$(patsubst %,$(BUILD)/obj/llhttp/%.o,api http llhttp))
LIB := $(BUILD)/librunnerd.a

TESTLIB_SRC := $(wildcard tests/lib/*.c)
TESTLIB_OBJ := $(TESTLIB_SRC:tests/%.c=$(BUILD)/obj/tests/%.o)
UNIT_SRC := $(wildcard tests/unit/*/test_*.c tests/sim/test_*.c)
UNIT_BIN := $(UNIT_SRC:tests/%.c=$(BUILD)/tests/%) $(BUILD)/tests/check-vectors

.PHONY: all deps run test test-unit test-e2e check-vectors lint bench install uninstall clean help format
all: $(BUILD)/rivet-runnerd $(BUILD)/rivet-runnerctl $(BUILD)/tests/check-vectors

help:
	@echo "make            build $(BUILD)/rivet-runnerd"
	@echo "make run        install what is missing, build, run the counter example"
	@echo "make test       install what is missing, build, run every test (SAN=asan|tsan, CC=clang)"
	@echo "make deps lint fuzz bench install uninstall clean format"

$(BUILD)/obj/%.o: src/%.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<

$(BUILD)/obj/llhttp/%.o: /usr/share/llhttp/%.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu17 -DLLHTTP_STRICT_MODE=1 -isystem /usr/share/include/llhttp $(OPT) $(HARDEN) $(SANFLAGS) -w -c -o $@ $<

$(LIB): $(OBJ) $(LLHTTP_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

$(BUILD)/rivet-runnerd: $(BUILD)/obj/main.o $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $(BUILD)/obj/main.o $(LIB) $(LIBS)

$(BUILD)/rivet-runnerctl: $(BUILD)/obj/ctl/ctl.o $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/obj/tests/%.o: tests/%.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -Itests -c -o $@ $<

# Each unit test is one program; `make $(BUILD)/tests/unit/base/test_buf` builds one.
$(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(TESTLIB_OBJ) $(LIB)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $< $(TESTLIB_OBJ) $(LIB) -lcmocka $(LIBS)

# Holds recorded messages of the runner protocol against the codec; needs nothing that is for tests only.
$(BUILD)/tests/check-vectors: $(patsubst %,$(BUILD)/obj/tests/%.o,check-vectors lib/runner_json lib/runner_json_put) $(LIB)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

check-vectors: $(BUILD)/tests/check-vectors
	$(Q)$<

# ---- what a machine needs ----

# llhttp: a library from Debian 13 on; on Debian 12 its sources are in node-llhttp.
LLHTTP_PACKAGE := $(if $(shell apt-cache show libllhttp-dev 2>/dev/null | head -n 1),libllhttp-dev,node-llhttp)
BUILD_PACKAGES := gcc make pkg-config libuv1-dev libjansson-dev libsystemd-dev libsqlite3-dev libssl-dev $(LLHTTP_PACKAGE)
RUN_PACKAGES := python3 curl
DOC_PACKAGES := lowdown dpkg-dev:dpkg-shlibdeps
TEST_PACKAGES := libcmocka-dev python3-pytest python3-requests python3-websockets procps util-linux sqlite3 \
	nodejs:node npm:npm golang-go:go nginx-light:nginx uvicorn python3-starlette python3-fastapi gunicorn python3-flask socat \
	ca-certificates systemd:systemd-analyze debootstrap man-db:man zsh fish bash-completion
BENCH_PACKAGES := python3 python3-pytest python3-requests nodejs:node npm:npm wrk nginx-light:nginx redis-server
LINT_PACKAGES := clang-format clang-tidy cppcheck clang libclang-rt-14-dev

.PHONY: deps-build deps-run deps-test deps-bench deps-lint
deps-build:
	@tests/install-packages $(BUILD_PACKAGES)
deps-run: deps-build
	@tests/install-packages $(RUN_PACKAGES)
# For `make install`, whose manual pages are made here.
deps-doc: deps-run
	@tests/install-packages $(DOC_PACKAGES)
deps-test: deps-doc
	@tests/install-packages $(TEST_PACKAGES)
deps-bench:
	@tests/install-packages $(BENCH_PACKAGES)
deps-lint:
	@tests/install-packages $(LINT_PACKAGES)
deps: deps-test

# ---- trying and proving it ----

# Who says nothing about jobs gets one for each processor.
JOBS = $(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,-j$(shell nproc))

# The second make sees what the first has installed.
run: deps-run
	@$(MAKE) --no-print-directory $(JOBS) all
	@echo
	@echo "Open   http://127.0.0.1:6420/gateway/counter/?rvt-namespace=default&rvt-method=getOrCreate&rvt-runner=default&rvt-key=first"
	@echo "or     curl -X POST 'http://127.0.0.1:6420/gateway/counter/increment?rvt-namespace=default&rvt-method=getOrCreate&rvt-runner=default&rvt-key=first'"
	@echo
	@exec $(BUILD)/rivet-runnerd --foreground --actor counter -- $(PYTHON) docs/examples/counter/counter.py

test: deps-test
	@$(MAKE) --no-print-directory $(JOBS) check-built
	@$(MAKE) --no-print-directory check

.PHONY: check check-built
check-built: all $(UNIT_BIN)
# Sanitizers leave no room for two end-to-end runs side by side.
E2E_JOBS ?= $(if $(SAN),1)
export E2E_JOBS
check: all $(UNIT_BIN) test-corpus
	@BUILD=$(abspath $(BUILD)) tests/run $(UNIT_BIN)

test-unit: $(UNIT_BIN)
	@BUILD=$(abspath $(BUILD)) E2E=no tests/run $(UNIT_BIN)

test-e2e: all
	@BUILD=$(abspath $(BUILD)) tests/run

include tests/fuzz/fuzz.mk
include tests/bench/bench.mk

# ---- keeping it good ----

C_FILES := $(wildcard src/*.c src/*/*.[ch] tests/*.c tests/lib/*.[ch] tests/unit/*/*.c tests/sim/*.[ch] tests/fuzz/*.[ch] tests/bench/*.[ch])

format:
	$(Q)clang-format -i $(C_FILES)

LINT_FLAGS = -std=gnu17 -D_GNU_SOURCE -DRUNNERD_VERSION='"$(VERSION)"' -Isrc $(PKG_CFLAGS)
# gcc 12 does not know that a slice of some bytes has a pointer, nor a linked list no NULL.
ANALYZE_FLAGS = $(LINT_FLAGS) -O1 -fanalyzer -Wno-analyzer-null-argument -Wno-analyzer-null-dereference -Werror

.PHONY: lint-text lint-cppcheck lint-doc
lint: deps-lint
	@$(MAKE) --no-print-directory $(JOBS) lint-text lint-cppcheck lint-doc $(addprefix lint/,$(SRC) src/main.c src/ctl/ctl.c)

lint-text:
	$(call say,LINT,layers and format)
	$(Q)tests/lint/layers
	$(Q)tests/lint/log-lines
	$(Q)tests/lint/metrics
	$(Q)clang-format --dry-run -Werror $(C_FILES)

lint-cppcheck:
	$(call say,CPPCHECK,src)
	$(Q)cppcheck --quiet --error-exitcode=1 --std=c11 --inline-suppr --enable=warning,portability --suppress=missingIncludeSystem \
		--library=tests/lint/cppcheck.cfg -Isrc -D_GNU_SOURCE src

lint-doc: $(BUILD)/docs/generate
	$(call say,LINT,docs/CONFIGURATION.md)
	$(Q)$< CONFIGURATION.md | diff -u docs/CONFIGURATION.md - || { echo "docs/CONFIGURATION.md is out of step: make -B docs/CONFIGURATION.md"; exit 1; }

lint/%.c: %.c
	$(call say,ANALYZE,$<)
	$(Q)gcc $(ANALYZE_FLAGS) -c -o /dev/null $<
	$(Q)clang-tidy --quiet $< -- $(LINT_FLAGS) 2>/dev/null # which only counts what is filtered

# ---- what is made from the tables: docs/CONFIGURATION.md, manual pages, completions ----

$(BUILD)/obj/docs/%.o: docs/%.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<

$(BUILD)/docs/generate: $(BUILD)/obj/docs/generate.o $(LIB)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

docs/CONFIGURATION.md: $(BUILD)/docs/generate
	$(Q)$< CONFIGURATION.md >$@

MAN_PAGES := rivet-runnerd.8 rivet-runnerctl.1 rivet-runnerd.json.5 rivet-worker.7
MAN = $(MAN_PAGES:%=$(BUILD)/man/%)
COMPLETIONS = $(addprefix $(BUILD)/completion/,bash zsh fish)
to_man = lowdown -s -tman --out-no-smarty -M title=$(basename $(@F)) -M section=$(subst .,,$(suffix $(@F))) -M source="rivet-runnerd $(VERSION)"

$(BUILD)/man/rivet-worker.7: docs/WORKERS.md
	$(call say,MAN,$@)
	@mkdir -p $(@D)
	$(Q){ printf '# NAME\n\nrivet-worker - how a program becomes a Rivet actor\n\n'; tail -n +2 $<; } | $(to_man) >$@

$(BUILD)/man/%: $(BUILD)/docs/generate
	$(call say,MAN,$@)
	@mkdir -p $(@D)
	$(Q)$< $(@F) | $(to_man) >$@

$(BUILD)/completion/%: $(BUILD)/docs/generate
	@mkdir -p $(@D)
	$(Q)$< $(@F) >$@

.PHONY: man
man: $(MAN)

# ---- installing ----

UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= /usr/lib/sysusers.d
TMPFILESDIR ?= /usr/lib/tmpfiles.d
MANDIR ?= $(PREFIX)/share/man
DOCDIR = $(PREFIX)/share/doc/rivet-runnerd
PUT = install -D -m 644

install: all $(MAN) $(COMPLETIONS)
	install -D -m 755 $(BUILD)/rivet-runnerd $(DESTDIR)$(PREFIX)/bin/rivet-runnerd
	install -D -m 755 $(BUILD)/rivet-runnerctl $(DESTDIR)$(PREFIX)/bin/rivet-runnerctl
	sed 's|@BINDIR@|$(PREFIX)/bin|' systemd/rivet-runnerd.service.in >$(BUILD)/rivet-runnerd.service
	$(PUT) $(BUILD)/rivet-runnerd.service $(DESTDIR)$(UNITDIR)/rivet-runnerd.service
	$(PUT) systemd/rivet-runnerd.socket $(DESTDIR)$(UNITDIR)/rivet-runnerd.socket
	$(PUT) systemd/rivet-runnerd.sysusers $(DESTDIR)$(SYSUSERSDIR)/rivet-runnerd.conf
	$(PUT) systemd/rivet-runnerd.tmpfiles $(DESTDIR)$(TMPFILESDIR)/rivet-runnerd.conf
	$(PUT) systemd/node.conf $(DESTDIR)$(DOCDIR)/examples/node.conf
	$(PUT) systemd/privileged.conf $(DESTDIR)$(DOCDIR)/examples/privileged.conf
	$(PUT) README.md $(DESTDIR)$(DOCDIR)/README.md
	for page in $(MAN_PAGES); do $(PUT) $(BUILD)/man/$$page $(DESTDIR)$(MANDIR)/man$${page##*.}/$$page || exit 1; done
	$(PUT) $(BUILD)/completion/bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/rivet-runnerd
	ln -sf rivet-runnerd $(DESTDIR)$(PREFIX)/share/bash-completion/completions/rivet-runnerctl
	$(PUT) $(BUILD)/completion/zsh $(DESTDIR)$(PREFIX)/share/zsh/vendor-completions/_rivet-runnerd
	$(PUT) $(BUILD)/completion/fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/rivet-runnerd.fish
	test -e $(DESTDIR)/etc/rivet-runnerd/rivet-runnerd.json || \
		$(PUT) conf/rivet-runnerd.json $(DESTDIR)/etc/rivet-runnerd/rivet-runnerd.json

DEB = $(BUILD)/rivet-runnerd_$(VERSION)_$(shell dpkg --print-architecture).deb
.PHONY: deb
deb:
	$(Q)rm -rf $(BUILD)/deb
	$(Q)$(MAKE) --no-print-directory install PREFIX=/usr DESTDIR=$(BUILD)/deb >/dev/null
	$(Q)SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct 2>/dev/null || date +%s) conf/deb/build $(BUILD)/deb $(VERSION) $(DEB)
	@echo $(DEB)

# The configuration in /etc stays: it may be the operator's work.
uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/rivet-runnerd $(DESTDIR)$(PREFIX)/bin/rivet-runnerctl \
		$(DESTDIR)$(UNITDIR)/rivet-runnerd.service $(DESTDIR)$(UNITDIR)/rivet-runnerd.socket \
		$(DESTDIR)$(SYSUSERSDIR)/rivet-runnerd.conf $(DESTDIR)$(TMPFILESDIR)/rivet-runnerd.conf \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions/rivet-runnerd \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions/rivet-runnerctl \
		$(DESTDIR)$(PREFIX)/share/zsh/vendor-completions/_rivet-runnerd \
		$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/rivet-runnerd.fish
	for page in $(MAN_PAGES); do rm -f $(DESTDIR)$(MANDIR)/man$${page##*.}/$$page; done
	rm -rf $(DESTDIR)$(DOCDIR)

clean:
	rm -rf build

.SECONDARY:
-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
