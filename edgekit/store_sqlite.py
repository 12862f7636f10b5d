"""A SQLite file in, runs in and out: the rows of the store, through SQLAlchemy.

Each call is one transaction of its own connection, so any number of edgekits may use one store at a time, and nothing
that was appended is lost when one is killed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Self

import sqlalchemy as sa

from edgekit.errors import InputError
from edgekit.records import SEARCH_NAMED, Choice, Run, Summary, Variant
from edgekit.records_json import from_json, to_json
from edgekit.store_file import database_errors, open_engine, runs, samples, variants


class Store:
    """The runs in one SQLite file. Every call raises `SetupError` where the file or its disk fails."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._engine = open_engine(path)

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
        """The run whose id is or begins with `name`, or, for `last`, the one that started last and is no trial of a search.

        Raises:
            InputError: there is no such run, or more than one, or it is a search.
        """
        found = sa.select(runs).order_by((runs.c.id == name).desc(), runs.c.id.desc())
        found = found.where(runs.c.search.is_(None)).limit(1) if name == "last" else found.where(runs.c.id.startswith(name, autoescape=True)).limit(5)
        with self._transaction() as connection:
            rows = connection.execute(found).mappings().all()
            if not rows:
                raise InputError(why_no_run(connection, name))
            if len(rows) > 1 and rows[0]["id"] != name:
                raise InputError(f"'{name}' begins the ids of several runs: name one of {', '.join(row['id'] for row in rows)}")
            return run_record(rows[0], read_variants(connection, rows[0]["id"]))

    def list(self, limit: int = 20) -> tuple[Summary, ...]:
        """The last runs, the latest first."""
        return self._summaries(runs.c.id.in_(sa.select(runs.c.id).order_by(runs.c.id.desc()).limit(limit)))

    def newest(self, limit: int = 20) -> tuple[Summary, ...]:
        """The last runs, the latest first, where a search with all its trials counts as one."""
        one = sa.func.coalesce(runs.c.search, runs.c.id)
        return self._summaries(one.in_(sa.select(one).group_by(one).order_by(sa.func.max(runs.c.id).desc()).limit(limit)))

    def trials(self, search: str) -> tuple[Summary, ...]:
        """All of a search, whose name is or begins with `search`, the latest first.

        Raises:
            InputError: there is no such search, or more than one.
        """
        found = self._summaries(runs.c.search.startswith(search, autoescape=True))
        names = sorted({run.search for run in found if run.search})
        if not names:
            raise InputError(f"no search '{search}': see edgekit runs list")
        if len(names) > 1:
            raise InputError(f"'{search}' begins the names of several searches: name one of {', '.join(names)}")
        return found

    def _summaries(self, which: sa.ColumnElement[bool]) -> tuple[Summary, ...]:
        mine = sa.select(sa.func.count()).where(variants.c.run_id == runs.c.id)
        measured = sa.select(sa.func.min(variants.c.id)).where(variants.c.run_id == runs.c.id, variants.c.p50_ns.is_not(None)).group_by(variants.c.run_id)
        only = measured.having(sa.func.count() == 1).scalar_subquery()
        told = variants.alias()  # the chosen variant; where none was chosen, the only one that was measured, as in a bench of one file
        is_chosen = sa.and_(told.c.recipe == runs.c.chosen_recipe, told.c.format == runs.c.chosen_format)
        is_told = sa.or_(is_chosen, sa.and_(runs.c.chosen_recipe.is_(None), told.c.id == only))
        query = (
            sa.select(
                *runs.c["id", "started_utc", "finished", "model_path", "device_name", "device_address", "emulated", "profile", "search"],
                mine.scalar_subquery().label("variants"),
                mine.where(variants.c.status == "ok").scalar_subquery().label("ok"),
                *told.c["recipe", "format", "p50_ns"],
                runs.c.chosen_recipe.is_not(None).label("chosen"),
            )
            .outerjoin_from(runs, told, sa.and_(told.c.run_id == runs.c.id, is_told))
            .where(which)
            .order_by(runs.c.id.desc())
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
        "search": run.search,
    }


def run_record(row: sa.RowMapping, variants_of_run: tuple[Variant, ...]) -> Run:
    """A run from its row."""
    same = {name: row[name] for name in ("id", "started_utc", "model_path", "model_sha256", "device_name", "device_address", "emulated", "profile", "search")}
    chosen = Choice(row["chosen_recipe"], row["chosen_format"], row["chosen_reason"]) if row["chosen_recipe"] else None
    return Run(**same, variants=variants_of_run, chosen=chosen)


def why_no_run(connection: sa.Connection, name: str) -> str:
    """Why no run has that name, and what to name instead: it may be a search's, and `last` is none of a search's trials."""
    searches = runs.c.search.is_not(None) if name == "last" else runs.c.search.startswith(name, autoescape=True)
    search = connection.execute(sa.select(runs.c.search).where(searches).order_by(runs.c.id.desc()).limit(1)).scalar()
    if search is None:
        return "no run is stored yet: make one with edgekit deploy" if name == "last" else f"no run '{name}': see edgekit runs list"
    what = "only trials of searches are stored" if name == "last" else f"'{name}' is a search, and each of its trials a run"
    return f"{what}: see edgekit runs list --search {search[:SEARCH_NAMED]}"


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
