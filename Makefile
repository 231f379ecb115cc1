# The two commands of a newcomer are `make demo` and `make test`; both install into .venv first.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
OUT ?= outputs/demo
INSTALLED := $(VENV)/.installed
# Recipes see the virtual environment first, whatever is activated around make.
export PATH := $(abspath $(VENV))/bin:$(PATH)

# Minutes of `make fuzz` for each target.
MINUTES ?= 5
# Tools that look at the environment are not in it.
AUDIT := $(VENV)-audit

.PHONY: demo test chaos lint format bench fuzz sbom audit ui install clean

demo: $(INSTALLED)
	infra/demo.sh $(OUT)

test: $(INSTALLED)
	python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 20

chaos: $(INSTALLED) # ARGS='--minutes 5 --seed 1' for a shorter one
	python -m tests.chaos $(ARGS)

lint: $(INSTALLED)
	ruff check .
	ruff format --check .
	mypy

format: $(INSTALLED)
	ruff check --fix .
	ruff format .

bench: $(INSTALLED) # then: python infra/figures.py
	@mkdir -p outputs/bench; for file in $$(grep -l 'finish()' tests/benchmarks/*.py); do \
	    echo "== $$file"; python "$$file" --json "outputs/bench/$$(basename "$$file" .py).json" $(ARGS) || exit 1; done

fuzz: $(INSTALLED)
	python -m tests.fuzz.run --minutes $(MINUTES) $(ARGS)

sbom: $(INSTALLED) $(AUDIT)/.installed
	mkdir -p outputs
	$(AUDIT)/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
	    --output-file outputs/sbom.json $(VENV)/bin/python

# Asks a database of vulnerabilities on the internet.
audit: sbom
	$(AUDIT)/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip --progress-spinner off

ui: $(INSTALLED)
	fourreal ui

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
	    || { echo "fourreal needs Python 3.11: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

$(AUDIT)/.installed: constraints.txt
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/pip install --quiet --constraint constraints.txt pip-audit cyclonedx-bom
	@touch $@

clean:
	rm -rf $(VENV) $(AUDIT) outputs
