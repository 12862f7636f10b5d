"""A SQLite file in, runs in and out: the tables of the store, through SQLAlchemy.

Each call is one transaction of its own connection, so any number of edgekits may use one store at a time, and nothing
that was appended is lost when one is killed.
"""

from __future__ import annotations

import json
import os
import sqlite3
import struct
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Self

import sqlalchemy as sa

from edgekit.errors import InputError, SetupError
from edgekit.files import disk_errors
from edgekit.records import Choice, Run, Summary, Variant
from edgekit.records_json import from_json, to_json

SCHEMA_VERSION = 1
"""Kept as SQLite's `user_version`."""

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


class Store:
    """The runs in one SQLite file. Every call raises `SetupError` where the file or its disk fails."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            create(path)
        self._engine = engine(path)
        with self._transaction() as connection:
            check_version(path, connection.exec_driver_sql("PRAGMA user_version").scalar_one())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        """Nothing to do: no connection outlives its transaction."""

    def begin(self, run: Run) -> None:
        """Note that a run has started, with the variants that it already has."""
        with self._transaction() as connection:
            connection.execute(runs.insert().values(run_row(run, finished=False)))
            put(connection, run.id, run.variants)

    def append(self, run_id: str, variant: Variant) -> None:
        """Keep one variant; an earlier one of the same run, recipe and format is replaced."""
        with self._transaction() as connection:
            put(connection, run_id, [variant])

    def finish(self, run: Run, *, whole: bool = True) -> None:
        """Note that a run is over, and the choice; its variants have been appended. One that is not `whole` can be taken up again."""
        with self._transaction() as connection:
            connection.execute(runs.update().where(runs.c.id == run.id).values(run_row(run, finished=whole)))

    def cut_off(self, model_sha256: str, device_address: str, since_utc: str, before: str) -> Run | None:
        """The last run of a model on a device before another, if it was not finished and did not begin before `since_utc`."""
        mine = sa.and_(runs.c.model_sha256 == model_sha256, runs.c.device_address == device_address, runs.c.started_utc >= since_utc, runs.c.id < before)
        with self._transaction() as connection:
            row = connection.execute(sa.select(runs).where(mine).order_by(runs.c.id.desc()).limit(1)).mappings().first()
            return None if row is None or row["finished"] else run_record(row, read_variants(connection, row["id"]))

    def get(self, name: str) -> Run:
        """The run whose id is or begins with `name`, or, for `last`, the one that started last.

        Raises:
            InputError: there is no such run, or more than one.
        """
        found = sa.select(runs).order_by((runs.c.id == name).desc(), runs.c.id.desc())
        found = found.limit(1) if name == "last" else found.where(runs.c.id.startswith(name, autoescape=True)).limit(5)
        with self._transaction() as connection:
            rows = connection.execute(found).mappings().all()
            if not rows:
                raise InputError("no run is stored yet: make one with edgekit deploy" if name == "last" else f"no run '{name}': see edgekit runs list")
            if len(rows) > 1 and rows[0]["id"] != name:
                raise InputError(f"'{name}' begins the ids of several runs: name one of {', '.join(row['id'] for row in rows)}")
            return run_record(rows[0], read_variants(connection, rows[0]["id"]))

    def list(self, limit: int = 20) -> tuple[Summary, ...]:
        """The last runs, the latest first."""
        mine = sa.select(sa.func.count()).where(variants.c.run_id == runs.c.id)
        measured = sa.select(sa.func.min(variants.c.id)).where(variants.c.run_id == runs.c.id, variants.c.p50_ns.is_not(None)).group_by(variants.c.run_id)
        only = measured.having(sa.func.count() == 1).scalar_subquery()
        told = variants.alias()  # the chosen variant; where none was chosen, the only one that was measured, as in a bench of one file
        is_chosen = sa.and_(told.c.recipe == runs.c.chosen_recipe, told.c.format == runs.c.chosen_format)
        is_told = sa.or_(is_chosen, sa.and_(runs.c.chosen_recipe.is_(None), told.c.id == only))
        query = (
            sa.select(
                *runs.c["id", "started_utc", "finished", "model_path", "device_name", "device_address", "emulated", "profile"],
                mine.scalar_subquery().label("variants"),
                mine.where(variants.c.status == "ok").scalar_subquery().label("ok"),
                *told.c["recipe", "format", "p50_ns"],
                runs.c.chosen_recipe.is_not(None).label("chosen"),
            )
            .outerjoin_from(runs, told, sa.and_(told.c.run_id == runs.c.id, is_told))
            .order_by(runs.c.id.desc())
            .limit(limit)
        )
        with self._transaction() as connection:
            return tuple(Summary(**row) for row in connection.execute(query).mappings())

    def finished(self, run_id: str) -> bool:
        """Whether a run is over: one that is not still goes on, or was cut off."""
        with self._transaction() as connection:
            return bool(connection.execute(sa.select(runs.c.finished).where(runs.c.id == run_id)).scalar_one())

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        with database_errors(self.path), self._engine.begin() as connection:
            yield connection


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


def check_version(path: Path, version: int) -> None:
    if version > SCHEMA_VERSION:
        raise SetupError(
            f"{path} was written by a newer edgekit (its schema is {version}, this one reads {SCHEMA_VERSION}): upgrade edgekit, or set EDGEKIT_DATA_DIR"
        )
    if version < SCHEMA_VERSION:
        raise SetupError(f"{path} is not a store of edgekit: move it away, or set EDGEKIT_DATA_DIR to another folder")


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


def run_row(run: Run, *, finished: bool) -> dict[str, object]:
    """A run as its row, without its variants."""
    chosen = run.chosen
    return {
        "id": run.id,
        "started_utc": run.started_utc,
        "finished": finished,
        "model_path": run.model_path,
        "model_sha256": run.model_sha256,
        "device_name": run.device_name,
        "device_address": run.device_address,
        "emulated": run.emulated,
        "profile": run.profile,
        "chosen_recipe": chosen.recipe if chosen else None,
        "chosen_format": chosen.format if chosen else None,
        "chosen_reason": chosen.reason if chosen else None,
    }


def run_record(row: sa.RowMapping, variants_of_run: tuple[Variant, ...]) -> Run:
    """A run from its row."""
    same = {name: row[name] for name in ("id", "started_utc", "model_path", "model_sha256", "device_name", "device_address", "emulated", "profile")}
    chosen = Choice(row["chosen_recipe"], row["chosen_format"], row["chosen_reason"]) if row["chosen_recipe"] else None
    return Run(**same, variants=variants_of_run, chosen=chosen)


def put(connection: sa.Connection, run_id: str, given: Iterable[Variant]) -> None:
    """Insert variants and their raw samples after those that are there; earlier ones of the same recipe and format go."""
    for variant in given:
        measurement = variant.measurement
        without_samples = replace(variant, measurement=replace(measurement, samples_ns=())) if measurement else variant
        record = to_json(without_samples)
        same = sa.and_(variants.c.run_id == run_id, variants.c.recipe == variant.recipe, variants.c.format == variant.format)
        place = connection.execute(variants.delete().where(same).returning(variants.c.id)).scalar()  # writes first: a reader cannot become a writer
        added = variants.insert().values(
            **({} if place is None else {"id": place}),  # it keeps its place among the run's variants
            run_id=run_id,
            recipe=variant.recipe,
            format=variant.format,
            status=variant.status,
            artifact_sha256=variant.artifact.sha256 if variant.artifact else None,
            device=measurement.device if measurement else None,
            p50_ns=measurement.latency.p50_ns if measurement and measurement.latency else None,
            record=record,
        )
        variant_id = connection.execute(added.returning(variants.c.id)).scalar_one()
        for process, latencies in enumerate(measurement.samples_ns if measurement else ()):
            blob = struct.pack(f"<{len(latencies)}q", *latencies)
            connection.execute(samples.insert().values(variant_id=variant_id, process=process, latency_ns=blob))


def read_variants(connection: sa.Connection, run_id: str) -> tuple[Variant, ...]:
    """A run's variants in the order in which they were put, each with its raw samples."""
    found = []
    for row in connection.execute(sa.select(variants).where(variants.c.run_id == run_id).order_by(variants.c.id)):
        record = row.record
        if record["measurement"] is not None:
            blobs = connection.execute(sa.select(samples.c.latency_ns).where(samples.c.variant_id == row.id).order_by(samples.c.process)).scalars()
            record["measurement"]["samples_ns"] = [list(struct.unpack(f"<{len(blob) // 8}q", blob)) for blob in blobs]
        found.append(from_json(Variant, record))
    return tuple(found)
