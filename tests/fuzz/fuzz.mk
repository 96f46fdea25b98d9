# Fuzzers: one per decoder, each asserting a property (see the head of each tests/fuzz/fuzz_*.c).
# `make fuzz` runs each for FUZZ_SECONDS with libFuzzer; `make test-corpus` runs their corpora without it.

FUZZ_CC ?= clang
FUZZ_SECONDS ?= 20
FUZZ_NAMES := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_BIN := $(FUZZ_NAMES:%=$(BUILD)/fuzz/fuzz_%)
REPLAY_BIN := $(FUZZ_NAMES:%=$(BUILD)/fuzz/replay_%)

# What decoders are made of, instrumented.
FUZZ_PARTS := $(patsubst %.c,$(BUILD)/fuzz/obj/%.o,$(wildcard src/base/*.c src/codec/*.c) tests/lib/http_transcript.c) \
	$(if $(LLHTTP_SRC),$(patsubst %,$(BUILD)/fuzz/obj/llhttp/%.o,api http llhttp))
FUZZ_SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=undefined
FUZZ_CFLAGS = -std=gnu17 -D_GNU_SOURCE -Isrc -Itests $(PKG_CFLAGS) -O1 -g -fno-omit-frame-pointer -MMD -MP \
	$(FUZZ_SANITIZE) -fsanitize=fuzzer-no-link

.PHONY: fuzz fuzz-all test-corpus

$(BUILD)/fuzz/obj/%.o: %.c
	$(call say,FUZZCC,$<)
	@mkdir -p $(@D)
	$(Q)$(FUZZ_CC) $(FUZZ_CFLAGS) -c -o $@ $<

$(BUILD)/fuzz/obj/llhttp/%.o: /usr/share/llhttp/%.c
	$(call say,FUZZCC,$<)
	@mkdir -p $(@D)
	$(Q)$(FUZZ_CC) $(FUZZ_CFLAGS) -DLLHTTP_STRICT_MODE=1 -w -c -o $@ $<

$(BUILD)/fuzz/fuzz_%: $(BUILD)/fuzz/obj/tests/fuzz/fuzz_%.o $(FUZZ_PARTS)
	$(call say,FUZZLD,$@)
	$(Q)$(FUZZ_CC) $(FUZZ_SANITIZE) -fsanitize=fuzzer -o $@ $^ $(LIBS)

$(BUILD)/fuzz/replay_%: $(BUILD)/obj/tests/fuzz/fuzz_%.o $(BUILD)/obj/tests/fuzz/replay.o \
		$(BUILD)/obj/tests/lib/http_transcript.o $(LIB)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

# Finds are kept in $(BUILD)/fuzz/found; those worth keeping for good are copied to tests/fuzz/corpus by hand.
fuzz: deps-lint
	@$(MAKE) --no-print-directory fuzz-all

fuzz-all: $(FUZZ_BIN)
	$(Q)set -e; for name in $(FUZZ_NAMES); do \
		echo "fuzz_$$name: $(FUZZ_SECONDS) s"; \
		mkdir -p $(BUILD)/fuzz/found/$$name; \
		$(BUILD)/fuzz/fuzz_$$name -max_total_time=$(FUZZ_SECONDS) -timeout=10 -verbosity=0 -print_final_stats=1 \
			-artifact_prefix=$(BUILD)/fuzz/crash-$$name- \
			$(BUILD)/fuzz/found/$$name tests/fuzz/corpus/$$name; \
	done

test-corpus: $(REPLAY_BIN)
	$(Q)set -e; for name in $(FUZZ_NAMES); do $(BUILD)/fuzz/replay_$$name tests/fuzz/corpus/$$name/*; done; \
	echo "corpus: $$(ls tests/fuzz/corpus/*/* | wc -l) passed, 0 failed"

-include $(shell find $(BUILD)/fuzz/obj -name '*.d' 2>/dev/null)
