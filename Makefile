# make env | map | test | test-slow | test-quick | lint | figures | bench | peers | lock | clean.  Needs python3 (3.11-3.13), pip, make.
PYTHON ?= python3
ACCELERATOR ?= cpu
RESULTS ?= results
PRESET ?= quick
WORLD ?= larry_bob_alice
WORLDS ?= larry_bob_alice speakers markov
MAPS := phase_diagram pretraining rules
LAWS := weak_limit horizon exploit leash
TRAINING := sft overoptimisation amplification
THOUGHTS := reasoning hints
BIN := .venv/bin
ENV := .venv/.$(ACCELERATOR)-ready
LOCKS := requirements/main.lock requirements/text.lock $(if $(filter-out cpu,$(ACCELERATOR)),requirements/$(ACCELERATOR).lock)
INSTALL := $(PYTHON) -m pip --python $(BIN)/python install --quiet --disable-pip-version-check --no-deps

.PHONY: env map test test-slow test-quick lint figures bench peers lock clean

env: $(ENV)

# --without-pip: some systems ship venv without the pip it would copy; the outer pip installs into the environment.
# Every lock lists the whole closure, so --no-deps everywhere: nothing but what a hash names is ever installed.
$(ENV): $(LOCKS) pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else "toypersona needs Python 3.11-3.13, but $(PYTHON) is %d.%d: run make PYTHON=python3.12 (or another)." % v)'
	@echo "Setting up .venv (once, about a minute) ..."
	@rm -rf .venv
	@$(PYTHON) -m venv --without-pip .venv
	@$(INSTALL) --require-hashes $(addprefix -r ,$(LOCKS))
	@$(INSTALL) --no-build-isolation --editable .
	@touch $@

# The figure is drawn again only when the dataset or what draws it is newer.
map: env
	@out="$(RESULTS)/$(PRESET)/$(WORLD)"; \
	$(BIN)/python -m experiments.phase_diagram --preset $(PRESET) --world $(WORLD) --out "$$out" || exit $$?; \
	for source in "$$out/phase_diagram.zarr/zarr.json" figures/phase_diagram.py figures/style.py experiments/claims/phase_diagram.py; do \
		[ "$$out/phase_diagram_rules.png" -nt "$$source" ] || { $(BIN)/python -m figures.phase_diagram --data "$$out" --out "$$out"; exit $$?; }; \
	done; \
	echo "Figures $$out/phase_diagram.png, $$out/phase_diagram_rules.png"

# Runs what is not in results/ yet, then draws it: $(call draw,NAMES,FOLDER,FLAGS)
draw = set -e; for name in $(1); do \
	$(BIN)/python -m experiments.$$name --preset $(PRESET) $(3) --out $(RESULTS)/$(PRESET)/$(2); \
	$(BIN)/python -m figures.$$name --data $(RESULTS)/$(PRESET)/$(2) --out figures/out/$(2); \
	done

# Everything that figures/out holds.
figures: env
	@for world in $(WORLDS); do $(call draw,$(MAPS),$$world,--world $$world); done
	@$(call draw,$(TRAINING),larry_bob_alice)
	@$(call draw,$(LAWS),laws)
	@$(call draw,$(THOUGHTS),thoughts)

test: env
	@$(BIN)/python -m pytest -m "not slow"

# Small runs of every experiment, several processes, many samples: with the others they run in CI.
test-slow: env
	@$(BIN)/python -m pytest -m slow

QUICK := worlds rules/test_rule.py $(addprefix measures/test_,equal_drift.py boundaries.py support.py hints.py) \
	$(addsuffix .py,$(addprefix test_,limits files transcripts outputs numerics layers rewards programs datasets right_answers takeover))

test-quick: env
	@$(BIN)/python -m pytest -m "not slow" $(addprefix tests/,$(QUICK))

lint: env
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/pyright

bench: env
	@for name in w1_exact w2_sampled w4_project compile precision scale; do $(BIN)/python -m benchmarks.$$name --quick || exit 1; done

# What the benchmarks are compared with, in no lock: large, and nothing else needs it.
peers: env
	@$(PYTHON) -m pip --python $(BIN)/python install --quiet --disable-pip-version-check "torch>=2.8" cvxpy clarabel

lock:
	@command -v uv >/dev/null || { echo "make lock needs uv: python3 -m pip install uv"; exit 1; }
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --group dev pyproject.toml -o requirements/main.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-deps --group text -o requirements/text.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --extra cuda13 -c requirements/main.lock pyproject.toml -o requirements/cuda13.lock

clean:
	rm -rf .venv .cache results
