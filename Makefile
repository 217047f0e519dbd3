# make run, make test: on a fresh machine they first make .venv with the tested set of packages.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help install run test bench docs lint types clean

help:            ## show this help
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/'

$(VENV)/.installed: setup.cfg constraints.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet torch --constraint constraints.txt
	$(BIN)/python -m pip install --quiet --editable ".[test]" --constraint constraints.txt
	touch $@

install: $(VENV)/.installed ## make .venv and install the package, editable, with the tested set

run: install     ## train HLR on MovieLens-100K with the shipped defaults
	$(BIN)/python run_recbole_hlr.py --model=HLR --dataset=ml-100k

test: install lint types ## lint, type check, all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist=worksteal

bench: install   ## time training and ranking on generated data, some minutes
	$(BIN)/python benchmarks/performance.py

docs: install    ## build the documentation as a site, build/site/index.html; an error where a link leads nowhere
	$(BIN)/python -m pip install --quiet --editable ".[docs]" --constraint constraints.txt
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

lint: install    ## style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install   ## type check
	$(BIN)/mypy

clean:           ## remove .venv and caches
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
