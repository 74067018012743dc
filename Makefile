# Everything a person or CI types. `make` alone lists it.
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
RUN    := $(BIN)/python
export OMP_NUM_THREADS ?= 1
# All cores, one thread each; a file's tests stay together, for what its fixtures build is dear.
UNIT   := -m 'not prove and not gpu' -n auto --dist loadfile --no-loadscope-reorder --durations=15

.PHONY: help setup demo test lint types imports unit seconds prove prove-hostile peers test-paddle26 lock test-gpu benchmarks docs clean

help:  ## list the targets
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup: $(VENV)/.ready  ## make .venv with torch, paddle and the test tools

# pip compiles on one core, one file after the other; tests of other packages never run.
COMPILE := -m compileall -qq -j 0 -x /tests/
ROOMS   := common torch_ref paddle_impl convert export port align commands tools

# A locked file is for one system, machine and Python, and for an index that has its build of torch.
PLACE   = $(shell $(PYTHON) requirements/lock.py --place)
INSTALL := install --quiet --no-compile
EXTRAS  := torch,cpu,onnx,test,docs
EXTRAS_PADDLE26 := torch,cpu,test

# $(call install,environment,locked file,constraints,extras): checked by hashes where there is a lock
define install
	$(PYTHON) -m venv $(1)
	@if $(1)/bin/python requirements/lock.py --fits $(2); then \
	  $(1)/bin/pip $(INSTALL) --no-deps --require-hashes -r $(2) && \
	  $(1)/bin/pip $(INSTALL) --no-deps --no-build-isolation -e . ; \
	else $(1)/bin/pip $(INSTALL) -c $(3) -e '.[$(4)]'; fi
endef

$(VENV)/.ready: pyproject.toml constraints.txt $(wildcard requirements/*.txt)
	$(call install,$(VENV),requirements/$(PLACE).txt,constraints.txt,$(EXTRAS))
	@$(RUN) $(COMPILE) $(VENV)/lib $(ROOMS) || true  # some packages hold templates that do not compile
	@command -v chromedriver >/dev/null || echo "no chromedriver: the tests of report pages will \
	skip; apt-get install chromium chromium-driver brings it"
	@touch $@

demo: setup  ## the main job on STDC: convert, align, train (FAST=1: one minute)
	$(RUN) tools/reproduce.py configs/stdc1_toy.yml $(if $(FAST),--fast)

test: setup  ## what CI runs
	$(MAKE) --jobs=2 --output-sync FAST=1 lint types imports demo
	$(MAKE) unit

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

imports: setup
	$(BIN)/lint-imports

unit: setup
	$(BIN)/pytest $(UNIT)

seconds: setup  ## what each folder of tests costs, into docs/proof/tests.md
	$(BIN)/pytest $(UNIT) --seconds=docs/proof/tests.md

prove: setup  ## many seeds, faults and kills, benchmarks, every README command (2 hours at most)
	$(RUN) docs/proof/prove.py

peers: setup  ## PaDiff, reprod_log, X2Paddle, PaConvert on the same nets, into both READMEs
	$(RUN) benchmarks/peers.py && $(RUN) docs/write_tables.py

prove-hostile: setup  ## the corpus of hostile files, all of it (half an hour)
	$(BIN)/pytest tests/hostile tests/convert/test_lies.py tests/convert/formats/test_hostile.py

test-paddle26: .venv-paddle26/.ready  ## the core tests on Paddle 2.6.2, the GPU build of the index
	.venv-paddle26/bin/pytest $(UNIT)

.venv-paddle26/.ready: pyproject.toml constraints-paddle26.txt $(wildcard requirements/*.txt)
	$(call install,.venv-paddle26,requirements/$(PLACE)-paddle26.txt,constraints-paddle26.txt,$(EXTRAS_PADDLE26))
	@.venv-paddle26/bin/python $(COMPILE) .venv-paddle26/lib $(ROOMS) || true
	@touch $@

lock: setup  ## the locked files of requirements/, for this Python and platform
	$(RUN) requirements/lock.py

test-gpu: setup  ## convert, align, train and AMP on GPUs, a table for docs/proof (else skips, says why)
	$(BIN)/pytest -m gpu -rs

docs: setup  ## the documentation into site/ (a warning is an error)
	$(BIN)/mkdocs build --strict

clean:  ## remove environments and what runs wrote
	rm -rf $(VENV) .venv-paddle26 runs site
