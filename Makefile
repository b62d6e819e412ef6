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

.PHONY: help run test faults cluster bench lint messages screenshots format clean

help: ## this list
	@grep -hE '^[a-z%-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

run: $(VENV)/.runtime ## a working shop at http://127.0.0.1:8000/ (PORT=... for another port)
	@$(BIN)/python -m flashdrop.run

# Tests have bounds in seconds, and the machine that holds them has other things to do: what failed beside others has to
# pass once alone. Both runs are printed.
define tested
$(BIN)/python -m pytest $(1) || { echo "== what failed, once more and alone"; \
	$(BIN)/python -m pytest --last-failed --last-failed-no-failures none $(2); } || failed=1;
endef

test: $(VENV)/.dev ## the whole suite, against real stores that it starts itself
ifdef ARGS
	@$(BIN)/python -m pytest $(ARGS)
else
	@failed=0; \
	$(call tested,-n $(TEST_PROCESSES) --dist loadgroup -m "not heavy and not shop",-n 1 --dist loadgroup) \
	$(call tested,-n $(TEST_PROCESSES) --dist loadgroup -m "shop and not heavy",-n 1 --dist loadgroup) \
	$(call tested,-m heavy,) \
	export TEST_DATABASE=postgresql; \
	$(call tested,-n $(TEST_PROCESSES) --dist loadgroup -m "not heavy and not shop and not browser" $(ON_POSTGRES),-n 1 --dist loadgroup) \
	exit $$failed
endif

faults: $(VENV)/.dev ## every fault against real processes, with a table of what held (ARGS="--only NAME", --quick)
	@$(BIN)/python -m flashdrop.faults $(ARGS)

cluster: $(VENV)/.dev ## the shop as deployed, on loopback: nginx, 3 web hosts, 2 workers, replicated stores (ARGS=--prove: a verdict on losing each)
	@$(BIN)/python -m flashdrop.cluster $(ARGS)

bench: $(VENV)/.dev ## every figure of docs/reference/benchmarks.md in a short form; needs wrk (ARGS=--full, ARGS="--only traffic")
	@$(BIN)/python -m flashdrop.bench $(ARGS)

bench-%: $(VENV)/.dev ## one hot endpoint under wrk: bench-sale-status, bench-product, bench-create-order (CONNECTIONS=100 DURATION=10)
	@$(BIN)/python -m flashdrop.stress.endpoint $* $(ARGS)

stress-%: $(VENV)/.dev ## a scenario of k6/ with a verdict, or stress-all (PROFILE=quick; API_URL=... SKU=... for a running shop)
	@$(BIN)/python -m flashdrop.stress $* $(ARGS)

lint: $(VENV)/.dev ## ruff, mypy, import rules, templates, shell, Dockerfile, migrations, Prometheus' rules (promtool)
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

messages: $(VENV)/.dev ## collect what the shop floor says into flashdrop/locale, and compile it; needs gettext
	SECRET_KEY=messages $(BIN)/python manage.py makemessages --locale de --locale ar --no-location --no-obsolete --ignore $(VENV) --ignore 'templates/desk/*' --ignore 'templates/admin/*' --ignore '*/tests/*'
	SECRET_KEY=messages $(BIN)/python manage.py compilemessages --ignore $(VENV) --verbosity 0

screenshots: $(VENV)/.dev ## every state a shopper can see, into docs/images/states and docs/reference/states.md; needs chromium
	@$(BIN)/python -m pytest -q --durations 0 orders/tests/picture_states.py

format: $(VENV)/.dev ## let ruff format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove the environment and caches; the shop's data in .flashdrop/ stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"Flashdrop needs Python 3.11 or later; {sys.executable} is {v[0]}.{v[1]}. Name a newer one: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.txt flashdrop/embedded/requirements.txt | $(BIN)/python
	$(BIN)/pip install --quiet -r requirements.txt
	@# The stores' wheels don't fit every machine; `make run` says what to install where they don't.
	-$(BIN)/pip install --quiet -r flashdrop/embedded/requirements.txt
	@touch $@

$(VENV)/.dev: requirements.txt requirements-dev.txt flashdrop/embedded/requirements.txt | $(BIN)/python
	$(BIN)/pip install --quiet -r requirements-dev.txt
	@touch $@ $(VENV)/.runtime
