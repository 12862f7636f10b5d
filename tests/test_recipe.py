"""Recipes: what parses, what is refused, and with which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit.cli.options import recipes_from
from edgekit.compress.steps import TECHNIQUES
from edgekit.errors import InputError
from edgekit.recipe import LEARNED, SUPPORTED, Recipe, examples, parse


@pytest.mark.parametrize("name", SUPPORTED)
def test_a_number_format_parses_to_its_one_step(name: str) -> None:
    found = parse(name)

    assert found == Recipe(name, (name,))
    assert (found.numbers, found.changes_hub, found.learned, found.tunes, found.file_name) == (name, False, False, False, name)


def test_only_calibrated_recipes_need_calibration() -> None:
    assert [name for name in SUPPORTED if parse(name).needs_calibration] == ["w8a8", "w8a16"]
    assert [name for name in SUPPORTED if parse(name).uses_calibration] == ["w4", "w4b32", "w8a8", "w8a16"]
    assert parse("prune50+tune+w8a16").needs_calibration
    assert not parse("w8a8+tune").needs_calibration, "the ranges are learned"


@pytest.mark.parametrize("step", [step for step in examples() if step not in (*LEARNED, "tune", "student:width50")])
def test_each_technique_is_a_recipe(step: str) -> None:
    found = parse(step)

    assert (found.steps, found.numbers, found.changes_hub) == ((step,), "fp32", True)


@pytest.mark.parametrize(
    ("name", "numbers", "learned"),
    [
        ("prune50+tune", "fp32", False),
        ("prune50+w8a8", "w8a8", False),
        ("prune80+cluster16+tune+w8a8", "w8a8", False),
        ("channels50+tune+w8a8", "w8a8", False),
        ("w8a8+tune", "w8a8", True),
        ("w2+tune", "w2", True),
        ("prune50+tune+w4+tune", "w4", True),
        ("channels30+tune+prune50+tune+fp16", "fp16", False),
        ("student:width50+tune", "fp32", False),
        ("distill:small.onnx+tune+w8", "w8", False),
        ("channels50+lowrank50+prune2:4+cluster16+tune+w8a8+tune", "w8a8", True),
    ],
)
def test_steps_compose(name: str, numbers: str, learned: bool) -> None:
    found = parse(name)

    assert (found.numbers, found.learned, found.changes_hub) == (numbers, learned, True)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("tune", "there is nothing before tune"),
        ("tune+w8a8", "there is nothing before tune"),
        ("prune50+tune+tune", "tune stands twice in a row"),
        ("student:width50", r"a student knows little before it is taught: write student:width50\+tune"),
        ("fp16+w8", "fp16 and w8 are two number formats"),
        ("w8a8+w4+tune", "w8a8 and w4 are two number formats"),
        ("w8+prune50", r"prune50 stands after w8, .*: numbers come last, as in prune50\+w8$"),
        ("w8a8+tune+prune50", r"prune50 stands after w8a8, .* as in tune\+prune50\+w8a8|prune50\+"),
        ("fp16+tune", r"fp16 loses nothing"),
        ("prune50+fp16+tune", r"fp16 loses nothing that tuning could win back: write prune50\+tune\+fp16$"),
        ("w8d+tune", r"w8d sets its ranges at run time"),
        ("w2", r"w2 loses too much without tuning: add \+tune, as in w2\+tune$"),
        ("prune50+tune+w4a8", r"w4a8 loses too much without tuning: add \+tune"),
        ("ternary+binary", "ternary and binary both decide which values there are"),
        ("cluster16+ternary", "both decide which values"),
        ("prune50+prune80", "prune50 and prune80 are one technique"),
        ("prune50+tune+prune80", "prune50 and prune80 are one technique"),
        ("prune50+channels50", "the zeros would be cut apart: write channels50 first"),
        ("prune50+lowrank50", "the zeros would be cut apart: write lowrank50 first"),
        ("cluster16+prune50", "new zeros would not be among the few values: write prune50 first"),
        ("ternary+channels50", "the few values would become many: write channels50 first"),
        ("channels50+student:width50+tune", "student:width50 puts another network in the place of what channels50 made: put it first"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(name: str, why: str) -> None:
    with pytest.raises(InputError, match=why) as caught:
        parse(name)
    assert str(caught.value).startswith(f"recipe '{name}' makes no sense: ")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("w8a", "unknown recipe 'w8a': did you mean 'w8a8'?"),
        ("W8A8", "'W8A8' is no step: write w8a8, in small letters and without blanks"),
        ("prune80 + w8", "'prune80 ' is no step: write prune80+w8, in small letters and without blanks"),
        ("prune80+", "a step is missing in recipe 'prune80+': write steps with a + between two, as in prune50+tune+w8a8"),
        ("prun50+w8a8", "unknown step in recipe 'prun50+w8a8': 'prun50': did you mean 'prune50'?"),
        ("prunes80", "unknown recipe 'prunes80': did you mean 'prune50'?"),
        ("banana", "unknown recipe 'banana': known are fp32, fp16, w8, w4, w4b32, w8d, w8a8, w8a16"),
    ],
)
def test_an_unknown_name_gets_the_nearest_one(name: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(name)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("name", "takes"),
    [
        *((f"prune{text}", "prune takes a percentage from 1 to 99, as in prune50") for text in ("", "0", "100", "101", "4:4", "50block0")),
        *((f"channels{text}", "channels takes a percentage from 1 to 99, as in channels50") for text in ("0", "100", ":50")),
        ("lowrank0", "lowrank takes the percentage of the MACs that stays, from 1 to 99, as in lowrank50"),
        ("cluster1", "cluster takes 2 to 256 values, as in cluster16"),
        ("bits0", "bits takes 2 to 8 bits, as in bits4"),
        ("bits99", "bits takes 2 to 8 bits, as in bits4"),
        ("student:50+tune", "student takes a width from 1 to 99 percent, as in student:width50"),
        ("ternary2", "ternary takes no strength: write ternary"),
    ],
)
def test_a_strength_that_there_is_not_is_told_what_there_is(name: str, takes: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(name)
    where = " (in recipe student:50+tune)" if "+" in name else ""
    assert str(caught.value).startswith(f"'{name.partition('+')[0]}' is no step{where}: {takes}")


def test_every_technique_says_what_it_takes() -> None:
    assert [one.name for one in TECHNIQUES.values() if bool(one.strength) != bool(one.takes)] == []


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("auto:size=25", "give a share below 1 of the float file's download, as in auto:size=0.25, for 25 percent"),
        ("auto:drop=5", "give a share below 1 of the accuracy, as in auto:drop=0.05, for 5 percent"),
        ("auto:drop=1", "give a share below 1 of the accuracy, as in auto:drop=0.01"),
        ("auto:size=0", "give a share below 1 of the float file's download, as in auto:size=0.25"),
        ("auto:size=1.5", "as in auto:size=0.015, for 1.5 percent"),
        ("auto:speed=0.5", "give auto:size=0.25 (of the float file's download), or auto:drop=0.01 (of the accuracy)"),
        ("auto:", "give auto:size=0.25 (of"),
    ],
)
def test_what_is_no_budget_is_refused_with_one_that_is(name: str, cure: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(name)
    assert f"{name} is no budget: " in str(caught.value)
    assert cure in str(caught.value)


@pytest.mark.parametrize(
    ("name", "other"), [("auto:size=0.25+w8a8", "w8a8"), ("prune50+auto:size=0.25", "prune50"), ("auto:size=0.2+auto:drop=0.1", "auto:drop=0.1")]
)
def test_only_tuning_may_go_with_a_budget(name: str, other: str) -> None:
    with pytest.raises(InputError, match=f"finds zeros and numbers for each layer by itself: leave out {other}; only .tune may follow"):
        parse(name)


def test_a_file_may_have_any_recipe_in_its_name() -> None:
    assert parse("prune2:4+w8").file_name == "prune2-4+w8"
    assert parse("distill:small.onnx+tune").file_name == "distill-small+tune"
    assert parse("distill:/some/where/small net.onnx+tune").file_name == "distill-small-net+tune"


def test_the_name_of_the_model_is_in_a_files_once(tmp_path: Path) -> None:
    names = {"my net.auto-size=0.25": "my net.auto-size=0.25", "mine": "my net.mine", "my net.w8": "my net.my-net.w8", "my network": "my net.my-network"}
    for name, expected in names.items():
        (tmp_path / f"{name}.toml").write_text('steps = "prune80"\n')
        assert parse(str(tmp_path / f"{name}.toml")).file_name_for("my net") == expected
    assert parse("prune2:4+w8").file_name_for("my net") == "my net.prune2-4+w8"


def test_two_recipes_whose_files_would_be_called_alike_are_refused(tmp_path: Path) -> None:
    given = tmp_path / "net.auto-size=0.25.toml"
    given.write_text('steps = "prune80"\n')
    with pytest.raises(InputError, match=r"the recipes auto:size=0.25 and net.auto-size=0.25 would give files of one name"):
        recipes_from(["auto:size=0.25", str(given)], [], "net")
    assert len(recipes_from(["auto:size=0.25", str(given)], [], "other")) == 2


def test_a_budget_is_left_to_who_spreads_it() -> None:
    assert parse("auto:size=0.25").is_auto
    assert not parse("prune50").is_auto


def test_a_file_gives_layers_their_own_strength(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('steps = "prune80+cluster16+w8"\nper_layer = true\nepochs = 3\n[layers]\nfc = "prune50"\nlast = "none"\n')

    assert parse(str(path)) == Recipe("mine", ("prune80", "cluster16", "w8"), (("fc", "prune50"), ("last", "none")), per_layer=True, epochs=3)


def test_a_file_says_what_tuning_learns_from(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('steps = "student:width50+tune"\n[tune]\nlr = 1e-3\ntask = 1.0\nfeature = 0.0\n')

    assert dict(parse(str(path)).tune) == {"lr": 1e-3, "task": 1.0, "feature": 0.0}


def test_a_layer_may_have_several_steps_of_its_own_or_be_without_one(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('steps = "prune80+bits8"\n[layers]\nfc = "prune50+bits4"\nlast = "no-prune"\n')

    assert parse(str(path)).layers == (("fc", "prune50"), ("fc", "bits4"), ("last", "no-prune"))
    path.write_text('steps = "prune80"\n[layers]\nfc = "no-cluster"\n')
    with pytest.raises(InputError, match="layer 'fc' = 'no-cluster': give a strength of prune"):
        parse(str(path))


def test_a_bare_strength_is_that_of_the_one_technique(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('steps = "prune80"\n[layers]\nfc = "2:4"\n')

    assert parse(str(path)).layers == (("fc", "prune2:4"),)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('steps = "prune80"\n[layers]\nfc = "much"\n', "layer 'fc' = 'much': give a strength of prune, as in prune50, or none"),
        ('steps = "prune80+cluster16"\n[layers]\nfc = "50"\n', "give a strength of prune, cluster"),
        ('steps = "prune80+tune"\n[layers]\nfc = "cluster16"\n', r"prune80\+tune has no cluster: add cluster to its steps, or write none"),
        ('steps = "w8a8"\n[layers]\nfc = "fp32"\n', "none of its steps has a strength for each layer"),
        ('steps = "prunes80"\n', "unknown recipe 'prunes80': did you mean 'prune"),
        ("steps = prune80\n", "is no TOML"),
        ('step = "prune80"\n', "unknown key 'step': did you mean 'steps'\\?"),
        ('steps = "prune80"\nepoch = 3\n', "unknown key 'epoch': did you mean 'epochs'\\?"),
        ('steps = "prune80"\nbanana = 3\n', "unknown key 'banana': known are steps, per_layer, epochs, tune, layers$"),
        *((f'steps = "prune80"\n[layers]\n{line}\n', 'quotes, as in "conv1.weight" = "50"') for line in ("fc = 50", 'fc.weight = "50"')),
        ("per_layer = true\n", "steps: Field required; it may hold steps, per_layer, epochs and tables"),
        ('steps = "prune80"\n[layers]\nfc = "100"\n', "layer 'fc' = '100': prune takes a percentage from 1 to 99, .*; or write none"),
        ('steps = "channels50+prune80"\n[layers]\nfc = "channels100"\n', "layer 'fc' = 'channels100': channels takes a percentage from 1 to 99"),
        ('steps = "prune80+tune"\n[tune]\ntemprature = 2\n', "unknown key 'tune.temprature': did you mean 'tune.temperature'\\?"),
        ('steps = "prune80+tune"\nepochs = 0\n', "epochs = 0: give at least 1"),
        ('steps = "prune80+tune"\n[tune]\ntask = 2.0\n', r"tune\.task: Input should be less than or equal to 1"),
        ('steps = "prune80"\n[tune]\ntask = 1.0\n', "no step that tunes"),
    ],
)
def test_a_file_that_is_not_right_is_refused(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)

    with pytest.raises(InputError, match=why):
        parse(str(path))


def test_a_file_that_is_called_as_a_recipe_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prune50+w8.toml"
    path.write_text('steps = "prune80"\n')

    with pytest.raises(InputError, match=r"is called as another recipe is: rename it"):
        parse(str(path))


def test_a_file_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match=r"the recipe mine\.toml cannot be read \(No such file"):
        parse("mine.toml")
