# The two commands of a newcomer are `make demo` and `make test`; both install into .venv first.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
OUT ?= outputs/demo
INSTALLED := $(VENV)/.installed
# Recipes see the virtual environment first, whatever is activated around make.
export PATH := $(abspath $(VENV))/bin:$(PATH)

.PHONY: demo test chaos lint format bench ui install clean

demo: $(INSTALLED)
	infra/demo.sh $(OUT)

test: $(INSTALLED)
	python -m pytest -m 'not ray' -n 2 --dist loadfile
	python -m pytest -m ray # one after the other: two Rays at once are more than two cores bear

chaos: $(INSTALLED) # ARGS='--minutes 5 --seed 1' for a shorter one
	python -m tests.chaos $(ARGS)

lint: $(INSTALLED)
	ruff check .
	ruff format --check .
	mypy

format: $(INSTALLED)
	ruff check --fix .
	ruff format .

bench: $(INSTALLED)
	@for file in tests/benchmarks/[a-z]*.py; do echo "== $$file"; python "$$file" $(ARGS) || exit 1; done

ui: $(INSTALLED)
	fourreal ui

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
	    || { echo "fourreal needs Python 3.11: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) outputs
