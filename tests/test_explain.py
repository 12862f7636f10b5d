"""`edgekit explain`: each topic laid out, for people and as JSON; and each figure of the records explained."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest
from click.testing import CliRunner

from edgekit.cli.explain import ORDER, command, page, paragraphs
from edgekit.errors import InputError
from edgekit.hub.bounds import BOUNDS
from edgekit.records import Memory


def said(*argv: str) -> str:
    done = CliRunner().invoke(command, argv, standalone_mode=False, catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def test_without_a_topic_all_are_listed() -> None:
    words = said()

    assert all(f"\n{topic} " in words for topic in ORDER)
    assert [one["topic"] for one in json.loads(said("--json"))["topics"]] == list(ORDER)


@pytest.mark.parametrize("topic", ORDER)
def test_each_topic_has_all_its_words_in_both_forms(topic: str) -> None:
    found, text = json.loads(said(topic, "--json")), " ".join(said(topic).replace("·", " ").split())

    assert found["schema"] == "edgekit.explain/1"
    assert found["sections"]
    for section in found["sections"]:
        assert " ".join(section["name"].split()) in text
        for words in (section["text"], *section["facts"]):
            assert " ".join(words.replace("·", " ").split()) in text


def test_every_figure_of_memory_is_explained_with_its_source() -> None:
    sections = {one.name: one for one in page("memory").sections}

    names = [field.name.removesuffix("_bytes") for field in fields(Memory)]
    assert [name for name in names if name not in sections] == []
    assert all(sections[name].text and sections[name].facts for name in names)


def test_the_bounds_are_those_that_are_kept() -> None:
    facts = " ".join(next(one for one in page("parity").sections if one.name == "bounds").facts)

    for recipe, bound in BOUNDS.items():
        assert recipe in facts
        for limit in (bound.max_rel, bound.min_sqnr_db, bound.min_cosine):
            assert limit is None or any(form in facts for form in (f"{limit:g}", f"{limit:.0e}".replace("e-0", "e-")))


def test_an_unknown_topic_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"memroy.*memory"):
        said("memroy")


def test_lines_are_joined_and_those_that_are_set_in_are_kept() -> None:
    assert paragraphs("one\ntwo\n\n    a = 1\n- three\n  four\n- five\n") == ["one two", "    a = 1", "- three four", "- five"]
