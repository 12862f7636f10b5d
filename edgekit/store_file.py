"""A path in, the SQLite file of the store out: its tables made, or brought up to date, or refused in words; no runs are read or written here."""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from edgekit.errors import SetupError
from edgekit.files import disk_errors

SCHEMA_VERSION = 2
"""Kept as SQLite's `user_version`; 2 added `run.search`."""

BUSY_MS = 30_000
"""How long to wait for another edgekit's write, which takes milliseconds: longer means that something hangs."""

tables = sa.MetaData()

runs = sa.Table(
    "run",
    tables,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("started_utc", sa.String, nullable=False),
    sa.Column("finished", sa.Boolean, nullable=False),
    sa.Column("model_path", sa.String, nullable=False),
    sa.Column("model_sha256", sa.String, nullable=False, index=True),
    sa.Column("device_name", sa.String, nullable=False),
    sa.Column("device_address", sa.String, nullable=False),
    sa.Column("emulated", sa.Boolean, nullable=False),
    sa.Column("profile", sa.String),
    sa.Column("chosen_recipe", sa.String),
    sa.Column("chosen_format", sa.String),
    sa.Column("chosen_reason", sa.String),
    sa.Column("search", sa.String),
)

variants = sa.Table(
    "variant",
    tables,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("run_id", sa.ForeignKey("run.id", ondelete="CASCADE"), nullable=False),
    sa.Column("recipe", sa.String, nullable=False),
    sa.Column("format", sa.String, nullable=False),
    sa.Column("status", sa.String, nullable=False),
    sa.Column("artifact_sha256", sa.String, index=True),
    sa.Column("device", sa.String),
    sa.Column("p50_ns", sa.Integer),
    sa.Column("record", sa.JSON, nullable=False),
    sa.UniqueConstraint("run_id", "recipe", "format"),
)

samples = sa.Table(
    "sample",
    tables,
    sa.Column("variant_id", sa.ForeignKey("variant.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("process", sa.Integer, primary_key=True),
    sa.Column("latency_ns", sa.LargeBinary, nullable=False),  # int64, little-endian
)


def engine(path: Path) -> sa.Engine:
    """An engine that opens a connection for each transaction and leaves none open."""
    made = sa.create_engine(f"sqlite:///{path}", poolclass=sa.NullPool, json_serializer=partial(json.dumps, allow_nan=False))

    @sa.event.listens_for(made, "connect")
    def set_up(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver's guess
        connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        connection.execute("PRAGMA foreign_keys = ON")

    @sa.event.listens_for(made, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return made


def create(path: Path) -> None:
    """Make an empty store; if another edgekit makes one at the same moment, the first one stays."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
            aside = Path(folder) / path.name
            with closing(sqlite3.connect(aside)) as plain:
                plain.execute("PRAGMA journal_mode = WAL")  # outside a transaction; the file remembers it
            with database_errors(path), engine(aside).begin() as connection:
                tables.create_all(connection)
                connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")
            try:
                os.link(aside, path)
            except FileExistsError:
                return


def open_engine(path: Path) -> sa.Engine:
    """An engine for the store at `path`, which is made if it is not there, and brought up to date if an older edgekit made it.

    Raises:
        SetupError: the file is not a store, is a newer edgekit's, or the disk is full or forbids it.
    """
    if not path.exists():
        create(path)
    made = engine(path)
    with database_errors(path):
        with made.begin() as connection:
            version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        check_version(path, version)
        if version < SCHEMA_VERSION:
            with made.begin() as connection:
                bring_up_to_date(connection)
    return made


def check_version(path: Path, version: int) -> None:
    if version > SCHEMA_VERSION:
        raise SetupError(
            f"{path} was written by a newer edgekit (its schema is {version}, this one reads {SCHEMA_VERSION}): upgrade edgekit, or set EDGEKIT_DATA_DIR"
        )
    if version < 1:
        raise SetupError(f"{path} is not a store of edgekit: move it away, or set EDGEKIT_DATA_DIR to another folder")


def bring_up_to_date(connection: sa.Connection) -> None:
    """Add what an older edgekit's store lacks; one that another has just brought up to date stays as it is."""
    connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")  # writes first: of several at once, each waits for the one before
    if "search" not in {column["name"] for column in sa.inspect(connection).get_columns("run")}:
        connection.exec_driver_sql("ALTER TABLE run ADD COLUMN search VARCHAR")


@contextmanager
def database_errors(path: Path) -> Iterator[None]:
    """Map what SQLite says to a `SetupError` with the cure."""
    try:
        yield
    except sa.exc.DBAPIError as exc:
        said = str(exc.orig)
        cures = {
            "locked": "another edgekit has been writing to it for too long: end that one and repeat the command",
            "not a database": "move it away, or set EDGEKIT_DATA_DIR to another folder",
            "malformed": "it is damaged: move it away, or set EDGEKIT_DATA_DIR to another folder",
            "full": "free some space and repeat the command",
            "readonly": "allow writing to it, or set EDGEKIT_DATA_DIR to another folder",
            "unable to open": "allow writing to its folder, or set EDGEKIT_DATA_DIR to another one",
        }
        cure = next((text for word, text in cures.items() if word in said), None)
        if cure is None:
            raise
        raise SetupError(f"the store {path} cannot be used ({said}): {cure}") from exc
