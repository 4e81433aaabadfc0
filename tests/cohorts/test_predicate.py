"""A cohort's rule: to text and back, one id a rule, and nothing but a sentence for what is no rule."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ehrfm_core.cohorts.predicate import Cohort, Region
from ehrfm_core.errors import UserError

COLUMNS = st.sampled_from(["site", "sex", "race", "age", "death", "outlier"])
BOUND = st.none() | st.floats(-1e6, 1e6)
DIGEST = st.text("0123456789abcdef", max_size=10)
SHAPE = st.lists(st.tuples(*[st.floats(-50, 50)] * 2), min_size=3, max_size=200, unique=True)


@st.composite
def regions(draw: st.DrawFn) -> Region:
    shapes = [([p[0] for p in s], [p[1] for p in s]) for s in draw(st.lists(SHAPE, min_size=1, max_size=3))]
    try:
        return Region.drawn(
            draw(st.sampled_from(["pca", "umap"])), shapes, draw(st.sampled_from(["end", "any"]))
        )
    except UserError:  # too small to have three corners
        return Region("pca", (((0.0, 0.0), (1.0, 0.0), (1.0, 1.0)),))


COHORTS = st.builds(
    lambda **parts: Cohort.of(**parts),
    levels=st.dictionaries(COLUMNS, st.lists(st.none() | st.text(max_size=9), min_size=1, max_size=4)),
    ranges=st.dictionaries(COLUMNS, st.tuples(BOUND, BOUND)),
    flags=st.dictionaries(COLUMNS, st.booleans()),
    regions=st.lists(regions(), max_size=2).map(tuple),
    study=DIGEST,
    map=DIGEST,
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["levels", "ranges", "flags", "regions", "shapes", "kind", "age", "site"]), inner
        )
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(COHORTS)
def test_a_cohort_survives_its_text(cohort: Cohort) -> None:
    again = Cohort.from_text(cohort.text())
    assert again == cohort
    assert again.id == cohort.id
    assert len(cohort.id) == 10
    assert len(cohort.text()) < 20_000


@settings(deadline=None)
@given(ANYTHING)
def test_anything_else_is_a_sentence(content: object) -> None:
    with suppress(UserError):
        Cohort.from_text(json.dumps(content))


@pytest.mark.parametrize(
    "text", ["", "[", "[" * 100_000, '{"flags":{"a b":true}}', '{"ranges":{"age":[1e999,null]}}',
             '{"levels":{"sex":["\\ud800"]}}', '{"study":"../../etc"}', '{"ranges":{"age":[NaN,1]}}',
             '{"regions":[{"kind":"pca","shapes":[[[0,0],[1,1]]]}]}', '{"ranges":{"age":[true,1]}}'],
)  # fmt: skip
def test_hostile_text_is_a_sentence(text: str) -> None:
    with pytest.raises(UserError):
        Cohort.from_text(text)


def test_the_same_rule_has_the_same_id_whichever_way_it_was_made() -> None:
    one = Cohort.of(levels={"sex": ["b", "a", None], "race": ["x"]}, flags={"icu": True, "death": False})
    other = Cohort.of(
        flags={"death": False, "icu": True}, levels={"race": ["x"], "sex": [None, "a", "b", "a"]}
    )
    assert one.id == other.id
    assert one.id != Cohort.of(levels={"sex": ["b", "a"], "race": ["x"]}).id
