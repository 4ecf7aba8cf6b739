PYTHON ?= python3
BIN := .venv/bin
# Many processes start here: none should compile again what another one has compiled.
unexport PYTHONDONTWRITEBYTECODE
RUN := OMP_NUM_THREADS=1 $(BIN)/python

SCALED := $(filter scaled,$(MODE))

.PHONY: demo up local test chaos lint bench models clean

# make demo [PHOTOS=folder of one folder per person] [MODE=scaled: every service twice, over real servers]
demo: .venv/$(if $(SCALED),local,demo).ready    ## recognise people in real photos
	$(RUN) $(if $(SCALED),-m deploy.local -- $(BIN)/python) -m mien demo $(if $(PHOTOS),--photos "$(PHOTOS)")

up: .venv/run.ready           ## run the whole suite in one process
	$(RUN) -m mien up

local: .venv/local.ready      ## run the scaled-out suite on this machine, with its servers and without Docker
	$(RUN) -m deploy.local --port 5000

models: .venv/run.ready       ## what can be estimated, and by which model
	$(RUN) -m mien models

test: .venv/test.ready        ## everything that can be tested here; what is skipped is listed with its reason
	$(RUN) -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

chaos: .venv/local.ready      ## kill and starve the scaled-out suite for ten minutes and count what was lost: none
	$(RUN) -m deploy.chaos $(ARGS)

lint: .venv/test.ready        ## style and types
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/pyright --pythonpath $(BIN)/python

bench: .venv/test.ready       ## every figure of docs/benchmarks.md
	$(RUN) -m bench.inference && $(RUN) -m bench.suite && $(RUN) -m bench.matcher
	$(RUN) -m bench.events && $(RUN) -m bench.bus && $(RUN) -m bench.scaled

.venv/%.ready: pyproject.toml constraints.txt deploy/setup.py
	$(PYTHON) deploy/setup.py $*

clean:
	rm -rf .venv build dist .pytest_cache .ruff_cache
