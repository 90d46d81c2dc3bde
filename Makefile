# Every verb of the project; `make help` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
REQUIREMENTS := deploy/requirements
# Environments of their own: of the peers, of the page for other projects, of the neighbours, of Kubernetes' schemas, of
# the fuzz, of releases.
APART := $(patsubst %/requirements.in,%,$(wildcard tests/bench/peers/*/requirements.in tests/docs/requirements.in \
    tests/neighbours/requirements.in tests/kubernetes/requirements.in tests/openapi/requirements.in \
    deploy/supply/requirements.in))
# What is never imported need not be compiled, which is a third of the work of installing it.
INSTALL := -m pip --disable-pip-version-check --quiet install --no-compile --require-hashes
# If make is killed, what it runs gets SIGTERM (see prctl(2), PR_SET_PDEATHSIG).
EXEC := @exec setpriv --pdeathsig TERM
# Three processes of tests, which wait for a third of their time; one where a broker or a database is given, of which each
# would need a part of its own.
GIVEN := $(NOWAIT_BROKER_URL)$(NOWAIT_DATABASE_URL)
PARALLEL := $(if $(GIVEN),,-n 3 --max-worker-restart 0)
BY_FILE := $(if $(GIVEN),,--dist loadfile --no-loadscope-reorder)

.DEFAULT_GOAL := help
.PHONY: help run test faults soak bench bench-compare platforms check lint types audit sbom dist sample migrate server \
    worker beat lock clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile

run: $(VENV)/run ## Everything from nothing, in the foreground: broker, database, worker, scheduler, server
	$(EXEC) $(BIN)/python -m deploy.local

test: $(VENV)/test $(VENV)/celery-5.3/made $(VENV)/supply/made ## The tests but the long ones, against a private broker and database; ARGS='-k bridge' picks
	$(EXEC) $(BIN)/python -m pytest $(PARALLEL) $(if $(filter tests/%,$(ARGS)),,--part short) $(ARGS)

faults: $(VENV)/test ## The long fault tests with their table of figures, and the fuzz; SCALE=10 for ten times the length
	$(EXEC) $(BIN)/python -m pytest tests/faults tests/openapi -v --scale $(or $(SCALE),1) $(ARGS)

soak: $(VENV)/test ## Load with random faults, its figures at the end: HOURS=8, one otherwise; SEED=1 again, EVERY=60 seconds
	$(EXEC) $(BIN)/python -m tests.soak --hours $(or $(HOURS),1) $(if $(SEED),--seed $(SEED)) $(if $(EVERY),--every $(EVERY))

bench: $(VENV)/test ## The comparison, with a report in bench/; QUICK=1, ONLY=bridge,threads picks
	$(EXEC) $(BIN)/python -m tests.bench $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))

bench-compare: $(VENV)/test ## This revision against another one, measured in turn: BASE=main, QUICK=1
	$(EXEC) $(BIN)/python -m tests.bench.compare $(if $(QUICK),--quick) $(or $(BASE),main)

platforms: $(VENV)/test ## The tests on Debian 13 and unstable, and with MySQL; as root; ONLY=mysql,unstable picks
	$(EXEC) $(BIN)/python -m tests.platforms $(if $(ONLY),--only $(ONLY)) $(if $(FRESH),--fresh)

# Tests of one file share what they stand on: one process runs them. The last part measures times: another process runs
# only what waits in it.
check: lint types test ## What CI runs: lint, types, all tests, the faults shortened; and the audit, where that is possible
	@setpriv --pdeathsig TERM $(VENV)/supply/bin/python -m deploy.supply.audit --if-reachable
	@setpriv --pdeathsig TERM $(BIN)/python -m pytest $(PARALLEL) $(BY_FILE) --part long
	$(EXEC) $(BIN)/python -m pytest $(if $(GIVEN),,-n 2 --max-worker-restart 0) $(BY_FILE) --part measured

lint: $(VENV)/test ## Style and import order
	@$(BIN)/flake8 nowait server tasks tests deploy
	@$(BIN)/isort --check --diff --quiet nowait server tasks tests deploy

types: $(VENV)/test ## Types, strictly
	@$(BIN)/mypy

audit: $(VENV)/supply/made ## Known vulnerabilities of what hosts install; status 3 where none can be looked up
	$(EXEC) $(VENV)/supply/bin/python -m deploy.supply.audit $(ARGS)

sbom: $(VENV)/supply/made ## What each part consists of, as CycloneDX in dist/
	$(EXEC) $(VENV)/supply/bin/python -m deploy.supply.bom dist

dist: $(VENV)/supply/made ## A release in dist/, of what is committed: wheel, source, what each part consists of, checksums
	@rm -rf dist
	$(EXEC) $(VENV)/supply/bin/python -m deploy.supply.release dist

sample: $(VENV)/run ## The sample data into the database of the settings; an existing table is never touched
	$(EXEC) $(BIN)/python -m deploy.local.sample

migrate: $(VENV)/run ## The schema of jobs in the database of the settings: made, or brought to the newest revision
	$(EXEC) $(BIN)/python -m nowait.jobs $(ARGS)

server: $(VENV)/run ## One server alone, from the settings (python -m server --help)
	$(EXEC) $(BIN)/python -m server

worker: $(VENV)/run ## One worker alone, from the settings; ARGS='-P threads -c 8' are Celery's own
	$(EXEC) $(BIN)/celery -A tasks worker --loglevel INFO $(ARGS)

beat: $(VENV)/run ## One scheduler alone, from the settings; as many as one likes
	$(EXEC) $(BIN)/celery -A tasks beat --loglevel INFO $(ARGS)

lock: $(VENV)/supply/made ## Pin the newest allowed versions of all dependencies, with their hashes
	@for set in server worker migrate otel 'run server worker migrate demo' \
	    'test server worker otel migrate demo test bench'; do \
	    set -- $$set; name=$$1; [ $$# -eq 1 ] || shift; \
	    $(VENV)/supply/bin/uv pip compile setup.cfg $$(printf -- '--extra %s ' "$$@") --upgrade --universal \
	        --python-version 3.10 --generate-hashes --no-header --no-emit-index-url --quiet \
	        -o $(REQUIREMENTS)/$$name.txt || exit; \
	done
	@printf 'celery==5.3.*\ngevent\n' | $(VENV)/supply/bin/uv pip compile - --upgrade --universal \
	    --python-version 3.10 --generate-hashes --no-header --no-emit-index-url --quiet \
	    -o $(REQUIREMENTS)/celery-5.3.txt
	@printf 'setuptools>=64\nsetuptools-scm>=10\n' | $(VENV)/supply/bin/uv pip compile - --upgrade --universal \
	    --python-version 3.10 --generate-hashes --no-header --no-emit-index-url --quiet \
	    -o $(REQUIREMENTS)/build.txt
	@for folder in $(APART); do \
	    $(VENV)/supply/bin/uv pip compile $$folder/requirements.in --upgrade --universal \
	        --python-version 3.10 --generate-hashes --no-header --no-emit-index-url --quiet \
	        -o $$folder/requirements.txt || exit; \
	done

clean: ## Remove the virtual environment and all local data
	@rm -rf $(VENV) .local

$(VENV)/made:
	@sh deploy/local/venv.sh $(PYTHON) $(VENV)

$(VENV)/run: $(REQUIREMENTS)/run.txt $(VENV)/made
	@echo 'installing the pinned dependencies into $(VENV)'
	@$(BIN)/python $(INSTALL) -r $<
	@touch $@

$(VENV)/test: $(REQUIREMENTS)/test.txt $(VENV)/run
	@echo 'installing the pinned test dependencies into $(VENV)'
	@$(BIN)/python $(INSTALL) -r $<
	@touch $@

# The oldest Celery whose workers the bridge is tested with, in an environment of its own.
$(VENV)/celery-5.3/made: $(REQUIREMENTS)/celery-5.3.txt $(VENV)/made
	@echo 'installing Celery 5.3 into $(@D)'
	@$(BIN)/python -m venv $(@D)
	@$(@D)/bin/python $(INSTALL) -r $<
	@touch $@

# What pins dependencies, looks at them, and makes releases.
$(VENV)/supply/made: deploy/supply/requirements.txt $(VENV)/made
	@echo 'installing what dependencies are pinned with into $(@D)'
	@$(BIN)/python -m venv $(@D)
	@$(@D)/bin/python $(INSTALL) -r $<
	@touch $@
