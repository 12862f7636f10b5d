"""The shape of the house: imports run one way, the command line starts light, public names are where they are said to be."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import edgekit
from edgekit.toolchains.catalog import toolchain

PACKAGE = Path(edgekit.__file__).parent

# A module may import from what stands before it, from its own folder, and from the folder that holds that one.
ORDER = [
    "errors", "units", "records_model", "records_compression", "records", "records_json", "nearest", "places", "files", "deflate", "hub", "compress",
    "recipe_rules", "recipe", "advice", "allocation", "profile", "lab_file", "facts", "transport", "attached", "device", "toolchains", "read", "model",
    "read/from_torch", "samples", "baseline", "write", "verify", "statistics", "protocol", "agent", "deliver", "hold", "lock", "held", "runtime", "conditions",
    "ask", "settings", "lab", "native", "tflite_order", "benchmark_model_told", "benchmark_model", "runners", "workbench", "measurement", "measure", "doctor",
    "decide", "store_file", "store_sqlite", "store", "release", "verbs", "cli",
]  # fmt: skip

STEPS = ("edgekit.errors", "edgekit.lab.packages", "edgekit.toolchains.native.after_install")
"""What the last step of an installation may import too: all that these import is Python's own."""


def lent(own: str) -> list[str]:
    """What the workers of a toolchain may import of others, as it declares itself: their results are then made anew when that changes."""
    return ["edgekit.toolchains." + name.removesuffix(".py").replace("/", ".") for name in toolchain(own.rpartition(".")[2]).description.borrows]


def place(module: str) -> int:
    """`edgekit.hub.parity` → the place of `hub` in the order; a file named itself goes before its folder."""
    parts = module.split(".")[1:]
    name = "/".join(parts)
    return ORDER.index(name) if name in ORDER else ORDER.index(parts[0])


def modules() -> dict[str, Path]:
    files = [path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"]
    return {"edgekit." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in files}


def is_worker(module: str) -> bool:
    """`edgekit.toolchains.convert.verify` runs in a toolchain; `edgekit.toolchains.jobs` runs here."""
    return module.startswith("edgekit.toolchains.") and module.count(".") > 2


def imported(path: Path) -> set[str]:
    """The modules of edgekit that a file imports at run time, anywhere in it."""
    tree = ast.parse(path.read_text())
    typing_only = {id(n) for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test) for n in ast.walk(node)}
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("edgekit"):
            module = node.module or ""
            names = {f"{module}.{alias.name}" for alias in node.names}
            found |= {name for name in names if name in modules()} or ({module} if module != "edgekit" else set())
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("edgekit.")}
    return found


@pytest.mark.parametrize("module", sorted(modules()))
def test_imports_run_one_way(module: str) -> None:
    folder = module.rpartition(".")[0]
    for other in imported(modules()[module]):
        same_folder = folder in (other, other.rpartition(".")[0]) and folder != "edgekit"
        if is_worker(module):
            own = ".".join(module.split(".")[:3])
            allowed = other.startswith(("edgekit.hub", "edgekit.compress", own + ".", *lent(own))) or (module.endswith(".after_install") and other in STEPS)
            assert allowed, f"{module} runs in a toolchain and may import edgekit.hub, edgekit.compress and its own folder only, not {other}"
        elif not same_folder and not folder.startswith(other.rpartition(".")[0].removesuffix("edgekit") + "."):
            assert place(other) < place(module), f"{module} imports {other}, which stands after it"


def test_targets_import_nothing_of_edgekit() -> None:
    for path in (PACKAGE.parent / "targets").rglob("*.py"):
        assert imported(path) == set(), path


def test_help_loads_nothing_heavy() -> None:
    program = """
import json, sys
sys.argv = ["edgekit", "--help"]
from edgekit.cli import main
try:
    main()
except SystemExit:
    print(json.dumps(sorted(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    heavy = {"numpy", "onnx", "paramiko", "pydantic", "rich", "sqlalchemy", "torch", "tensorflow", "uv", "platformdirs", "edgekit.store"}
    assert loaded & heavy == set()
    assert "deploy" in done.stdout


def test_public_names_are_sorted_and_importable() -> None:
    assert edgekit.__all__ == sorted(edgekit.__all__)
    for name in edgekit.__all__:
        assert getattr(edgekit, name).__name__ == name


def test_files_stay_short() -> None:
    long = {str(path.relative_to(PACKAGE)): n for path in PACKAGE.rglob("*.py") if (n := len(path.read_text().splitlines())) > 300}
    assert long == {}
