# `make lab` opens the course; `make help` lists the rest.
#   make lab ARGS="--no-browser --port 8890"     options for JupyterLab
#   make lab PIP_ARGS="--index-url ..."          options for pip, when it installs
#   make lab PYTHON=python3.12                   the Python to make .venv from
.DEFAULT_GOAL := help
.PHONY: help lab check update doctor clean moved

ARGS ?=
PIP_ARGS ?=
PYTHON ?=

BIN := .venv/bin
LAB := .venv/.ready-lab
DEV := .venv/.ready-dev
LOCK := pyproject.toml lock.txt
# An environment knows its own address: when the folder was moved, install into it once more.
MOVED := $(if $(wildcard .venv/.address),$(if $(filter-out $(shell cat .venv/.address | cksum),$(shell pwd -P | cksum)),moved))

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

lab: $(LAB) ## open the course in JupyterLab (the first call installs it)
	@$(BIN)/cs348k lab $(ARGS)

check: $(LAB) ## your points: make check ARGS=work/02_forward_noising.ipynb
	@$(BIN)/cs348k check $(or $(ARGS),$(wildcard work/[0-9]*.ipynb))

update: $(LAB) ## carry your answers over to a newer handout
	@$(BIN)/cs348k update $(ARGS)

doctor: $(LAB) ## check this machine: Python, packages, memory, disk; say what to mend
	@$(BIN)/cs348k doctor $(ARGS)

clean: ## remove the installation and the caches (work/ is yours and stays)
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -not -path './work/*' -prune -exec rm -rf {} +

$(LAB): $(LOCK) $(MOVED)
	@$(call install,lab)

$(DEV): $(LOCK) $(MOVED)
	@$(call install,dev)

# The first Python that is new enough and can make an environment; install.py says what is wrong where that fails.
define install
	found=; for python in $(or $(PYTHON),python3.13 python3.12 python3.11 python3 python); do \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue; \
	  found=$${found:-$$python}; \
	  if "$$python" -c 'import ensurepip' >/dev/null 2>&1; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "The course needs Python 3.11 or newer and found none as $(or $(PYTHON),python3.13, python3.12, python3.11 or python3): install one from python.org, or name yours: make lab PYTHON=/path/to/python3.12" >&2; \
	  exit 2; \
	fi; \
	exec "$$found" -I cs348k_diffusion/course/install.py $(1) $(PIP_ARGS)
endef

# For those who teach or extend the course
.PHONY: test fast browser notebooks outputs bench lint

# Tests: one torch thread a process (two fight for a core), no network (tests/offline), figures without a window.
QUIET := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 MPLBACKEND=Agg PYTHONPATH="$(CURDIR)/tests/offline"
PYTEST := $(QUIET) $(BIN)/python -m pytest
NBVAL := -n 2 --dist loadfile --nbval-lax --nbval-current-env --nbval-cell-timeout 300 -p no:cacheprovider

test: $(DEV) ## everything: lint, unit tests, every notebook, the browser (25 to 40 minutes)
	@failed=0; \
	$(MAKE) --no-print-directory lint || failed=1; \
	$(MAKE) --no-print-directory fast || failed=1; \
	echo "== the solution notebooks, each from top to bottom"; \
	$(if $(wildcard solutions/*.ipynb),CS348K_STRICT=1 $(PYTEST) $(NBVAL) solutions || failed=1,echo "none yet"); \
	echo "== the student notebooks, unsolved, each from top to bottom"; \
	$(if $(wildcard notebooks/*.ipynb),CS348K_QUICK=1 $(PYTEST) $(NBVAL) notebooks || failed=1,echo "none yet"); \
	$(MAKE) --no-print-directory browser || failed=1; \
	exit $$failed

fast: $(DEV) ## the unit tests alone
	@echo "== the unit tests"
	@$(PYTEST) -n 2 --dist worksteal tests --ignore tests/browser --ignore tests/benchmarks $(ARGS)

browser: $(DEV) ## the notebooks in a real browser (needs Chromium)
	@echo "== the notebooks in a real browser"
	@$(if $(wildcard tests/browser/test_*.py),$(PYTEST) -n 2 --dist loadfile tests/browser $(ARGS),echo "none yet")

lint: $(DEV) ## ruff and pyright
	@echo "== ruff and pyright"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright

notebooks: $(DEV) ## make the student notebooks from solutions/
	@$(BIN)/python -m cs348k_diffusion.authoring.handout $(ARGS)

outputs: $(DEV) ## run the solutions and store what they show
	@OMP_NUM_THREADS=1 $(BIN)/python -m cs348k_diffusion.authoring.outputs $(ARGS)

bench: $(DEV) ## what is timed, and the course beside other libraries: two hours (QUICK=1: ten minutes)
	@OMP_NUM_THREADS=1 $(BIN)/python tests/benchmarks/timing/limits.py
	@OMP_NUM_THREADS=1 $(BIN)/python tests/benchmarks/timing/tiled.py
	@OMP_NUM_THREADS=1 $(BIN)/python tests/benchmarks/timing/classes.py
	@OMP_NUM_THREADS=1 $(BIN)/python tests/benchmarks/timing/scaling.py
	@OMP_NUM_THREADS=1 $(BIN)/python tests/benchmarks/peers/run.py $(if $(QUICK),--quick)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/benchmarks -s $(ARGS)
