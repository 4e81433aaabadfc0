"""Which stays a rule holds for."""

from __future__ import annotations

import polars as pl
import pytest

from ehrfm_core.cohorts import Cohort, Region, members
from ehrfm_core.errors import UserError

ID = "hospitalization_id"
STAYS = pl.DataFrame(
    {
        ID: ["a", "b", "c", "d"],
        "age": [30.0, 70.0, None, 90.0],
        "sex": ["Female", "Male", None, "Male"],
        "death": [True, False, None, True],
    }
)
PATHS = pl.DataFrame(
    {
        ID: ["a", "a", "b", "b", "c", "c", "d", "d"],
        "hour": [0, 24] * 4,
        "pca_x": [0.5, 9.0, 9.0, 0.5, 9.0, 9.0, None, 0.5],
        "pca_y": [0.5, 9.0, 9.0, 0.5, 9.0, 9.0, 0.5, 0.5],
        "umap_x": [0.5] * 8,
        "umap_y": [0.5, 0.5, 9, 9, 0.5, 0.5, 0.5, 0.5],
    }
)
SQUARE = (((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)),)


def ids(cohort: Cohort, site: str = "mimic") -> str:
    return "".join(members(cohort, site, STAYS, lambda: PATHS)[ID])


@pytest.mark.parametrize(
    ("cohort", "expected"),
    [
        (Cohort(), "abcd"),
        (Cohort.of(levels={"sex": ["Male"]}), "bd"),
        (Cohort.of(levels={"sex": ["Male", None]}), "bcd"),
        (Cohort.of(levels={"sex": [None]}), "c"),
        (Cohort.of(levels={"site": ["ucmc"]}), ""),
        (Cohort.of(levels={"site": ["mimic", "ucmc"]}), "abcd"),
        (Cohort.of(ranges={"age": (70, None)}), "bd"),
        (Cohort.of(ranges={"age": (None, 70)}), "ab"),
        (Cohort.of(ranges={"age": (None, None)}), "abd"),
        (Cohort.of(flags={"death": True}), "ad"),
        (Cohort.of(flags={"death": False}), "b"),
        (Cohort.of(regions=(Region("pca", SQUARE),)), "bd"),
        (Cohort.of(regions=(Region("pca", SQUARE, "any"),)), "abd"),
        (Cohort.of(regions=(Region("pca", SQUARE), Region("umap", SQUARE))), "d"),
        (Cohort.of(regions=(Region("pca", SQUARE),), ranges={"age": (80, None)}), "d"),
        (Cohort.of(regions=(Region("pca", (*SQUARE, ((8, 8), (10, 8), (10, 10), (8, 10)))),)), "abcd"),
    ],
)
def test_a_rule_holds_for(cohort: Cohort, expected: str) -> None:
    assert ids(cohort) == expected


def test_paths_are_read_only_where_a_region_asks_for_them() -> None:
    members(Cohort.of(ranges={"age": (1, 2)}), "mimic", STAYS, lambda: pytest.fail("read"))


@pytest.mark.parametrize(
    "cohort",
    [
        Cohort.of(levels={"ward": ["x"]}),
        Cohort.of(levels={"age": ["x"]}),
        Cohort.of(ranges={"sex": (1, 2)}),
        Cohort.of(flags={"age": True}),
    ],
)
def test_a_column_that_cannot_have_it_is_named(cohort: Cohort) -> None:
    with pytest.raises(UserError, match="'(ward|age|sex)'"):
        ids(cohort)
