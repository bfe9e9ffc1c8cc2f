# Two Makefiles in one: inside an OpenWrt buildroot or SDK this is the package, anywhere else
# it gives a developer's targets (`make help`).
ifneq ($(TOPDIR),)

# --- OpenWrt package --------------------------------------------------------------------------

$(error the OpenWrt package is not written yet)

else

# --- Developer --------------------------------------------------------------------------------

PY := .venv/bin/python
OLDEST := build/venv-oldest
export PYTHONPATH := $(CURDIR)/src:$(CURDIR)/tests
MAKEFLAGS += --no-print-directory

.PHONY: help setup packages demo test bench soak lint clean distclean docs

help:
	@echo 'make demo    two routers, two links, one TCP stream over both (ENGINE= REDIRECT= TOPOLOGY= LINKS= HOLD=1)'
	@echo 'make test    every test, on the newest and then on the oldest libraries (ARGS= for pytest)'
	@echo 'make docs    the configuration reference of the README, from the schema'
	@echo 'make lint    ruff and mypy --strict'
	@echo 'make bench   measured figures, against peers'
	@echo 'make soak    random faults (MINUTES= SEED=)'
	@echo 'make setup   only install what the others need'
	@echo 'make clean   what a crashed run left in the kernel, and build products (distclean: the venvs too)'

setup: packages .venv/.ready $(OLDEST)/.ready build/bin/.ready

packages:
	@tests/setup.sh check
	@tests/setup.sh packages

# The order matters: python-iptables compiles against the headers that `packages` brings.
.venv/.ready: tests/requirements.txt | packages
	@tests/setup.sh venv .venv tests/requirements.txt
	@touch $@

$(OLDEST)/.ready: tests/requirements-oldest.txt | packages
	@tests/setup.sh venv $(OLDEST) tests/requirements-oldest.txt
	@touch $@

build/bin/.ready: tests/requirements-singbox.txt .venv/.ready
	@tests/setup.sh sing-box build/bin
	@touch $@

demo: setup
	@$(PY) -m lab.demo $(if $(ENGINE),--engine $(ENGINE)) $(if $(REDIRECT),--redirect $(REDIRECT)) \
		$(if $(TOPOLOGY),--topology $(TOPOLOGY)) $(if $(LINKS),--links $(LINKS)) $(if $(HOLD),--hold)

# What depends on library versions runs again on the oldest ones.
test: setup
	@$(PY) -m pytest $(ARGS) tests
	@$(OLDEST)/bin/python -m pytest $(ARGS) $(wildcard tests/unit tests/kernel)

docs: setup
	@$(PY) -m reference README.md

lint: setup
	@$(PY) -m ruff check --output-format concise .
	@$(PY) -m mypy

bench soak:
	@echo '$@: not written yet' >&2; exit 1

clean:
	@$(firstword $(wildcard $(PY)) python3) -m lab.clean
	@rm -rf build/*.json build/logs .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find src tests -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

distclean: clean
	@rm -rf .venv build

endif
