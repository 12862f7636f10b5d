"""Recipe names: what parses, what is refused, and with which words."""

from __future__ import annotations

import pytest

from edgekit.errors import InputError
from edgekit.recipe import EXAMPLES, STEP, SUPPORTED, Recipe, parse


@pytest.mark.parametrize("name", SUPPORTED)
def test_what_this_version_makes_parses_to_its_one_step(name: str) -> None:
    assert parse(name) == Recipe(name, (name,))


def test_only_calibrated_recipes_need_calibration() -> None:
    assert [name for name in SUPPORTED if parse(name).needs_calibration] == ["w8a8", "w8a16"]
    assert [name for name in SUPPORTED if parse(name).uses_calibration] == ["w4", "w4b32", "w8a8", "w8a16"]
    assert Recipe("tune+w8a16", ("tune", "w8a16")).needs_calibration


@pytest.mark.parametrize("step", EXAMPLES)
def test_a_known_step_that_is_not_built_is_refused_as_that(step: str) -> None:
    assert STEP.fullmatch(step)
    with pytest.raises(InputError, match=rf"^recipe '{step}' is not supported by this version: choose among fp32, ") as caught:
        parse(step)
    assert caught.value.exit_code == 2


def test_steps_joined_are_known_but_not_supported() -> None:
    with pytest.raises(InputError, match=r"recipe 'prune80\+tune\+w8a8' is not supported by this version"):
        parse("prune80+tune+w8a8")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("w8a", "unknown recipe 'w8a': did you mean 'w8a8'?"),
        ("W8A8", "unknown recipe 'W8A8': did you mean 'w8a8'?"),
        ("prun50+w8a8", "unknown step in recipe 'prun50+w8a8': 'prun50': did you mean 'prune50'?"),
        ("prune0", "unknown recipe 'prune0': did you mean 'prune50'?"),
        ("banana", "unknown recipe 'banana': known are fp32, fp16, w8, w4, w4b32, w8d, w8a8, w8a16"),
        ("", "unknown recipe '': known are fp32, fp16, w8, w4, w4b32, w8d, w8a8, w8a16"),
    ],
)
def test_an_unknown_name_gets_the_nearest_one(name: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(name)
    assert str(caught.value) == message


def test_recipe_files_are_refused_as_such() -> None:
    with pytest.raises(InputError, match=r"recipe files such as 'mine\.toml' are not supported by this version"):
        parse("mine.toml")
