"""A Model, a recipe, a format and its routes in, one verified Artifact out: by the first route whose file is right."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from edgekit.deflate import download_bytes
from edgekit.errors import ConvertError
from edgekit.files import copy, parts, sha256_tree, size_bytes
from edgekit.records import Artifact, Layout, Quantization
from edgekit.records_json import from_json
from edgekit.toolchains.beside import beside
from edgekit.toolchains.jobs import Progress, digests
from edgekit.verbs.flexible import verify_sizes
from edgekit.verbs.lineage import write_lineage
from edgekit.verbs.written import File, Floats, Task, write
from edgekit.verify import verify
from edgekit.write.routes import Route

Place = Callable[[str], Path]
"""The folder for a file of a digest: the user's own, or one by content."""


def make(task: Task, routes: Sequence[Route], floats: Floats, place: Place, progress: Progress) -> tuple[Artifact, str | None]:
    """Write, quantize, verify and deliver one file; the words say what is wrong with it, if anything is.

    Each route is tried until one gives a file that is right. A file that is wrong is not delivered: its Artifact keeps the figures and
    the path in the cache.

    Raises:
        ConvertError: all routes were refused or failed.
    """
    left: dict[str, str] = {}
    refused: ConvertError | None = None
    wrong: Artifact | None = None
    for route in routes:
        say = progress if not left else lambda text, fraction, name=route.name: progress(f"{name}: {text}", fraction)
        try:
            file, artifact, words = made(task, route, floats, say)
        except ConvertError as exc:
            left[route.name] = str(exc)
            refused = refused or exc
            continue
        if words is None:
            told = tuple(f"{name} was left ({why}); {route.name} was taken" for name, why in left.items())
            artifact = replace(artifact, notes=(*artifact.notes, *told))
            return deliver(task, file, artifact, place, {**left, route.name: "taken"}), None
        left[route.name] = words
        wrong = wrong or artifact
    first = next(iter(left.values()))
    words = first + "".join(f"; tried next: {name}: {'the same' if why == first else why}" for name, why in [*left.items()][1:])
    if wrong is not None:
        return wrong, words
    assert refused is not None
    raise refused if len(left) == 1 else ConvertError(words, op=refused.op, node=refused.node) from refused


def made(task: Task, route: Route, floats: Floats, progress: Progress) -> tuple[File, Artifact, str | None]:
    """The file of a route, and what is wrong with it.

    A flexible one that is wrong, be it at one size only, is made again with fixed sizes; where flexible ones were asked for, a float file
    is refused instead, and a quantized one is fixed all the same.
    """
    quantized = task.steps.quantize is not None
    try:
        file = write(task, route, floats, progress)
    except ConvertError as exc:
        if not quantized or not task.model.flexible:
            raise
        return again(task, route, floats, str(exc), progress)
    if not file.flexible:
        return file, *judge(task, file, progress)
    try:
        artifact, words = judge(task, file, progress)
        if words is None:
            source = task.source
            sized = verify_sizes(file.path, task.format, task.recipe.name, source.model, file.flexible, source.samples, file.told, progress)
            artifact, words = replace(artifact, flexible=file.flexible, verified_sizes=sized.sizes), sized.wrong
        if words is None:
            return file, artifact, None
    except ConvertError as exc:
        words = str(exc)
    if any(axis.asked for axis in file.flexible) and not quantized:
        raise ConvertError(f"as a flexible file it is wrong ({words}): give fixed sizes with --shape")
    return again(task, route, floats, words, progress)


def again(task: Task, route: Route, floats: Floats, reason: str, progress: Progress) -> tuple[File, Artifact, str | None]:
    """The file of a route with fixed sizes, and what is wrong with it; the reason is noted."""
    file = write(task, route, floats, progress, not_flexible=reason)
    return file, *judge(task, file, progress)


def judge(task: Task, file: File, progress: Progress) -> tuple[Artifact, str | None]:
    """The file as an Artifact with its figures, and what is wrong with it."""
    path = file.path
    if len(parts(path)) > 1:
        raise ConvertError(f"the {task.recipe.name} file takes more than 2 GB, for which ONNX needs a second file beside it: use fp16, w8 or w4")
    sha256, *_ = digests(path)
    with beside(lambda: download_bytes(path)) as deflated:
        source, how = task.source, file.told.get("quantization")
        layout, transposes = file.told.get("layout"), file.told.get("transposes")
        held, whose = (source.reference, None) if task.network is None else (task.network.reference, source.reference)
        verdict = verify(path, task.format, task.bounds, task.model, source.samples, held, progress, how, layout, whose)
    artifact = Artifact(
        model_sha256=task.source.model.sha256,
        recipe=task.recipe.name,
        format=task.format.name,
        path=path,
        sha256=sha256,
        size_bytes=size_bytes(path),
        download_bytes=deflated.result(),
        route=file.steps,
        tools=file.tools,
        parity=verdict.parity,
        accuracy=verdict.accuracy,
        notes=(*changed(task), *file.notes, *below(task, (verdict.agreement or verdict.parity).sqnr_db, file.told.get("judged"))),
        layout=None if layout is None else from_json(Layout, layout),
        ops=file.told.get("ops"),
        transposes=None if transposes is None else tuple(transposes),
        quantization=None if how is None else from_json(Quantization, how),
        compression=None if task.network is None else task.network.compression,
        agreement=verdict.agreement,
    )
    return artifact, verdict.wrong


def changed(task: Task) -> list[str]:
    """What the recipe's steps did to the network."""
    if task.network is None:
        return []
    fixed_sizes = [f"all sizes are fixed: {task.recipe.name} changes the network at one"] if task.source.model.flexible else []
    return [*fixed_sizes, *(note for step in task.network.compression.steps for note in step.notes)]


def below(task: Task, found_db: float, judged: str | None) -> list[str]:
    """What to know of a file that kept the floor asked for where it was chosen, and not where it is checked."""
    floor, samples = task.wishes.keep_float, task.source.samples
    if floor is None or isinstance(floor, str) or found_db >= floor:
        return []
    kept = "" if judged is None else f" and are kept on {judged}"
    found = f"on the {samples.n_evaluation} evaluation samples it is {found_db:.1f} dB{'' if task.network is None else ' against the compressed network'}"
    return [f"{floor:g} dB were asked for{kept}; {found}: ask for a little more, or give more --data"]


def deliver(task: Task, file: File, artifact: Artifact, place: Place, tried: Mapping[str, str]) -> Artifact:
    """Copy a file that is right to its place, with its lineage beside it; the Artifact there."""
    final = place(artifact.sha256) / f"{task.recipe.file_name_for(task.source.model.path.stem)}{task.format.suffix}"
    if not final.exists() or sha256_tree(final) != artifact.sha256:
        copy(file.path, final)
    delivered = replace(artifact, path=final)
    write_lineage(task.source.model, task.source.samples, task.source.reference, delivered, task.wishes, tried)
    return delivered
