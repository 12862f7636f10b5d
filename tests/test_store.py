"""The store: equal runs come back, what was appended outlives a kill, and any number of edgekits may use it."""

from __future__ import annotations

import os
import signal
import sqlite3
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from edgekit.errors import InputError, SetupError
from edgekit.records import Choice, Run
from edgekit.store import open_store
from edgekit.store_sqlite import Store
from tests.lab.runs import broken, run, run_with_files, variant

CHOSEN = Choice("w8a8", "tflite", "the fastest")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "data" / "runs.sqlite")


def keep(store: Store, given: Run) -> None:
    """The way of a real run: begun empty, appended to, finished."""
    store.begin(replace(given, variants=(), chosen=None))
    for one in given.variants:
        store.append(given.id, one)
    store.finish(given)


def test_equal_records_come_back(store: Store, tmp_path: Path) -> None:
    given = run_with_files(tmp_path / "files")
    given = replace(given, variants=(*given.variants, broken("w8", "onnx")))
    keep(store, given)
    assert store.get(given.id) == given
    assert open_store(store.path).get("last") == given


def test_variants_stay_in_the_order_in_which_they_were_appended(store: Store) -> None:
    given = run("a", broken("w8", "coreml"), variant("fp32", "tflite", 4_000_000, 10))
    store.begin(replace(given, variants=()))
    for one in given.variants:
        store.append("a", one)
    store.finish(given)
    assert store.get("a") == given


def test_a_run_that_never_finished_keeps_what_was_appended(store: Store) -> None:
    measured = variant("fp32", "tflite", 4_000_000, 10)
    store.begin(run("a"))
    store.append("a", measured)
    assert store.get("last").variants == (measured,)
    assert not store.list()[0].finished
    assert not store.finished("a")


def test_a_variant_measured_again_replaces_the_earlier_one(store: Store) -> None:
    store.begin(run("a"))
    store.append("a", variant("fp32", "tflite", 4_000_000, 10))
    again = variant("fp32", "tflite", 5_000_000, 10)
    store.append("a", again)
    assert store.get("a").variants == (again,)


def test_raw_samples_are_little_endian_int64(store: Store) -> None:
    store.begin(run("a", variant("fp32", "tflite", 4_000_000, 10)))
    connection = sqlite3.connect(store.path)
    blobs = [row[0] for row in connection.execute("SELECT latency_ns FROM sample ORDER BY process")]
    columns = connection.execute("SELECT run_id, recipe, format, artifact_sha256, device, p50_ns FROM variant").fetchone()
    connection.close()
    assert blobs == [struct.pack("<3q", 4_000_000, 3_999_999, 2**40), struct.pack("<q", 4_000_001)]
    assert columns == ("a", "fp32", "tflite", "fp32-tflite", "local:", 4_000_000)


def test_the_list_shows_the_latest_first_with_its_choice(store: Store) -> None:
    keep(store, run("20261122-010000-aaaa", variant("fp32", "tflite", 4_000_000, 10)))
    keep(store, run("20261122-020000-bbbb", variant("w8a8", "tflite", 1_600_000, 10), broken("w8", "onnx"), chosen=CHOSEN))
    last, first = store.list()
    assert (last.id, last.finished, last.variants, last.ok) == ("20261122-020000-bbbb", True, 2, 1)
    assert (last.recipe, last.format, last.p50_ns, last.chosen) == ("w8a8", "tflite", 1_600_000, True)
    assert (first.recipe, first.format, first.p50_ns, first.chosen) == ("fp32", "tflite", 4_000_000, False)
    assert store.finished(last.id)
    assert [line.id for line in store.list(limit=1)] == [last.id]


def test_of_several_measured_and_none_chosen_the_list_shows_none(store: Store) -> None:
    measured, other = variant("fp32", "tflite", 4_000_000, 10), variant("w8", "tflite", 4_000_000, 10)
    keep(store, run("a", measured, other))
    keep(store, run("b", measured, broken("w8", "onnx")))
    keep(store, run("c", broken("w8", "onnx")))
    assert [(line.recipe, line.p50_ns, line.variants) for line in store.list()] == [(None, None, 1), ("fp32", 4_000_000, 2), (None, None, 2)]


def test_a_run_is_found_by_a_prefix_that_only_it_has(store: Store) -> None:
    for name in ("2026-a", "2026-ab", "2026-b"):
        store.begin(run(name))
    assert store.get("2026-b").id == "2026-b"
    assert store.get("last").id == "2026-b"
    with pytest.raises(InputError, match="begins the ids of several runs: name one of 2026-b, 2026-ab, 2026-a"):
        store.get("2026")
    with pytest.raises(InputError, match="no run '%': see edgekit runs list"):
        store.get("%")


def test_a_whole_id_wins_over_the_ids_that_it_begins(store: Store) -> None:
    for name in ("2026-a", "2026-ab"):
        store.begin(run(name))
    assert store.get("2026-a").id == "2026-a"


def test_the_last_run_is_none_of_a_search(store: Store) -> None:
    trial = replace(run("20261122-3"), search="b9d1f80800000000")
    keep(store, trial)
    with pytest.raises(InputError, match=r"only trials of searches are stored: see edgekit runs list --search b9d1f808$"):
        store.get("last")
    keep(store, run("20261122-2"))
    assert store.get("last").id == "20261122-2"
    assert store.get("20261122-3") == trial


@pytest.mark.parametrize("name", ["b9d1f808", "b9d1f80800000000"])
def test_a_search_is_no_run_and_says_where_its_trials_are(store: Store, name: str) -> None:
    keep(store, replace(run("20261122-3"), search="b9d1f80800000000"))
    with pytest.raises(InputError, match=f"'{name}' is a search, and each of its trials a run: see edgekit runs list --search b9d1f808$"):
        store.get(name)


def test_an_empty_store_says_how_to_fill_it(store: Store) -> None:
    assert store.list() == ()
    with pytest.raises(InputError, match="no run is stored yet"):
        store.get("last")


def test_a_newer_store_is_refused_in_words(store: Store) -> None:
    connection = sqlite3.connect(store.path)
    connection.execute("PRAGMA user_version = 3")
    connection.close()
    with pytest.raises(SetupError, match=r"was written by a newer edgekit \(its schema is 3, this one reads 2\): upgrade edgekit"):
        open_store(store.path)


def test_an_older_store_is_brought_up_to_date_by_whoever_is_first(store: Store) -> None:
    given = run("a", variant("fp32", "tflite", 4_000_000, 10))
    keep(store, given)
    connection = sqlite3.connect(store.path)
    connection.execute("ALTER TABLE run DROP COLUMN search")
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: open_store(store.path).get("a"), range(8)))
    assert found == [given] * 8
    trial = replace(run("b"), search="0123456789abcdef")
    keep(store, trial)
    assert open_store(store.path).get("b") == trial
    connection = sqlite3.connect(store.path)
    assert connection.execute("PRAGMA user_version").fetchone() == (2,)
    connection.close()


def test_a_search_counts_as_one_where_its_latest_trial_stands(store: Store) -> None:
    for name, search in (("1", None), ("2", "0123a"), ("3", None), ("4", "0123b"), ("5", "0123a")):
        keep(store, replace(run(name, variant("fp32", "tflite", 4_000_000, 10)), search=search))
    assert [line.id for line in store.newest()] == ["5", "4", "3", "2", "1"]
    assert [(line.id, line.search) for line in store.newest(2)] == [("5", "0123a"), ("4", "0123b"), ("2", "0123a")]
    assert [line.id for line in store.list(2)] == ["5", "4"]
    assert [line.id for line in store.trials("0123a")] == ["5", "2"]
    with pytest.raises(InputError, match="begins the names of several searches: name one of 0123a, 0123b"):
        store.trials("0123")
    with pytest.raises(InputError, match="no search '_': see edgekit runs list"):
        store.trials("_")


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "is not a store of edgekit"), (b"not a database at all, but long enough to have a header" * 20, "not a database")]
)
def test_another_file_is_refused_and_left_alone(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "runs.sqlite"
    path.write_bytes(content)
    with pytest.raises(SetupError, match=words):
        open_store(path)
    assert path.read_bytes() == content


def test_the_default_place_is_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKIT_DATA_DIR", str(tmp_path / "mine"))
    assert open_store().path == tmp_path / "mine" / "runs.sqlite"
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["runs.sqlite"]


def test_the_journal_is_a_write_ahead_log(store: Store) -> None:
    connection = sqlite3.connect(store.path)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_many_may_open_and_write_a_fresh_store_at_once(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"

    def use(number: int) -> None:
        mine = open_store(path)
        mine.begin(run(f"run-{number}"))
        for _ in range(3):
            mine.append(f"run-{number}", variant("fp32", "tflite", 4_000_000, 10))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(8)))
    assert sorted(line.id for line in open_store(path).list()) == [f"run-{number}" for number in range(8)]


def test_what_was_appended_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    program = (
        "import os, signal, sys; from pathlib import Path; from edgekit.store import open_store; from tests.lab.runs import run, variant\n"
        "store = open_store(Path(sys.argv[1])); store.begin(run('a')); store.append('a', variant('fp32', 'tflite', 4_000_000, 10))\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], check=False, cwd=Path(__file__).parent.parent, env={**os.environ, "PYTHONPATH": "."})
    assert done.returncode == -signal.SIGKILL
    assert open_store(path).get("a").variants == (variant("fp32", "tflite", 4_000_000, 10),)


def test_loading_the_front_does_not_load_sqlalchemy() -> None:
    program = "import sys, edgekit.store; sys.exit('sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, cwd=Path(__file__).parent.parent).returncode == 0
