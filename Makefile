# Everything works from a fresh clone with Python 3.11 or newer and make, nothing else.
#
#   make demo      what a recorded Linux machine could have given, under each design
#   make test      lint and the whole default suite
#   make help      the rest
#
# `make PYTHON=/path/to/python3.12 ...` picks the interpreter; `make VENV=dir ...` the place.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-browser lint docs mutants mutation coverage bench slow fuzz soak lowest format readme clean

VENV ?= .venv
CANDIDATES := python3 python3.13 python3.12 python3.11 python3.14
PIP := $(VENV)/bin/python -m pip install -qq --disable-pip-version-check --editable
RUN := $(VENV)/bin/python -m
# Each test process takes the next tests of whoever has most left: files differ in length.
WORKERS ?= auto
PARALLEL := -n $(WORKERS) --maxprocesses=8 --dist=worksteal
SECONDS ?= 60
SAMPLE ?= 100
STEPS ?= 1000000
LOWEST ?= .venv-lowest

# Some hundred tests start the command anew; what is compiled once stays compiled for them.
export PYTHONDONTWRITEBYTECODE :=

help:
	@echo "make demo     replay a recorded machine under each design and print the table"
	@echo "make test     lint, then the default suite"
	@echo "make test-browser  open the page of a what-if in Chromium, where it is installed"
	@echo "make lint     ruff and mypy --strict over the four packages"
	@echo "make docs     the site: these pages and an API reference, in build/docs"
	@echo "make mutants  plant every known bug and see a test fail"
	@echo "make mutation SAMPLE=100 random changes of the core, and how many a test notices"
	@echo "make coverage the default suite, and how much of the core it runs, branch by branch"
	@echo "make bench    benchmarks: work counted, time reported"
	@echo "make slow     the long tests"
	@echo "make fuzz     draw new examples for SECONDS=60, from SEED= or the clock"
	@echo "make soak     the stateful machines, for STEPS=1000000 steps"
	@echo "make lowest   the lowest declared version of every dependency, and the suite with them"
	@echo "make format   let ruff lay out the code"
	@echo "make readme   refresh the tables that are made from the code: the README's, the invariants"
	@echo "make clean    remove the virtual environment and every cache"

demo: $(VENV)/.ready-core
	@$(VENV)/bin/pinpage compare

test: lint
	@$(RUN) pytest -q $(PARALLEL)

test-browser: $(VENV)/.ready-dev
	@$(RUN) pytest -q -m "slow or not slow" -rs tests/unit/pinlab/whatif/test_page.py

lint: $(VENV)/.ready-dev
	@$(RUN) ruff check --quiet .
	@$(RUN) ruff format --quiet --check .
	@$(RUN) mypy

docs: $(VENV)/.ready-dev
	@$(RUN) sphinx -q -W --keep-going -b html docs build/docs
	@echo "build/docs/index.html"

mutants: $(VENV)/.ready-dev
	@$(RUN) tests.mutants.run

mutation: $(VENV)/.ready-dev
	@$(PIP) ".[mutation]"
	@$(RUN) tests.mutants.random_changes --sample $(SAMPLE) $(if $(SEED),--seed $(SEED))

# Interrupts are planted by a trace function of their own, which coverage's would end; signals
# that come by the clock come faster than a traced handler returns; and where memory runs out in
# coverage's tracer, it gives up for the rest of the process.
TRACED := tests/faults/test_move_interrupts.py tests/unit/pinpage/test_no_memory.py tests/races/test_odirect_lifetime.py \
    tests/races/test_two_interrupts_of_a_device.py \
    tests/unit/pinpage/test_registry_counts.py::test_who_registers_while_it \
    tests/property/test_registry_rule_p.py::test_signals_that_unpin_whenever_they_come

coverage: $(VENV)/.ready-dev
	@$(PIP) ".[coverage]"
	@$(RUN) pytest -q $(PARALLEL) --cov --cov-report= $(TRACED:%=--deselect %)
	@$(RUN) tests.coverage.floors $(if $(MISSING),--missing)

bench: $(VENV)/.ready-dev
	@$(RUN) pytest -q -m benchmark tests

slow: $(VENV)/.ready-dev
	@$(RUN) pytest -q -m slow || [ $$? -eq 5 ] # 5: there is none
	@PINPAGE_NR_MACHINES=600 PINPAGE_POINT_STEP=1 $(RUN) pytest -q $(PARALLEL) \
	    tests/property/test_bounds_exhaustive.py tests/property/test_registry_switches.py \
	    tests/faults/test_every_point.py

fuzz: $(VENV)/.ready-dev
	@$(RUN) tests.fuzz.run --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

soak: $(VENV)/.ready-dev
	@$(RUN) tests.fuzz.soak --steps $(STEPS) $(if $(SEED),--seed $(SEED))

# In a venv of its own; hypothesis draws other examples there, so files of examples are left out.
lowest:
	@$(MAKE) --no-print-directory VENV=$(LOWEST) $(LOWEST)/bin/python
	@$(LOWEST)/bin/python tests/lowest.py > $(LOWEST)/constraints.txt
	@$(LOWEST)/bin/python -m pip install -qq --disable-pip-version-check \
	    --constraint $(LOWEST)/constraints.txt --editable ".[test,drgn,fleet,mutation]"
	@$(LOWEST)/bin/python -m pytest -q $(PARALLEL) --deselect tests/property/test_same_examples.py

format: $(VENV)/.ready-dev
	@$(RUN) ruff check --quiet --fix .
	@$(RUN) ruff format --quiet .

readme: $(VENV)/.ready-dev
	@$(RUN) tests.docs.readme_table
	@$(RUN) tests.docs.references
	@$(RUN) tests.docs.options_page
	@$(RUN) tests.docs.errno_page

clean:
	@rm -rf $(VENV) .coverage build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@rm -rf *.egg-info

# The interpreter: the first that is new enough and can make a virtual environment.  A name
# on PATH may be a shim for a version that is not there, so each one is tried, not looked up.
$(VENV)/bin/python:
	@for python in $(if $(PYTHON),"$(PYTHON)",$(CANDIDATES)); do \
	    if "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
	        >/dev/null 2>&1; then \
	        echo "making $(VENV) with $$("$$python" --version)"; \
	        "$$python" -m venv --clear "$(VENV)" && exit 0; \
	        rm -rf "$(VENV)"; exit 1; \
	    fi; \
	done; \
	echo "pinpage needs Python 3.11 or newer with its venv module; tried:" \
	    "$(if $(PYTHON),$(PYTHON),$(CANDIDATES))." >&2; \
	echo "Install one (on Debian: python3 and python3-venv), or name it: make PYTHON=/path/to/python3.12" >&2; \
	exit 1

# Installed in place, so that the command follows the checkout; again when pyproject changes.
$(VENV)/.ready-core: pyproject.toml | $(VENV)/bin/python
	@echo "installing pinpage into $(VENV)"
	@$(PIP) ".[compress]"
	@touch $@

$(VENV)/.ready-dev: pyproject.toml | $(VENV)/bin/python
	@echo "installing pinpage and its test tools into $(VENV)"
	@$(PIP) ".[dev]"
	@touch $@ $(VENV)/.ready-core
