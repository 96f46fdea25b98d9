# Speed and size. `make bench` runs every tests/bench/bench_NAME.py, or those in BENCH="forward memory",
# and prints one table; docs/BENCHMARKS.md says how to read it. BENCH_SECONDS is the length of one run of a load.

BENCH ?=
BENCH_SECONDS ?= 1
BENCH_DIR := $(BUILD)/bench
BENCH_BIN := $(patsubst tests/bench/%.c,$(BENCH_DIR)/%,$(wildcard tests/bench/*.c)) $(BENCH_DIR)/worker

.PHONY: bench-run

$(BENCH_DIR)/%: $(BUILD)/obj/tests/bench/%.o $(LIB)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $< $(LIB) $(LIBS)

# As its own instructions say.
$(BENCH_DIR)/worker: docs/examples/c/worker.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c11 -O2 -o $@ $<

# The second make sees what the first has installed.
bench: deps-build deps-bench
	@$(MAKE) --no-print-directory bench-run

bench-run: $(BUILD)/rivet-runnerd $(BENCH_BIN)
	@BUILD=$(abspath $(BUILD)) RIVET_RUNNERD=$(abspath $(BUILD))/rivet-runnerd $(PYTHON) tests/bench/run.py \
		--dir $(abspath $(BENCH_DIR)) --seconds $(BENCH_SECONDS) $(BENCH)
