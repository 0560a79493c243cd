# Short names for what CMake does: `make help`.

PREFIX ?= /usr/local
DESTDIR ?=
CMAKE ?= cmake
CTEST ?= ctest
CLANG_FORMAT ?= clang-format
SECONDS ?= 600
PYTHON ?= python3

# WERROR=1, or CI=true in the environment: warnings are errors.
WERROR ?= $(if $(filter true,$(CI)),1,0)
werror := $(if $(filter 1 ON on yes true,$(WERROR)),ON,OFF)

configure := CMAKE="$(CMAKE)" scripts/configure.sh release -DULY_WERROR=$(werror)

.PHONY: build deps test test-long demo bench fuzz soak install uninstall golden references format clean help
.DEFAULT_GOAL := build

build: ## build build/release/ulysses (the default)
	@$(configure)
	@$(CMAKE) --build --preset release

deps: ## install what is missing (Debian and Ubuntu)
	@scripts/install-deps.sh

test: deps ## install what is missing, build, run the tests
	@$(MAKE) --no-print-directory build
	@$(CTEST) --preset release -LE long -j $$((2 * $$(nproc)))

test-long: deps ## all tests, on more numbers of ranks
	@$(MAKE) --no-print-directory build
	@ROW_RANKS='1 3' $(CTEST) --preset release -j $$((2 * $$(nproc)))

demo: deps ## train a small Llama on real text on 2 ranks (TEXT=path: your own text)
	@$(MAKE) --no-print-directory build
	@scripts/demo.sh

bench: ## build and run the benchmarks
	@$(MAKE) --no-print-directory build
	@$(CMAKE) --build --preset release --target bench

fuzz: ## look for files that the readers do not survive (SECONDS=600 for each reader)
	@scripts/install-deps.sh --ci
	@scripts/fuzz.sh "$(SECONDS)"

soak: ## 100 runs killed and resumed on other ranks; the same bits on every mesh; 6,000 cases of attention (20 minutes)
	@$(MAKE) --no-print-directory build
	@tests/soak/kills.sh build/release/ulysses
	@tests/soak/same_bits.sh build/release/ulysses
	@tests/soak/attention_cases.sh build/release

install: ## install to PREFIX (/usr/local) below DESTDIR
	@$(configure) -DCMAKE_INSTALL_PREFIX=$(abspath $(PREFIX))
	@$(CMAKE) --build --preset release
	@DESTDIR="$(DESTDIR)" $(CMAKE) --install build/release

uninstall: ## remove what the last `make install` installed below DESTDIR
	@sed 's|^|$(DESTDIR)|' build/release/install_manifest.txt | xargs -d '\n' rm -f

golden: ## make tests/data/golden_* again with PyTorch (for tokenizers: tools/make_tokenizer_golden.py)
	@scripts/install-deps.sh --reference
	@python3 tools/make_golden.py

references: ## make tests/data/hf_* and rope.json again (PYTHON=path: one that has transformers 5.24)
	@$(PYTHON) tools/make_hf_golden.py
	@$(PYTHON) tools/make_rope_golden.py

format: ## lay out all C files
	@find $(wildcard include src cli tests bench examples) \( -name '*.[ch]' -o -name '*.cpp' \) -exec $(CLANG_FORMAT) -i {} +

clean: ## remove build and demo
	@rm -rf build demo

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' Makefile | \
	  awk -F'|' '{ printf "%-16s %s\n", $$1, $$2 }'
