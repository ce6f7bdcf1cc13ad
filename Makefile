# Everything runs in .venv/, which `make setup` builds; PYTHON chooses the interpreter it is built from.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
DEV_STAMP := .venv/.installed-dev
BENCH_STAMP := .venv/.installed-bench
OPENVINO_STAMP := .venv/.installed-openvino
# Of stand-ins that tests build.
COMPILER := $(if $(shell command -v cc),,--group compiler)
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup run test test-openvino test-wheels test-cuda test-page faults lint type check docs bench wheel clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):.*## */  make \1\t/' | expand -t 18

setup: $(DEV_STAMP)  ## build .venv/ with everything the project needs

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "benchbox needs Python 3.11 or newer; choose one with: make PYTHON=/path/to/python3.11 setup" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt --group test $(COMPILER) -e '.[cpu,report]'
	$(BIN)/python -m compileall -q -j 0 -x '/(tests?|testing)/' $$($(BIN)/python -c 'import site; print(site.getsitepackages()[0])')
	@touch $@

$(DEV_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --group dev
	@touch $@

run: $(STAMP)  ## the main job: ShuffleNetV2's second guideline, timed on this CPU
	$(BIN)/benchbox run g2 --device cpu $(ARGS)

test: $(STAMP)  ## all tests, in four processes: many wait for boards and for time
	@$(BIN)/python -m compileall -q -j 0 benchbox tests tools  # once, not by each of hundreds of processes
	$(BIN)/python -m pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

test-openvino: $(OPENVINO_STAMP)  ## tests of the OpenVINO plug-in, which is installed for them (53 MB)
	BENCHBOX_TEST_OPENVINO=required $(BIN)/python -m pytest tests/e2e/test_openvino.py $(ARGS)

$(OPENVINO_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[openvino]'
	@touch $@

test-wheels: $(STAMP)  ## what PyPI's packages of providers bring (downloads 370 MB)
	BENCHBOX_TEST_WHEELS=required $(BIN)/python -m pytest tests/e2e/test_wheels.py $(ARGS)

test-cuda:  ## checks on a real GPU, by $(PYTHON) as it is: no .venv/ is built
	$(PYTHON) -m tools.cuda $(ARGS)

test-page: $(STAMP)  ## the page of a run in a real Chromium (Debian's package), which must be there
	$(BIN)/python -m tools.page $(ARGS)

faults: $(STAMP)  ## a thousand faults by random choices; each that is not held is printed
	$(BIN)/python -m tests.e2e.faults $(ARGS)

lint: $(DEV_STAMP)  ## ruff, rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: $(DEV_STAMP)  ## mypy, strict
	$(BIN)/mypy

check: lint type test  ## lint, type and test

docs: $(STAMP)  ## the generated parts of README and docs: picture, tables, commands
	$(BIN)/python -m tools.docs

bench: $(BENCH_STAMP)  ## what benchbox costs, and how well its figures repeat
	$(BIN)/python -m tools.bench $(ARGS)

$(BENCH_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --group bench
	@touch $@

wheel: $(DEV_STAMP)  ## dist/benchbox-*.whl
	$(BIN)/python -m build --wheel --outdir dist

clean:  ## remove .venv/ and everything built; results stay
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
