# Every target sets up what it needs in $(VENV).
PYTHON ?= python3
VENV ?= .venv
# The version of torch that the tests are run with; on Linux without a GPU, point pip at a CPU build.
TORCH ?= torch==2.13.0
BIN = $(VENV)/bin
EXAMPLE = examples/street.flac

# `make help` lists the targets.
.PHONY: demo help check test fuzz lint format bench docs pictures quality model dist clean

demo: $(VENV)/.runtime ## denoise the example recording
	mkdir -p demo
	$(BIN)/percepnet denoise --force $(EXAMPLE) demo/street-denoised.flac
	@echo "before: $(EXAMPLE)"
	@echo "after:  demo/street-denoised.flac"

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1 - /p' Makefile

# Tests start many processes, which start faster when Python keeps what it has compiled.
unexport PYTHONDONTWRITEBYTECODE
PARALLEL = $(BIN)/python -m pytest -n auto --dist worksteal

check: lint ## check style, types and layers, and run the quick tests: before each commit
	$(PARALLEL) -m 'not slow and not alone and not service and not ffmpeg'

test: $(VENV)/.all lint ## run everything but the tests that take minutes each
	$(PARALLEL) -m 'not slow and not alone'
	$(BIN)/python -m pytest -m 'alone and not slow'

N ?= 100000
SEED ?= 1
fuzz: $(VENV)/.test ## damage files of every kind and read them: make fuzz [N=100000] [SEED=1]
	$(BIN)/python tests/fuzzing.py --number $(N) --seed $(SEED)

lint: $(VENV)/.test ## check style, types and layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.test ## format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# PEERS names a script that runs other denoisers (docs/generate.py says how it is called), to stand beside us.
bench: $(VENV)/.all ## measure the speed on this machine, into docs/benchmarks.md: make bench [PEERS=...]
	$(BIN)/python docs/generate.py benchmarks $(if $(PEERS),--peers $(PEERS))

# PEERS: a folder for each other program with what it makes of examples/, for the listening page (docs/site/samples.py).
docs: $(VENV)/.docs ## renew the tables, build the documentation site into build/site and check its links: make docs [PEERS=...]
	$(BIN)/python docs/generate.py options
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict
	$(BIN)/python docs/site/check.py build/site

pictures: $(VENV)/.docs ## draw the README's picture anew
	$(BIN)/python docs/generate.py pictures

# PAIRS: a folder with noisy/ and clean/; PEERS: a folder of enhanced files for each other program, optional.
quality: $(VENV)/.all ## measure the shipped models on pairs: make quality PAIRS=... [PEERS=...]
	$(BIN)/python tests/quality/model_table.py --pairs $(PAIRS) $(if $(PEERS),--peers $(PEERS))

# The recipe of the first model, from which later ones were fine-tuned (docs/training.md); every step resumes where it was stopped.
SOURCES = --speech $(SPEECH) --noise $(NOISE) $(if $(RIR),--rir $(RIR))
model: $(VENV)/.all ## train a first model: make model SPEECH=... NOISE=... [RIR=...]
	$(BIN)/percepnet train-targets runs/valid $(SOURCES) --hours 0.57 --split validation --seed 1
	$(BIN)/percepnet train-targets runs/train $(SOURCES) --hours 16
	$(BIN)/percepnet train runs/train runs/valid runs/lite --preset lite --batch-size 16 --sequence-length 300 --minutes 90
	$(BIN)/percepnet quantize runs/lite/model.safetensors models/lite.safetensors --audio $(EXAMPLE) --force

dist: $(VENV)/.publish ## build wheel and source archive into dist/, the same bytes each time, with a bill of materials
	$(BIN)/python tests/distribution.py build dist
	$(BIN)/python tests/distribution.py bill dist

clean: ## remove what was built
	rm -rf $(VENV) .numba_cache build dist demo *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.test: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@ $(VENV)/.runtime

$(VENV)/.all: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet '$(TORCH)' --editable '.[test-all]'
	touch $@ $(VENV)/.runtime $(VENV)/.test

$(VENV)/.publish: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[publish]'
	touch $@ $(VENV)/.runtime

$(VENV)/.docs: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@ $(VENV)/.runtime
