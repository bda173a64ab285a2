# `make run` and `make test` need nothing but Python: they make .venv and install what they use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: run reproduce-figures test test-exhaustive search-bits test-launchers test-callbacks test-trackers coverage coverage-tables bench docs packages keys lint types clean
.DELETE_ON_ERROR:

run: $(INSTALLED)  ## train XOR, measure its geometry, draw it, and write its page
	@mkdir -p build
	$(BIN)/nngeom run task=xor > build/run.txt && cat build/run.txt
	@$(BIN)/nngeom report "$$(tail -n 1 build/run.txt)"

reproduce-figures: $(INSTALLED)  ## the paper's figures and claims, into outputs/figures; QUICK=1: in two minutes
	$(BIN)/nngeom reproduce $(if $(QUICK),--quick)

test: $(INSTALLED)  ## the whole suite, slow tests and doctests included
	$(BIN)/pytest -q -n 2 --dist worksteal

test-exhaustive: $(INSTALLED)  ## killed and out of room at every moment, 300 kills, ten thousand hostile files: an hour on two idle cores
	$(BIN)/pytest -q -n 2 --dist worksteal -m exhaustive

search-bits: $(INSTALLED)  ## has a replicate the same bits in 20,000 random settings, under each instruction set? An hour
	for path in ATEN_CPU_CAPABILITY=default ATEN_CPU_CAPABILITY=avx2 ATEN_CPU_CAPABILITY=avx512 \
			MKL_ENABLE_INSTRUCTIONS=SSE4_2 MKL_ENABLE_INSTRUCTIONS=AVX2 MKL_CBWR=COMPATIBLE MKL_CBWR=AUTO,STRICT; do \
		echo $$path; env $$path $(BIN)/pytest -q -n 2 -m exhaustive tests/training/test_bits.py || exit 1; \
	done

test-launchers:  ## sweeps on every launcher, in an environment of its own: Ray's needs an older cloudpickle
	$(PYTHON) -m venv $(VENV)-launchers
	$(VENV)-launchers/bin/pip install --quiet -c constraints.txt -e '.[dev,joblib,slurm,ray]'
	$(VENV)-launchers/bin/pytest -q tests/launch/test_sweep.py

test-callbacks:  ## the Recorder in Lightning and in Hugging Face's Trainer, in an environment of its own
	$(PYTHON) -m venv $(VENV)-callbacks
	$(VENV)-callbacks/bin/pip install --quiet -c constraints.txt -e '.[dev,callbacks]'
	$(VENV)-callbacks/bin/pytest -q tests/recorder/test_callbacks.py

test-trackers:  ## tracker=tensorboard and tracker=mlflow with the real packages, in an environment of its own
	$(PYTHON) -m venv $(VENV)-trackers
	$(VENV)-trackers/bin/pip install --quiet -c constraints.txt -e '.[dev,tensorboard,mlflow]'
	$(VENV)-trackers/bin/pytest -q tests/trackers

coverage: $(INSTALLED)  ## the whole suite, and which lines of nngeom_cli no test reaches, in other processes either
	mkdir -p build/coverage && rm -f build/coverage/data*
	-$(BIN)/coverage run -m pytest -q -n 2 --dist worksteal
	$(BIN)/coverage combine -q
	$(BIN)/coverage report

bench: $(INSTALLED)  ## nngeom beside what a user would write or pick instead: medians and ratios (docs/performance.md)
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/probing.py
	$(BIN)/python benchmarks/commands.py
	$(BIN)/python benchmarks/scale.py
	$(BIN)/python benchmarks/modules.py

coverage-tables: $(INSTALLED)  ## how often each kind of interval holds the truth, by simulation (docs/statistics.md): ten minutes
	$(BIN)/python benchmarks/coverage.py

docs: $(VENV)/.docs  ## the site, into build/site; warnings are errors
	$(BIN)/sphinx-build -q -W --keep-going -d build/doctrees -c docs . build/site
	cp build/site/README.html build/site/index.html
	@echo build/site/index.html

packages:  ## the packages of nngeom_cli, lowest first, each with what it imports (docs/architecture.md)
	@$(PYTHON) docs/packages.py

keys: $(INSTALLED)  ## docs/config.md: every key of a config, its type and range, and what it means
	$(BIN)/python docs/keys.py

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/mypy

$(VENV)/.docs: $(INSTALLED)
	$(BIN)/pip install --quiet -c constraints.txt -e '.[docs]'
	touch $@

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

clean:  ## removes what make and the tools made; outputs/ stays
	rm -rf $(VENV) $(VENV)-launchers $(VENV)-callbacks $(VENV)-trackers build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
