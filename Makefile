# What one can do here. `make` alone prints this list.
#
# Only make, git and a Python >= 3.11 must be there; demo and test set up the rest.
# PYTHON=/path/to/python3 picks another interpreter.

VENV := .venv
BIN := $(VENV)/bin
PREPARE := PYTHON='$(PYTHON)' packaging/prepare

.DEFAULT_GOAL := help
.PHONY: help demo test leak check golden bench bench-mixes bench-growth bench-live bench-jobs bench-postgres bench-report bench-docs deb clean

help:  ## print this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | while IFS='|' read -r name what; do \
		printf 'make %-14s %s\n' "$$name" "$$what"; done

demo: $(VENV)/ready  ## import a small shipped log and show the rows
	@$(BIN)/python demo/demo.py

test: $(VENV)/ready-test  ## everything that must pass; sets up what it needs
	@$(PREPARE) debian
	@$(MAKE) --no-print-directory check
	$(BIN)/python -m pytest --durations=15 $(ARGS)

leak: $(VENV)/ready-test  ## search all that comes out of the program for raw text; as root
	@$(PREPARE) debian
	$(BIN)/python -m pytest -v tests/leak $(ARGS)

check: $(VENV)/ready-test  ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/mypy --strict

golden: $(VENV)/ready-test  ## rewrite the => lines of the golden stories; review the diff
	$(BIN)/python -m tests.golden_runner --rewrite $(ARGS)
	$(BIN)/python -m tests.scrubbed

bench: $(VENV)/ready-test  ## lines per CPU second, beside pflogsumm and others where they are installed
	$(BIN)/python -m bench.bench $(ARGS)

bench-mixes: $(VENV)/ready-test  ## the same for each kind of mail host, a line each
	$(BIN)/python -m bench.bench --mix all $(ARGS)

bench-docs: $(VENV)/ready-test  ## both, and their tables into docs/performance.md
	$(BIN)/python -m bench.bench --docs $(ARGS)
	$(BIN)/python -m bench.bench --mix all --docs $(ARGS)

bench-growth: $(VENV)/ready-test  ## what a line costs as logs, queues, stores grow; ARGS=--full: half an hour
	$(BIN)/python -m bench.growth $(ARGS)

bench-live: $(VENV)/ready-test  ## the daemon and rsyslog's child on one core
	$(BIN)/python -m bench.live $(ARGS)

bench-jobs: $(VENV)/ready-test  ## wall time of an import by two processes against one
	$(BIN)/python -m bench.jobs $(ARGS)

bench-postgres: $(VENV)/ready-test  ## rows on their way to PostgreSQL, beside a bare COPY
	$(BIN)/python -m bench.postgres $(ARGS)

bench-report: $(VENV)/ready-test  ## time and memory of a report over a million rows
	$(BIN)/python -m bench.report $(ARGS)

# Its tests are among those of `make test`.
deb:  ## the Debian package of the last commit, in build/deb or OUT=FOLDER
	@$(PREPARE) deb
	@DEB_BUILD_OPTIONS=nocheck DEB_BUILD_PROFILES=nocheck packaging/build-deb.sh $(OUT)

clean:  ## remove what make made: the environment, the demo's output, caches
	rm -rf $(VENV) demo/out build .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp stands for a whole environment, so that a broken set-up is never taken for a finished one.
$(VENV)/ready: pyproject.toml packaging/prepare
	@$(PREPARE) environment $(VENV)
	@touch $@

$(VENV)/ready-test: $(VENV)/ready
	@$(PREPARE) test-tools $(VENV)
	@touch $@
