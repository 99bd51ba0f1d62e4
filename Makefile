# Every target works on a machine with Python >= 3.11, make and a package registry.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
GENESIS := $(VENV)/genesis/.ready
# TESTS may name some tests: pytest alone runs them.
PYTEST := $(BIN)/python -m $(if $(TESTS),pytest $(TESTS),tests.parallel)

.PHONY: setup demo test run check bench soak fuzz format lock clean

setup: $(READY)

$(READY): requirements.lock setup.cfg setup.py pyproject.toml esl_voicemail/audio/_measured.c
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	rm -f esl_voicemail/audio/_measured.*.so
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

demo: setup
	$(BIN)/python -m esl_voicemail.trial.demo

test: setup
	$(PYTEST)

run: setup
	$(BIN)/esl-voicemail serve

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST)

# BENCH_CASES may name some cases, separated by commas.
bench: setup $(GENESIS)
	$(BIN)/python -m tests.bench

# A library the bench compares with; nothing of ours is to be in its environment, nor it in ours.
$(GENESIS): tests/bench/rivals/genesis.txt $(READY)
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@

# SOAK_SECONDS (at most 600) and SOAK_SEED may be set.
soak: setup
	$(BIN)/python -m tests.soak

# FUZZ_SECONDS and FUZZ_SEED may be set; a finding prints the seed that repeats it.
FUZZ_SECONDS ?= 60

fuzz: setup
	$(BIN)/python -m tests.fuzz $(FUZZ_SECONDS) $(FUZZ_SEED)

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Writes requirements.lock anew from setup.cfg, and the bench's own; commit what it writes.
lock: setup
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-header --no-annotate --extra dev setup.cfg --output-file requirements.lock
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-header --no-annotate tests/bench/rivals/genesis.in --output-file tests/bench/rivals/genesis.txt

clean:
	rm -rf $(VENV) build *.egg-info esl_voicemail/audio/_measured.*.so .mypy_cache .pytest_cache .ruff_cache .hypothesis
