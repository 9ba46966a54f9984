# Two commands: make demo, make test. Each makes .venv when it is missing; a second call starts at once.
PYTHON ?= python3
# Installed first and pinned, so that what depends on torch takes this build and no other.
TORCH ?= torch==2.13.0
JOBS ?= 2

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Each process takes neighbouring tests, which share what their file loads, and then others' last.
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist worksteal

.PHONY: demo test test-slow lint wheel types docs notebooks bench gpu gpu-pack bench-fidelity bench-claims bench-field bench-peers calibrations clean
.DEFAULT_GOAL := help
help:
	@echo "make demo   a pipeline that learns from four pictures, and then is fast"
	@echo "make test   run the tests; make test-slow, those that take minutes"
	@echo "make docs   build the documentation into build/site"
	@echo "make lint, make types, make notebooks, make bench, make gpu, make gpu-pack, make bench-fidelity, make bench-field, make bench-peers, make calibrations, make clean"

demo: .venv/.demo
	$(BIN)/forecastcache demo

test: .venv/.dev
	$(PYTEST)

test-slow: .venv/.dev
	$(PYTEST) -m slow

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# A wheel, unpacked: type checkers and mkdocstrings cannot see the folders that an editable install maps.
SITE := build/types/site
wheel: .venv/.dev
	rm -rf build/lib build/types
	$(BIN)/python -m build --wheel --no-isolation --outdir build/types . > /dev/null
	rm -rf forecastcache.egg-info  # left behind, it would hide entry points declared later
	$(PIP) install --quiet --no-deps --target $(SITE) build/types/*.whl

types: wheel
	cd $(SITE) && ../../../$(BIN)/python -m mypy --config-file ../../../pyproject.toml -p forecastcache

# Without --quiet, which would keep warnings from failing it.
docs: wheel
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo build/site/index.html

# Run, and kept with what they show.
notebooks: .venv/.dev
	KEEP_NOTEBOOKS=1 $(BIN)/python -m pytest -m slow tests/test_notebooks.py

bench: .venv/.dev
	$(BIN)/python benchmarks/forecast_step.py
	$(BIN)/python benchmarks/combine.py

# What only a GPU can show, in eight minutes; and what a machine without a network lacks for it.
gpu: .venv/.dev
	$(BIN)/python benchmarks/gpu/run.py --device cuda

gpu-pack: .venv/.dev
	$(BIN)/python benchmarks/gpu/pack.py --out build/gpu-pack

bench-fidelity: .venv/.dev
	$(BIN)/python benchmarks/fidelity.py

bench-claims: .venv/.dev
	$(BIN)/python benchmarks/claims.py

# Every method of the field at equal cost; some hours, and goes on where it was.
bench-field: .venv/.dev
	$(BIN)/python benchmarks/field.py

# Against what people would otherwise use; takes hours, and goes on where it was.
bench-peers: .venv/.dev
	$(PIP) install --quiet --editable '.[peers]'
	$(BIN)/python benchmarks/peers.py

# What ships beside each zoo model; made again whenever a model is.
COUNTS := 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18
SCHEDULES := every:7 0,6,12,18,24,30,36,42,48 $(COUNTS:%=search:%)
calibrations: .venv/.dev
	$(foreach model,dit flux qwen hunyuan, \
	    $(BIN)/forecastcache calibrate zoo:$(model)-digits \
	        $(patsubst %,--schedule %,$(SCHEDULES)) --tries 40 --evaluations 74000 \
	        --out forecastcache/zoo/calibrations/$(model)-digits.safetensors &&) true

clean:
	rm -rf .venv build dist forecastcache-run forecastcache-demo

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("forecastcache needs Python 3.10 or newer: make PYTHON=python3.x" if sys.version_info < (3, 10) else 0)'
	$(PYTHON) -m venv .venv

.venv/.torch: .venv/bin/python
	$(PIP) install --quiet $(TORCH)
	@touch $@

# As people install it, but where `make test` has put the checkout itself in place.
.venv/.demo: .venv/.torch pyproject.toml $(shell find forecastcache predictors adapters calibration -type f -not -name '*.pyc')
	rm -rf build/lib  # files that are gone would be installed from there
	test -e .venv/.dev || $(PIP) install --quiet '.[zoo]'
	@touch $@

.venv/.dev: .venv/.torch pyproject.toml
	$(PIP) install --quiet --editable '.[dev]'
	@touch $@ .venv/.demo
