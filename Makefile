# make demo   everything on this machine: phantoms, a stand-in archive, the node, the results
# make test   the tests, with the real peers (dcmtk, Orthanc, dicom3tools, dcmqi, OHIF in Chromium)
# make test-thorough  further examples of what the tests prove: more kills, more broken headers
# make lint   ruff, mypy --strict, import-linter
# make bench  accuracy, time and memory beside their peers, into tests/bench/RESULTS.md; make bench ONLY="features reading"
#             make bench-phantoms: twenty digital patients, each lesion judged; make bench-fuzz: ten thousand broken headers
#             make cohort-journey: 22 digital patients through a whole node to the cohort's report
# make soak   20,000 instances into a door that is killed again and again: minutes
# make pictures  docs/ohif-*.png: a digital patient's results as OHIF shows them
# make train-phantom  the small network for tests and the demonstration, trained on digital patients (minutes on two cores)
# make clean  takes away what the others made

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.PHONY: help demo test test-thorough lint bench bench-phantoms bench-fuzz cohort-journey soak train-phantom pictures peers clean

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PINS := deploy/constraints.txt
PIP := $(BIN)/python -m pip --disable-pip-version-check
QUIET := $(if $(MAKE_TERMOUT),,--quiet)
SOURCES := $(shell find service dicom_io analysis -type f -not -path '*/__pycache__/*')

help:
	@grep -E '^# (make|   )' Makefile | cut -c 3-

# torch goes in first and alone, as the build that this machine's index offers; every later install is held by the pins.
$(VENV)/.torch: $(PINS)
	$(PYTHON) -c 'import sys; sys.exit("duet needs Python 3.11 or newer: make PYTHON=/path/to/python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint $(PINS) pip setuptools
	$(PIP) install $(QUIET) --constraint $(PINS) torch
	touch $@

$(VENV)/.runtime: $(VENV)/.torch pyproject.toml
	rm -rf build
	$(PIP) install $(QUIET) --no-build-isolation --constraint $(PINS) .
	touch $@

# The tests run against a wheel, not against this folder: what a wheel forgets must be seen here. A stale build/ would hide it.
$(VENV)/.package: $(VENV)/.runtime $(SOURCES) README.md
	rm -rf build
	$(PIP) install --quiet --no-build-isolation --no-deps --force-reinstall .
	touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(PIP) install $(QUIET) --constraint $(PINS) --group dev
	touch $@

demo: $(VENV)/.package
	rm -rf duet-demo
	$(BIN)/duet demo --out duet-demo

# Two cores are full with three processes: the tests of nodes wait for them half of their time. Each reads all test files, which
# takes half a minute of a core where nothing compiled may be kept.
test test-thorough: export PYTHONDONTWRITEBYTECODE :=

test: $(VENV)/.package $(VENV)/.dev peers
	$(BIN)/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder -m "not thorough"

test-thorough: $(VENV)/.package $(VENV)/.dev peers
	$(BIN)/pytest --numprocesses 2 --dist load -m thorough

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The peers of the benchmarks. pyradiomics comes as source and names numpy only while it is built: no isolation.
$(VENV)/.bench: $(VENV)/.dev
	$(PIP) install $(QUIET) --no-build-isolation --constraint $(PINS) --group bench
	touch $@

bench: $(VENV)/.package $(VENV)/.bench
	$(BIN)/python tests/bench/run.py $(ONLY)

bench-phantoms: $(VENV)/.package $(VENV)/.dev
	$(BIN)/python tests/bench/phantoms.py 1 20

bench-fuzz: $(VENV)/.package $(VENV)/.dev
	$(BIN)/python tests/bench/fuzz.py

cohort-journey: $(VENV)/.package $(VENV)/.dev peers
	DUET_COHORT_PATIENTS=22 $(BIN)/pytest tests/test_cohort_journey.py --durations=10

soak: $(VENV)/.package $(VENV)/.dev
	DUET_SOAK=20000 $(BIN)/pytest tests/service/test_door_soak.py

train-phantom: $(VENV)/.package $(VENV)/.dev
	rm -rf analysis/segmenters/shipped/duet-phantom-lesions
	$(BIN)/python tests/bench/train_phantom.py analysis/segmenters/shipped

pictures: $(VENV)/.package $(VENV)/.dev peers
	$(BIN)/python tests/bench/reading_room.py docs

peers:
	@deploy/install-peers.sh

clean:
	rm -rf $(VENV) .peers build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
