"""The stays nearest to one: found exactly, without the patient's own, and put in proportion."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from dashboard import nearest_stays, neighbours, state
from dashboard.neighbours import Neighbours, distances, nearest, nearest_distances
from ehrfm_core.study import open_study
from tests.dashboard.test_pages import fine, text
from tests.make_study import make_study

Open = Callable[..., AppTest]
ID = "hospitalization_id"


@pytest.mark.parametrize("n", [0, 1, neighbours._ROWS, neighbours._ROWS + 1])
def test_distances_in_slices_are_those_of_the_whole(n: int) -> None:
    rng = np.random.default_rng(n)
    states, point = rng.normal(size=(n, 5)).astype(np.float32), rng.normal(size=5).astype(np.float32)
    np.testing.assert_allclose(distances(states, point), np.linalg.norm(states - point, axis=1), rtol=1e-5)


def test_a_small_distance_keeps_its_digits_far_from_the_origin() -> None:
    states = np.full((2, 3), 4096.0, dtype=np.float32)
    states[1, 0] += 0.125
    assert distances(states, states[0]).tolist() == [0.0, 0.125]


def test_the_nearest_other_patient_is_that_of_brute_force() -> None:
    rng = np.random.default_rng(0)
    states = rng.normal(size=(400, 6)).astype(np.float32)
    patients = rng.integers(0, 150, 400)
    every = np.linalg.norm(states[:, None] - states[None], axis=2)
    every[patients[:, None] == patients[None]] = np.inf
    asked = np.array([3, 17, 399])
    np.testing.assert_allclose(
        nearest_distances(states, patients, asked), every[asked].min(axis=1), rtol=1e-5
    )
    assert np.isinf(nearest_distances(states, np.zeros(400), asked)).all()


def test_ties_are_broken_by_name_and_what_is_no_number_is_left_out() -> None:
    table = pl.DataFrame({"site": ["b", "a", "a"], ID: ["1", "2", "3"], "distance": [1.0, 1.0, float("nan")]})
    assert nearest(table)[ID].to_list() == ["2", "1"]
    assert nearest(table, 1)[ID].to_list() == ["2"]


def test_a_hospital_s_stays_are_searched_in_no_time() -> None:
    """A bound of sanity: it takes a thirtieth of that."""
    states = np.random.default_rng(0).normal(size=(144_000, 128)).astype(np.float32)
    begun = time.perf_counter()
    distances(states, states[0])
    assert time.perf_counter() - begun < 1


def test_the_study_s_nearest_leave_out_the_patient_and_keep_the_other_hospital(studies: Path) -> None:
    study = open_study(studies / "two")
    stays = {site: study.site_table(site, "stays") for site in study.sites}
    several = stays["mimic"].filter(pl.len().over("patient_id") > 1)
    stay, patient = several.row(0, named=True)[ID], several["patient_id"][0]
    own = set(stays["mimic"].filter(pl.col("patient_id") == patient)[ID])
    assert len(own) > 1
    found = neighbours.neighbours(study, "mimic", stay)
    assert found.n_stays == sum(map(len, stays.values())) - len(own)
    places = set(found.table.select("site", ID).iter_rows())
    assert len(places) == neighbours.K
    assert not places & {("mimic", other) for other in own}
    every = []
    for site in study.sites:
        ids, states = study.states(site)
        every += [
            (float(d), site, i)
            for i, d in zip(ids, distances(states, _state(study, stay)), strict=True)
            if site != "mimic" or i not in own
        ]
    assert found.table["distance"].to_list() == pytest.approx([d for d, *_ in sorted(every)[: neighbours.K]])
    assert 0 <= found.percentile <= 100  # type: ignore[operator]


def _state(study: object, stay: str) -> np.ndarray:
    ids, states = study.states("mimic")  # type: ignore[attr-defined]
    return states[ids.index(stay)]


def test_a_nearest_stay_beyond_the_usual_is_none_that_is_close() -> None:
    table = pl.DataFrame({"site": ["a"], ID: ["1"], "distance": [9.0]})
    assert not Neighbours(table, 99.5, 500, 10).close
    assert Neighbours(table, 99.0, 500, 10).close
    assert Neighbours(table, None, 0, 10).close


def test_the_page_tells_how_many_of_the_nearest_had_the_outcome(studies: Path, open_page: Open) -> None:
    app = open_page(studies, "patient", b="two", y="long_los")
    fine(app)
    assert " of 20** nearest stays" in text(app)
    assert "Wilson" in text(app)
    table = app.dataframe[2].value
    assert len(table) == neighbours.K
    assert table["distance"].is_monotonic_increasing


def test_too_few_nearest_stays_show_no_share(tmp_path: Path, open_page: Open) -> None:
    make_study(tmp_path / "few", sites={"mimic": 9}, seed=3)
    app = open_page(tmp_path, "patient", b="few", y="icu")
    fine(app)
    assert "fewer than 11, so their share is not shown" in text(app)
    assert "nearest stays," not in text(app)


def test_a_far_stay_is_said_to_have_none_close(
    studies: Path, open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "FAR", -1)
    assert "None is close." in text(open_page(studies, "patient", b="two"))


def test_a_click_on_a_neighbour_focuses_it_at_its_site(monkeypatch: pytest.MonkeyPatch) -> None:
    session: dict[str, object] = {"table": {"selection": {"rows": [1]}}}
    focused: list[tuple[str, str]] = []
    monkeypatch.setattr(nearest_stays.st, "session_state", session)
    monkeypatch.setattr(state, "set_focus", lambda *place: focused.append(place))
    follow = nearest_stays._follow("table", [("mimic", "1"), ("ucmc", "2")], several=True)
    follow()
    assert focused == [("ucmc", "2")]
    assert session[state.SITE] == "ucmc"
    session["table"] = {"selection": {"rows": []}}
    follow()
    session["table"] = {"selection": {"rows": [7]}}
    follow()
    assert len(focused) == 1
