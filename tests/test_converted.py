"""What is said beside the table of conversions: what its figures are against, and how many samples of what."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit.cli.converted import held_to
from edgekit.cli.say import samples_text
from edgekit.records import Artifact, Parity, Variant
from edgekit.records_compression import Compression, Counts


def variant(recipe: str, numbers: str | None, agreement_db: float) -> Variant:
    far, near = (Parity(0.1, 0.1, 0.9, sqnr_db, None, False, False, 4) for sqnr_db in (5.0, agreement_db))
    counts = Counts(1, 1, 1)
    compression = None if numbers is None else Compression((), counts, counts, numbers, 0)
    held = {"compression": compression, "agreement": near if numbers else None}
    return Variant(recipe, "onnx", "ok", None, Artifact("", recipe, "onnx", Path("f"), "", 1, 1, (), {}, far, None, **held), None)  # type: ignore[arg-type]


def test_compressed_files_tell_what_they_are_held_to() -> None:
    (told,) = held_to([variant("prune50+w8", "w8", 31.4), variant("cluster16", "fp32", 250.0), variant("w8", None, 0)], "net.pt2")
    assert told == (
        "what compression cost is told against net.pt2; whether a file is right, against its own compressed network: "
        "onnx prune50+w8 31 dB (w8 needs 15 dB); onnx cluster16 exact (fp32 allows errors of 0.0001 of the range)"
    )
    assert held_to([variant("w8", None, 0)], "net.pt2") == []


def test_of_several_files_the_least_agreement_is_told() -> None:
    (told,) = held_to([variant("prune50", "fp32", 131.2), variant("cluster16", "fp32", 127.1), variant("bits4", "fp32", 250.0)], "net.pt2")
    assert told.endswith(": 3 files 127 dB or more (fp32 allows errors of 0.0001 of the range)")
    (told,) = held_to([variant("prune50", "fp32", 250.0), variant("cluster16", "fp32", 250.0)], "net.pt2")
    assert told.endswith(": 2 files exact (fp32 allows errors of 0.0001 of the range)")


@pytest.mark.parametrize(
    ("n", "origin", "told"),
    [
        (4, "4 random samples, seed 0: x", "on 4 random samples, seed 0: x"),
        (40, "4 random samples", "on 40 samples of 4 random samples"),
        (200, "d.npz, split once", "on 200 samples of d.npz, split once"),
        (1, "d.npz", "on 1 sample of d.npz"),
    ],
)
def test_samples_are_counted_once(n: int, origin: str, told: str) -> None:
    assert samples_text(n, origin) == told
