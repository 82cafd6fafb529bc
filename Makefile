# make lists the targets.  Needs python3 (3.11-3.13), pip, make.
PYTHON ?= python3
ACCELERATOR ?= cpu
RESULTS ?= results
PRESET ?= quick
WORLD ?= larry_bob_alice
WORLDS ?= larry_bob_alice speakers markov
MAPS := phase_diagram pretraining rules hull_choices natural_rewards
GATED := persona_gain transformer detectors
LAWS := weak_limit horizon exploit leash
TRAINING := sft overoptimisation amplification literature rl_curves
THOUGHTS := reasoning codes hints
BIN := .venv/bin
ENV := .venv/.$(ACCELERATOR)-ready
SITE := .venv/.site-ready
LM := .venv/.lm-ready
LOCKS := requirements/main.lock requirements/text.lock $(if $(filter-out cpu,$(ACCELERATOR)),requirements/$(ACCELERATOR).lock)
# Errors are shown, warnings are not: about indexes that this machine does not have, root, paths.
PIP := $(PYTHON) -m pip --python $(BIN)/python install -qq --disable-pip-version-check

# Some machines tell Python to keep no bytecode: then every process would compile all modules and tests anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help env map lm test test-quick test-slow test-browser test-lm lint site figures explorer bench peers lock clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1 /p' $(MAKEFILE_LIST) | while read -r name what; do printf 'make %-13s %s\n' "$$name" "$$what"; done

env: $(ENV) ## set up .venv (1.4 GB); ACCELERATOR=cuda13 for a GPU

# --without-pip: some systems ship venv without the pip it would copy; the outer pip installs into the environment.
# Every lock lists the whole closure, so --no-deps everywhere: nothing but what a hash names is ever installed.
$(ENV): $(LOCKS) pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else "toypersona needs Python 3.11-3.13, but $(PYTHON) is %d.%d: run make PYTHON=python3.12 (or another)." % v)'
	@echo "Setting up .venv: once, 1.4 GB, about a minute ..."
	@rm -rf .venv
	@$(PYTHON) -m venv --without-pip .venv
	@$(PIP) --no-deps --require-hashes $(addprefix -r ,$(LOCKS))
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

# What a target of its own needs beside the rest: .venv/.site-ready, .venv/.lm-ready.
$(SITE) $(LM): .venv/.%-ready: requirements/%.lock $(ENV)
	@echo "Installing what $< lists into .venv ..."
	@$(PIP) --no-deps --require-hashes -r $<
	@touch $@

# The figure is drawn again only when the dataset or what draws it is newer.
map: env ## compute and draw the map; WORLD=speakers, PRESET=paper
	@out="$(RESULTS)/$(PRESET)/$(WORLD)"; \
	[ -e "$$out/phase_diagram.zarr" ] || echo "Computing the map of $(WORLD): quick takes a minute on 2 idle cores ..."; \
	$(BIN)/python -m experiments.phase_diagram --preset $(PRESET) --world $(WORLD) --out "$$out" || exit $$?; \
	for source in "$$out/phase_diagram.zarr/zarr.json" $(addprefix figures/,phase_diagram.py map_panels.py pages.py captions.py style.py) experiments/claims/phase_diagram.py; do \
		[ "$$out/phase_diagram_rules.png" -nt "$$source" ] || { $(BIN)/python -m figures.phase_diagram --data "$$out" --out "$$out"; exit $$?; }; \
	done; \
	echo "Figures $$out/phase_diagram.png, $$out/phase_diagram_rules.png"

# Runs what is not in results/ yet, then draws it: $(call draw,NAMES,FOLDER,FLAGS)
draw = set -e; for name in $(1); do \
	$(BIN)/python -m experiments.$$name --preset $(PRESET) $(3) --out $(RESULTS)/$(PRESET)/$(2); \
	$(BIN)/python -m figures.$$name --data $(RESULTS)/$(PRESET)/$(2) --out figures/out/$(2); \
	done

# Everything that figures/out holds. A gate network cannot be fitted to the few lines of speakers.
figures: env ## remake everything in figures/out
	@for world in $(WORLDS); do $(call draw,$(MAPS),$$world,--world $$world); done
	@for world in $(filter-out speakers,$(WORLDS)); do $(call draw,$(GATED),$$world,--world $$world); done
	@$(call draw,$(TRAINING),larry_bob_alice)
	@$(call draw,sft,network,--policy transformer --length 2 --seeds 0 1 2 3 4 5 --lines 8 128 2048 --num-steps 1000)
	@mkdir -p docs && for page in literature rl_curves; do mv figures/out/larry_bob_alice/$${page}_page.md docs/$$page.md; done
	@$(call draw,$(LAWS),laws)
	@$(call draw,next_token language_model language_rl,language_model)
	@$(call draw,$(THOUGHTS),thoughts)
	@for name in rules_by_world rungs claims_table explorer; do \
		$(BIN)/python -m figures.$$name --data $(RESULTS)/$(PRESET) --out figures/out || exit $$?; \
	done
	@$(BIN)/python -m figures.gallery --figures figures/out --out docs/gallery.md

# What is not in results/ yet is computed: two maps and the thoughts.
explorer: env ## write figures/out/explorer.html, a page to touch
	@for world in larry_bob_alice speakers; do \
		$(BIN)/python -m experiments.phase_diagram --preset $(PRESET) --world $$world --out $(RESULTS)/$(PRESET)/$$world || exit $$?; \
	done
	@$(BIN)/python -m experiments.reasoning --preset $(PRESET) --out $(RESULTS)/$(PRESET)/thoughts
	@$(BIN)/python -m figures.explorer --data $(RESULTS)/$(PRESET) --out figures/out

# The model is in no lock that everybody installs.
lm: $(LM) ## sample a language model, measure its answers (ten minutes)
	@$(BIN)/python -m experiments.language_model --from-model --preset $(PRESET) --out $(RESULTS)/$(PRESET)/lm
	@$(BIN)/python -m figures.language_model --data $(RESULTS)/$(PRESET)/lm --out $(RESULTS)/$(PRESET)/lm

# The files of tests with a mark: every process reads all that it is given, and makes what they make on the way.
marked = $(shell grep -rlE "mark\.$(1)(_but)?\b" tests --include='test_*.py')

test: env ## run the tests (four minutes)
	@$(BIN)/python -m pytest -m "not slow and not lm"

# Small runs of every experiment, several processes, many samples. Single ones take a minute: who is done takes over
# half of what the other has left, in the middle of a file if need be.
test-slow: env ## run the slow tests: small runs of every experiment
	@$(BIN)/python -m pytest -m "slow and not browser and not lm" --dist=worksteal $(call marked,slow)

test-browser: $(SITE) ## run the tests of pages in a browser (needs Chromium)
	@$(BIN)/python -m pytest -m browser $(call marked,browser)

QUICK := worlds rules/test_rule.py $(addprefix measures/test_,equal_drift.py boundaries.py support.py hints.py) \
	$(addsuffix .py,$(addprefix test_,limits files transcripts outputs numerics layers rewards programs datasets right_answers takeover))

test-quick: env ## run the tests of a minute
	@$(BIN)/python -m pytest -m "not slow" $(addprefix tests/,$(QUICK))

# One process: the model takes up to three gigabytes.
test-lm: $(LM) ## run the tests that read the language model
	@$(BIN)/python -m pytest -m lm --numprocesses=1 $(call marked,lm)

lint: env ## check format, style and types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/pyright

# Warnings are errors, links within the site that lead nowhere among them; pages of modules are written anew.
site: $(SITE) ## build the pages of docs/ into .cache/site
	@rm -rf docs/api .cache/site
	@$(BIN)/python -m sphinx -W --keep-going -n -q -d .cache/site/doctrees docs .cache/site/html
	@echo "Open .cache/site/html/index.html"

bench: env ## run the benchmarks, small, against the results kept
	@mkdir -p .cache && rm -f .cache/bench.jsonl
	@for name in w1_exact w2_sampled w4_project compile precision scale sizes refusals console claims experiments; do \
		$(BIN)/python -m benchmarks.$$name --quick --out .cache/bench.jsonl || exit 1; \
	done
	@$(BIN)/python -m benchmarks.against .cache/bench.jsonl

# What the benchmarks are compared with, in no lock: large, and nothing else needs it.
peers: env ## install what the benchmarks are compared with
	@echo "Installing torch, cvxpy and clarabel into .venv: several GB ..."
	@$(PIP) "torch>=2.8" cvxpy clarabel

lock: ## resolve requirements/ again (needs uv)
	@command -v uv >/dev/null || { echo "make lock needs uv: python3 -m pip install uv"; exit 1; }
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --group dev pyproject.toml -o requirements/main.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-deps --group text -o requirements/text.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --group site -c requirements/main.lock -o requirements/site.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-deps --group lm -c requirements/main.lock -o requirements/lm.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --extra cuda13 -c requirements/main.lock pyproject.toml -o requirements/cuda13.lock

clean: ## remove .venv, .cache and results
	rm -rf .venv .cache results
