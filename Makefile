# `make demo` and `make test` do everything on a fresh machine; they need python3 (3.11 to 3.13) and nothing else.
PYTHON ?= python3
BIN := .venv/bin
export ORT_DISABLE_TELEMETRY := 1

.PHONY: demo test test-fast lint soak ops bench matrix clean

$(BIN)/edgekit: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

demo: $(BIN)/edgekit
	$(BIN)/python examples/demo.py

# Real daemons, emulated boards and what measures here want the machine for themselves: they come after all else.
test: $(BIN)/edgekit lint
	$(BIN)/edgekit toolchains install --all
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not lab"
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m lab

test-fast: $(BIN)/edgekit
	$(BIN)/python -m pytest -m "not toolchain and not lab and not slow"

lint: $(BIN)/edgekit
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# In full what `make test` samples: a thousand damaged models, ten thousand damaged answers for each parser, each fault over each way.
soak: $(BIN)/edgekit
	$(BIN)/edgekit toolchains install --all
	EDGEKIT_SOAK=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/test_fuzz.py tests/test_mil.py tests/test_facts.py tests/test_conditions.py tests/test_benchmark_model_told.py tests/test_faults.py tests/test_families.py tests/test_ops.py tests/test_twin.py tests/test_executorch.py
	$(BIN)/python examples/compression/table.py --seeds 3 --out compression
	$(BIN)/python examples/compression/table.py --seeds 3 --unlabelled --out compression

# docs/matrix.md: every source to every format, family by family.
matrix: $(BIN)/edgekit
	$(BIN)/edgekit toolchains install --all
	$(BIN)/python -m tests.lab.families.report

# What becomes of each ONNX operator in each format: edgekit/write/operators/*.json and docs/operators.md.
ops: $(BIN)/edgekit
	$(BIN)/edgekit toolchains install convert
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.lab.operators

bench: $(BIN)/edgekit
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache demo
