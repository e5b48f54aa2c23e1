# HPC AI Bench. `make demo` trains, checks and scores; `make review` is enough to check and score; each sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# On Linux, PyPI's torch brings CUDA along. A laptop wants the CPU build, from PyTorch's own index:
#   make demo PIP_ARGS='--extra-index-url https://download.pytorch.org/whl/cpu'
PIP_ARGS ?=
EXTRAS ?= test
# make venv SYSTEM_TORCH=1 keeps the PyTorch of a site's module or of a vendor's image, and all packages beside it.
SYSTEM_TORCH ?=
CONSTRAINTS := $(if $(SYSTEM_TORCH),$(VENV)/constraints.txt,constraints.txt)
INSTALL = $(BIN)/pip install --quiet --disable-pip-version-check $(PIP_ARGS) --constraint $(CONSTRAINTS)
DEMO := output/demo
NUMERIC_TESTS := $(addprefix tests/,cosmoflow/test_model.py imagenet_resnet/test_model.py deepcam/test_loss.py \
    harness/optim harness/test_operator_check.py)

.PHONY: help venv review demo test test-slow test-numerics lint site bench clean
.DELETE_ON_ERROR:

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

venv: $(VENV)/installed ## .venv with everything that training, checking and scoring need

review: $(VENV)/installed-review ## .venv with the checker alone: no PyTorch

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is older than 3.11; name a newer one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(if $(SYSTEM_TORCH),--system-site-packages) $(VENV)

$(VENV)/constraints.txt: constraints.txt | $(BIN)/python
	grep -v '^torch==' $< > $@

$(VENV)/installed-review: setup.cfg $(CONSTRAINTS) | $(BIN)/python
	$(INSTALL) --editable .
	@touch $@

$(VENV)/installed: setup.cfg $(CONSTRAINTS) | $(BIN)/python
	$(INSTALL) --editable '.[train]'
	@touch $@

$(VENV)/installed-test: setup.cfg $(CONSTRAINTS) | $(BIN)/python
	$(INSTALL) --editable '.[$(EXTRAS)]'
	@touch $@

$(VENV)/installed-docs: setup.cfg $(CONSTRAINTS) | $(BIN)/python
	$(INSTALL) --editable '.[docs]'
	@touch $@

demo: venv ## simulate universes, train CosmoFlow from ten seeds, check, score, report: under 6 minutes on 2 cores
	rm -rf $(DEMO)
	$(BIN)/python -m cosmoflow.synthesize $(DEMO)/data --train 256 --validation 256
	$(BIN)/python -m harness.campaign cosmoflow/configs/demo --runs 10 --data $(DEMO)/data --output $(DEMO)/submission
	$(BIN)/python -m compliance check $(DEMO)/submission
	$(BIN)/python -m compliance score $(DEMO)/submission
	$(BIN)/python -m compliance report $(DEMO)/submission --output $(DEMO)/report.html

test: $(VENV)/installed-test ## the tests, without the slow ones
	$(BIN)/python -m pytest -m "not slow"

test-slow: $(VENV)/installed-test ## the slow tests
	$(BIN)/python -m pytest -m slow

test-numerics: $(VENV)/installed-test ## numeric tests with the vector instructions of older processors
	for isa in AVX2 AVX512_CORE; do \
	  ONEDNN_MAX_CPU_ISA=$$isa $(BIN)/python -m pytest -m "not slow" $(NUMERIC_TESTS) || exit 1; done

lint: $(VENV)/installed-test ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

site: $(VENV)/installed-docs ## the documents as a web site, in output/site
	$(BIN)/python -m sphinx -q -W --keep-going -c docs/site -d output/site-trees . output/site

bench: $(VENV)/installed-test ## measure against named peers in one run; writes docs/performance.md
	$(BIN)/python -m perf

clean: ## what the targets above made
	rm -rf $(VENV) output build *.egg-info .pytest_cache .hypothesis .ruff_cache
