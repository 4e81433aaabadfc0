# `make demo` opens the dashboard on the bundled studies, `make test` checks everything, `make audit` asks for
# known vulnerabilities of what is installed (it needs the internet). They make the environment in .venv first; neither needs more than Python 3.11 and make.

PYTHON ?= python3
PORT ?= 8501
STUDIES ?= data_samples/studies
BIN := .venv/bin

.PHONY: demo test audit environment test-environment lint check-python clean

demo: environment
	@echo "Opening the dashboard on $(STUDIES): http://127.0.0.1:$(PORT) (Ctrl-C stops it)"
	@if [ -n "$$DISPLAY$$WAYLAND_DISPLAY" ] || [ "$$(uname)" = Darwin ]; then \
		(sleep 4; $(BIN)/python -m webbrowser "http://127.0.0.1:$(PORT)" >/dev/null 2>&1) & fi; \
	$(BIN)/streamlit run dashboard/app.py --server.port $(PORT) -- --studies $(STUDIES)

test: test-environment lint
	@echo "Running the tests …"
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile --durations=15

lint: test-environment
	@echo "Checking style (ruff) and types (mypy) …"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

audit: | .venv/bin/python
	@$(PYTHON) -m venv .venv/audit
	@.venv/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	@.venv/audit/bin/pip-audit --strict --no-deps --disable-pip -r requirements.txt -r constraints.txt

environment: .venv/.installed
test-environment: .venv/.installed-dev

check-python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.11"; exit 1; }

.venv/bin/python: | check-python
	@echo "Making the environment in .venv …"
	@$(PYTHON) -m venv .venv

.venv/.installed: requirements.txt constraints.txt | .venv/bin/python
	@echo "Installing requirements.txt (a few minutes the first time) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

.venv/.installed-dev: requirements.txt requirements-dev.txt constraints.txt | .venv/bin/python
	@echo "Installing requirements-dev.txt (a few minutes the first time) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch .venv/.installed $@

clean:
	rm -rf .venv
