# Two commands: `make reproduce` and `make test`. Both make .venv first, once. And a Slurm of one node for tests: as root, on Debian.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: reproduce test nightly setup slurm-up slurm-test slurm-down

reproduce: $(INSTALLED)
	$(BIN)/snakemake --cores

test: $(INSTALLED)
	$(BIN)/pytest --numprocesses 2 --dist worksteal

nightly: $(INSTALLED) # the slow tests alone
	$(BIN)/pytest --numprocesses 2 --dist worksteal -m nightly

setup: $(INSTALLED)

slurm-up:
	tests/slurm/up.sh

slurm-test: $(INSTALLED) # nightly ones too
	$(BIN)/pytest -m "nightly or not nightly" tests/faults/test_slurm.py

slurm-down:
	tests/slurm/down.sh

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "WaveStack needs Python 3.11 or newer; call make with PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	$(BIN)/snakemake --cores --version >/dev/null # a bare --cores is understood (src/wavestack/operations/snakemake.py)
	touch $@
