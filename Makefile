# make book: the environment, the data, the chapters and the rendered book. README.md has the rest.

SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
CANDIDATES := python3 python3.13 python3.12 python3.11
PYTHON ?= $(firstword $(foreach name,$(CANDIDATES),$(shell $(name) -c "$(SUPPORTED)" 2>/dev/null && echo $(name))))
BIN := .venv/bin

# Given on the command line or in the environment, these reach the chapters; left out, the profile
# decides.
OPTIONS := \
  $(if $(PROFILE),--profile "$(PROFILE)") \
  $(if $(DATASET),--dataset "$(DATASET)") \
  $(if $(DATA_ROOT),--data-root "$(DATA_ROOT)") \
  $(if $(RESULTS),--results "$(RESULTS)") \
  $(if $(DEVICE),--device "$(DEVICE)") \
  $(if $(SCHEDULER),--scheduler "$(SCHEDULER)") \
  $(if $(SEEDS),--seeds "$(SEEDS)") \
  $(if $(DESIGN),--design "$(DESIGN)") \
  $(if $(PROTOCOL),--protocol "$(PROTOCOL)") \
  $(if $(BACKBONE),--backbone "$(BACKBONE)") \
  $(if $(DETERMINISTIC),--deterministic) \
  $(if $(KERNEL),--kernel "$(KERNEL)")

.PHONY: book test e2e lab check-results clean

book: .venv/installed
	$(BIN)/paincore book $(OPTIONS)

test: .venv/installed
	$(BIN)/python -m pytest

e2e: book
	$(BIN)/python -m pytest tests/e2e -o addopts=

lab: .venv/installed
	$(BIN)/python -m ipykernel install --sys-prefix --name paincore --display-name paincore
	$(BIN)/jupyter lab notebooks

check-results: .venv/installed
	$(BIN)/python tools/check_results.py

# Data, results and the environment stay: they are costly to make again.
clean:
	rm -rf book/_build book/chapters book/assets/vendor .pytest_cache .ruff_cache .hypothesis

.venv/installed: requirements.txt pyproject.toml
	@$(if $(PYTHON),,echo "No Python 3.11, 3.12 or 3.13 found. Install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1)
	@"$(PYTHON)" -c "$(SUPPORTED)" || { echo "$(PYTHON) is $$("$(PYTHON)" --version 2>&1); this book needs Python 3.11, 3.12 or 3.13." >&2; exit 1; }
	@echo "Installing the environment into .venv: about 3 GB and four minutes."
	"$(PYTHON)" -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@
