# Two commands: `make reproduce` and `make test`. Both make .venv first, once.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: reproduce test setup

reproduce: $(INSTALLED)
	$(BIN)/snakemake --cores

test: $(INSTALLED)
	$(BIN)/pytest

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "WaveStack needs Python 3.11 or newer; call make with PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	$(BIN)/snakemake --cores --version >/dev/null # a bare --cores is understood (src/wavestack/operations/snakemake.py)
	touch $@
