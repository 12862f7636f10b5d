"""A student in its teacher's place: remarked on where it is the larger of the two."""

from __future__ import annotations

import pytest

from edgekit.compress import channels
from edgekit.compress.distill import larger, student
from edgekit.compress.wish import Wish
from edgekit.hub.compressed import Spec
from edgekit.hub.figures import figures
from tests.lab.channel_cases import classifier


def test_a_student_that_is_larger_than_its_teacher_is_remarked_on() -> None:
    large, small = classifier(), classifier()
    channels.apply(small, Spec(), "50", Wish())
    sizes = [f"{one['parameters']:,} parameters and {one['macs']:,} multiply-accumulates" for one in (figures(large), figures(small))]
    assert student(small, large) == [f"the student is larger than the model that teaches it: {sizes[0]} against {sizes[1]}"]
    assert student(large, small) == []


@pytest.mark.parametrize(
    ("parameters", "macs", "words"), [(2, 1, "faster than, but larger than, the model"), (1, 2, "smaller than, but slower than, the model"), (1, 1, "")]
)
def test_which_of_both_is_more_is_told(parameters: int, macs: int, words: str) -> None:
    assert words in "".join(larger({"parameters": 1, "macs": 1}, {"parameters": parameters, "macs": macs}))
