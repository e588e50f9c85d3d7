# Everything from Python and make alone; the environment goes into .venv.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

.PHONY: run test check docs bench lock clean

run: $(READY)
	@$(BIN)/nanproof run data/weather/job.toml
	@$(BIN)/python data/weather/contrast.py data/weather/out

test: $(READY)
	$(BIN)/python -m pytest -q -n 2 -m "not slow" tests

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -n 2 -m "not slow" --doctest-modules pipeline tests

# The settings' own descriptions, as a page and as a JSON Schema for editors; the manifest's.
docs: $(READY)
	$(BIN)/python docs/job.py
	$(BIN)/python docs/manifest.py

bench: $(READY)
	$(BIN)/python benchmarks/whole_job.py
	$(BIN)/python benchmarks/shards.py
	$(BIN)/python benchmarks/validate.py
	$(BIN)/python benchmarks/check_start.py

# pip checks every file that it installs against the lock.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "nanproof needs Python 3.11 to 3.13: make PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $(READY)

# Needs uv. The lock names no index: pip takes its own.
lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --all-extras --group dev \
		--no-annotate --custom-compile-command "make lock" pyproject.toml -o requirements.lock

clean:
	rm -rf .venv data/*/out
