# Everything a newcomer types; each target installs what it needs first.
PYTHON ?= python3
RUN := .venv/bin/

.PHONY: install demo test check report lock clean

install: .venv/installed

.venv/installed: requirements.lock pyproject.toml
	@echo "Installing the pinned packages into .venv; this takes some minutes, once, and about 6 GB."
	$(PYTHON) -m venv .venv
	$(RUN)python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements.lock
	$(RUN)python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

demo: install
	$(RUN)suite demo

test: install
	$(RUN)python -m pytest --numprocesses auto --maxprocesses 4

check: install
	$(RUN)ruff check .
	$(RUN)ruff format --check .
	$(RUN)mypy

report: install
	$(RUN)suite report

lock:
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet --disable-pip-version-check uv
	.venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --all-extras \
	  --override requirements.override --output-file requirements.lock pyproject.toml
	rm -rf .venv-lock

clean:
	rm -rf .venv .suite
