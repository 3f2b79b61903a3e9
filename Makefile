# Patchwave. `make` with no target says what there is.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
PYTEST := $(BIN)/pytest $(PYTEST_FLAGS)
CODE := src plugins tests demo hatch_build.py

.PHONY: help
help:
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(VENV)/.installed: pyproject.toml hatch_build.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "patchwave: $(PYTHON) is older than 3.11; run make PYTHON=python3.12" >&2; exit 1; }
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! $(PYTHON) -c 'import ensurepip' 2>/dev/null; then apt-get update -qq && apt-get install -y -qq python3-venv; fi
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[lab,dev]'
	touch $@

.PHONY: setup
setup: $(VENV)/.installed ## set up .venv

# What only root can install, and only some tests need: they are skipped, and say so, where it is missing.
.PHONY: system
system:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! { command -v sshd && command -v ssh && command -v unshare && command -v shellcheck && command -v rpmbuild && command -v dnf && command -v createrepo_c && command -v nginx && command -v apt-ftparchive && command -v npm && command -v gpgv && command -v openssl && command -v zypper && command -v zstd && command -v setcap && command -v unzip && ls /usr/lib/*/faketime/libfaketime.so.1; } >/dev/null 2>&1; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends openssh-server openssh-client openssl shellcheck util-linux rpm dnf createrepo-c nginx-light apt-utils gnupg gpgv zypper zstd unzip libcap2-bin python3-apt libfaketime $$(command -v npm >/dev/null || echo nodejs npm); \
	fi

.PHONY: demo
demo: setup ## patch a lab fleet; leaves demo/report.html and demo/report.json
	$(BIN)/python demo/demo.py

.PHONY: test
test: setup system ## pass everything
	@# These use one core each.
	$(MAKE) --jobs=2 --output-sync sanity lint
	$(MAKE) unit
	$(MAKE) e2e

.PHONY: unit
unit: setup ## unit tests, import rules
	$(PYTEST) -n 2 --dist loadfile tests/unit tests/meta

.PHONY: e2e
e2e: setup system ## the lab, the whole way on it, and the packages
	$(PYTEST) -n 2 --dist loadfile tests/lab tests/e2e $(wildcard tests/node)

.PHONY: types style collection documentation
types: setup
	$(BIN)/mypy src plugins/module_utils plugins/plugin_utils plugins/inventory plugins/action hatch_build.py demo/demo.py

style: setup
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)

collection: setup
	$(BIN)/ansible-lint
	$(BIN)/antsibull-changelog lint

documentation: setup
	@# It copies amazon.aws by what git knows of it, and git must not take .venv for a part of this checkout.
	GIT_CEILING_DIRECTORIES=$(CURDIR) $(BIN)/antsibull-docs lint-collection-docs --plugin-docs --validate-collection-refs self .

.PHONY: lint
lint: style types collection documentation ## ruff, mypy, ansible-lint production, documentation, changelog

.PHONY: sanity
sanity: setup system ## ansible-test sanity, without containers
	tests/sanity.sh

.PHONY: versions
versions: setup system ## the playbook on the newest ansible-core, where a Python for it is found
	tests/versions.sh

.PHONY: fuzz
fuzz: setup ## random archives for ten minutes, other ones each time; no part of test
	PATCHWAVE_FUZZ_SECONDS=$${PATCHWAVE_FUZZ_SECONDS:-600} PATCHWAVE_FUZZ_SEED=$${PATCHWAVE_FUZZ_SEED:-$$(date +%s)} $(PYTEST) tests/unit/plugins/module_utils/test_node_archive_fuzz.py

.PHONY: systemd
systemd: setup ## services under a real systemd, as root on Linux; no part of test
	$(PYTEST) tests/systemd

.PHONY: kills
kills: setup system ## kill 200 rollouts and 2,000 patches of real programs at any moment; no part of test
	PATCHWAVE_TEST_KILLS=200 $(PYTEST) tests/e2e/test_stopping.py -k killed_at_any_call
	PATCHWAVE_TEST_NODE_KILLS=400 $(PYTEST) -s -n 2 --dist load tests/node/test_kills.py

.PHONY: bench
bench: setup ## benchmarks; QUICK=1 for the short ones; writes build/bench.json
	$(BIN)/python tests/bench/bench.py

.PHONY: dist
dist: setup ## build the Galaxy tarball and the wheel into dist/
	tests/dist.sh

.PHONY: clean
clean: ## remove everything that make made
	rm -rf $(VENV) .collections build dist .*_cache demo/work demo/report.* demo/software.yml demo/*.log demo/*.journal demo/*.lock demo/ledger-*
