"""Runs in, runs out: what was measured is kept in `runs.sqlite` in the data folder.

store = open_store()
store.begin(run)                 # with no variants yet
store.append(run.id, variant)    # as each one is measured: a run that is killed keeps what it measured
store.finish(run)                # with its variants and the choice
store.get("last"), store.list(limit=20)
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.places import data_dir

if TYPE_CHECKING:
    from edgekit.store_sqlite import Store


def open_store(path: Path | None = None) -> Store:
    """Open the store, by default `runs.sqlite` in the data folder; it is made if it is not there.

    Raises:
        SetupError: the file is not a store, is a newer edgekit's, or the disk is full or forbids it.
    """
    # SQLAlchemy takes longer to load than most verbs run: only those that keep or show runs pay for it.
    from edgekit.store_sqlite import Store

    return Store(path or data_dir() / "runs.sqlite")
