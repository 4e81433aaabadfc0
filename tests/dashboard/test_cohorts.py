"""Cohorts in the link, on every page: they count, they compare, and nothing hostile raises."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from dashboard import cohorts
from dashboard.navigation import PAGES
from ehrfm_core.cohorts import Cohort, Region
from ehrfm_core.errors import UserError
from ehrfm_core.study import Study, open_study
from tests.cohorts.test_predicate import COHORTS
from tests.dashboard.test_pages import charts, fine, text

Open = Callable[..., AppTest]
WHOLE_MAP = (((-900.0, -900.0), (900.0, -900.0), (900.0, 900.0), (-900.0, 900.0)),)


def words(study: Study) -> dict[str, str]:
    """Cohorts of a study as they stand in a link."""
    made = {
        "women": cohorts.made_here(study, levels={"sex": ["Female", "female"]}),
        "region": cohorts.made_here(study, regions=(Region("umap", WHOLE_MAP, "any"),)),
        "nobody": cohorts.made_here(study, ranges={"age": (119, None)}),
        "elsewhere": Cohort.of(regions=(Region("pca", WHOLE_MAP),), study="0123456789", map="9876543210"),
        "other version": Cohort.of(levels={"sex": ["Female", "female"]}, study="0123456789"),
        "no such column": cohorts.made_here(study, flags={"ward": True}),
    }
    return {name: cohorts.encode(cohort) for name, cohort in made.items()}


@pytest.fixture
def link(studies: Path) -> dict[str, str]:
    return words(open_study(studies / "two"))


@settings(deadline=None, max_examples=60)
@given(COHORTS)
def test_a_cohort_survives_its_link(cohort: Cohort) -> None:
    assert cohorts.decode(cohorts.encode(cohort)) == cohort
    assert cohorts.from_file(cohorts.to_file(cohort, synthetic=True).encode()) == cohort


@settings(deadline=None)
@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: raw.hex()))
def test_any_other_word_is_a_sentence(word: str) -> None:
    with pytest.raises(UserError):
        cohorts.decode(word)


def test_a_link_that_would_unpack_to_gigabytes_is_refused() -> None:
    import base64
    import zlib

    bomb = base64.urlsafe_b64encode(zlib.compress(b"[" * 10_000_000, 9)).decode()
    with pytest.raises(UserError):
        cohorts.decode(bomb)
    assert len(cohorts.encode(Cohort.of(regions=tuple(Region(k, WHOLE_MAP) for k in ("pca", "umap"))))) < 300


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("study", ["two", "one", "tiny", "tokenized"])
def test_every_page_draws_with_cohorts(studies: Path, open_page: Open, page: str, study: str) -> None:
    made = words(open_study(studies / study))
    app = open_page(studies, page, b=study, a=made["women"], z=made["region"], p="mimic/m10000001")
    fine(app)
    assert not app.toast
    assert app.query_params["a"] == made["women"]


@pytest.mark.parametrize("page", ["overview", "map", "patient"])
@pytest.mark.parametrize("name", ["nobody", "elsewhere", "other version", "no such column"])
def test_a_cohort_that_says_nothing_here_is_told_and_not_used(
    studies: Path, open_page: Open, link: dict[str, str], page: str, name: str
) -> None:
    app = open_page(studies, page, b="two", a=link[name], g="a")
    fine(app)
    told = text(app)
    expected = {
        "nobody": "too few for statistics",
        "elsewhere": "drawn on another map (version 9876543210",
        "other version": "another version of the study (0123456789",
        "no such column": "which the stays of this study do not have",
    }[name]
    assert expected in told
    assert not [figure for figure in charts(app) if "Standardised difference" in json.dumps(figure)]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("value", ["x" * 9000, "", "eJw", "\x00", "%%%", "a/b", "∞", "mimic/1"])
def test_hostile_cohorts_never_raise(studies: Path, open_page: Open, page: str, value: str) -> None:
    app = open_page(studies, page, b="two", a=value, z=value, p=value, to=value, w=value)
    fine(app)


def test_an_unknown_cohort_is_told_once_and_dropped(studies: Path, open_page: Open) -> None:
    app = open_page(studies, "map", b="two", a="nonsense")
    assert sum("a cohort that is not in this study" in toast.value for toast in app.toast) == 1
    assert "a" not in app.query_params


def test_two_cohorts_are_compared_with_n_events_and_q(
    studies: Path, open_page: Open, link: dict[str, str]
) -> None:
    app = open_page(studies, "map", b="two", y="long_los", a=link["women"], z=link["region"])
    fine(app)
    told = text(app)
    assert "A against B" in told
    assert re.search(r"A: \d+ stays, B: \d+, all splits\. Long stay: A \d+ events of \d+ that count", told)
    assert re.search(r"\d+ stays are in both and count for A only", told)
    assert "Benjamini and Hochberg, over the" in told
    figure = [f for f in charts(app) if "Standardised difference, A − B" in json.dumps(f, ensure_ascii=False)]
    assert len(figure) == 1
    assert {"q", "SMD"} <= set(app.dataframe[1].value.columns)


def test_one_cohort_is_compared_with_the_others_of_its_sites(studies: Path, open_page: Open) -> None:
    study = open_study(studies / "two")
    ours = cohorts.made_here(study, levels={"site": ["ucmc"]}, ranges={"age": (60, None)})
    app = open_page(studies, "map", b="two", a=cohorts.encode(ours))
    fine(app)
    assert "A against everyone else at ucmc" in text(app)
    n = [int(x) for x in re.search(r"A: (\d+) stays, others: (\d+)", text(app)).groups()]  # type: ignore[union-attr]
    assert sum(n) == 140


def test_the_table_lists_a_cohort(studies: Path, open_page: Open, link: dict[str, str]) -> None:
    app = open_page(studies, "map", b="two", a=link["women"], g="a")
    fine(app)
    assert app.selectbox(key="g").value == "a"
    assert set(app.dataframe[0].value["sex"].str.lower()) == {"female"}
    app.button(key="cohort-clear").click().run()
    fine(app)
    assert app.selectbox(key="g").value == "test"
    assert "a" not in app.query_params


def test_swap_undo_and_clear(studies: Path, open_page: Open, link: dict[str, str]) -> None:
    app = open_page(studies, "overview", b="two", a=link["women"])
    app.button(key="cohort-swap").click().run()
    assert "a" not in app.query_params
    assert app.query_params["z"] == link["women"]
    app.button(key="cohort-clear").click().run()
    assert "z" not in app.query_params
    app.button(key="cohort-undo").click().run()
    assert app.query_params["z"] == link["women"]
    app.button(key="cohort-undo").click().run()
    assert app.query_params["a"] == link["women"]
    fine(app)
    assert app.button(key="cohort-undo").disabled


def test_a_rule_of_another_version_can_be_used_here(
    studies: Path, open_page: Open, link: dict[str, str]
) -> None:
    app = open_page(studies, "overview", b="two", a=link["other version"])
    app.button(key="adopt-a").click().run()
    fine(app)
    assert app.query_params["a"] == link["women"]
    assert "Cohort A" in app.dataframe[0].value.columns


def test_filters_make_a_cohort(studies: Path, open_page: Open) -> None:
    app = open_page(studies, "overview", b="two", y="long_los")
    app.slider(key="new-age").set_value((50, 80))
    app.multiselect(key="new-site").set_value(["ucmc"])
    app.selectbox(key="new-outcome").set_value("yes")
    app.button(key="make-b").click().run()
    fine(app)
    made = cohorts.decode(app.query_params["z"])
    assert made.sites == ("ucmc",)
    assert dict(made.ranges) == {"age": (50.0, 80.0)}
    assert dict(made.flags) == {"counts_long_los": True, "long_los": True}
    assert "Age: 50 to 80" in text(app)


def test_a_small_cohort_has_no_number_of_its_own(studies: Path, open_page: Open) -> None:
    study = open_study(studies / "tiny")
    app = open_page(
        studies, "overview", b="tiny", a=cohorts.encode(cohorts.made_here(study, levels={"site": ["ucmc"]}))
    )
    fine(app)
    assert app.dataframe[0].value["Cohort A"].to_list()[0] == "fewer than 11"
    assert "Fewer than 11 stays: too few for statistics" in text(app)


def test_a_cohort_follows_from_page_to_page_and_the_session_stays_small(
    studies: Path, open_page: Open, link: dict[str, str]
) -> None:
    app = open_page(studies, "map", b="two", a=link["women"], z=link["region"])
    for _ in range(30):
        app.button(key="cohort-swap").click().run()
    held = app.session_state.to_dict()
    assert len(json.dumps(held, default=str)) < 100_000
    app.query_params.pop("a", None)
    app.switch_page("app_pages/patient.py").run()
    fine(app)
    assert app.query_params["a"] == link["women"]


def test_the_link_names_everything_that_is_chosen(
    studies: Path, open_page: Open, link: dict[str, str]
) -> None:
    app = open_page(studies, "map", b="two", y="icu", s="ucmc", a=link["women"], w="any", p="mimic/m10000001")
    shown = next(code.value for code in app.code if "?" in code.value)
    query = parse_qs(urlsplit(shown).query)
    assert {key: query[key] for key in "bysaw"} == {
        "b": ["two · synthetic"], "y": ["ICU after 24 h"], "s": ["ucmc"], "a": [link["women"]],
        "w": ["At any hour"],
    }  # fmt: skip
    assert query["p"] == ["mimic/m10000001"]
    again = open_page(studies, "map", **{key: value[0] for key, value in query.items()})
    fine(again)
    assert not again.toast
    assert next(code.value for code in again.code if "?" in code.value) == shown


def test_the_figure_does_not_depend_on_the_cohorts(
    studies: Path, open_page: Open, link: dict[str, str]
) -> None:
    without, with_a = (open_page(studies, "map", b="two", **q) for q in ({}, {"a": link["women"]}))
    for before, after in zip(without.get("plotly_chart")[:2], with_a.get("plotly_chart")[:2], strict=True):
        assert before.proto.spec == after.proto.spec
        assert before.proto.alt == after.proto.alt
        assert before.proto.config == after.proto.config


def outlined(app: AppTest) -> list[list[str]]:
    """The paths of what is outlined on each map."""
    return [[one["path"] for one in figure["layout"].get("selections", [])] for figure in charts(app)[:2]]  # type: ignore[attr-defined]


def test_a_cohort_that_came_by_link_is_outlined_on_its_map(
    studies: Path, open_page: Open, link: dict[str, str]
) -> None:
    app = open_page(studies, "map", b="two", a=link["women"], z=link["region"])
    fine(app)
    path = "M-900.0,-900.0L900.0,-900.0L900.0,900.0L-900.0,900.0Z"
    assert outlined(app) == [[], [path]]
    assert "Outlined: cohort B (pink)." in text(app)
    first = charts(app)[:2]
    app.button(key="cohort-swap").click().run()
    assert outlined(app) == [[], [path]]
    assert "Outlined: cohort A (green)." in text(app)
    assert charts(app)[1] != first[1], "in the other ink"
    app.button(key="cohort-clear").click().run()
    assert outlined(app) == [[], []]
    assert outlined(open_page(studies, "map", b="two", a=link["elsewhere"])) == [[], []]


def test_a_map_stays_as_it_is_whatever_becomes_of_the_cohorts(
    studies: Path, open_page: Open, link: dict[str, str]
) -> None:
    app = open_page(studies, "map", b="two", a=link["region"])
    before = charts(app)[:2]
    app.session_state["cohort_a"] = link["women"]  # as a drawing would
    app.query_params["a"] = link["women"]
    app.run()
    fine(app)
    assert charts(app)[:2] == before
