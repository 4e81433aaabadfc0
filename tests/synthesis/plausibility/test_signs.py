from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.stats import spearmanr

from ehrfm_core.synthesis.plausibility import signs
from ehrfm_core.synthesis.plausibility.readings import Records, open_records
from ehrfm_core.synthesis.plausibility.signs import PAIRS, category_of, medians, sign_rows, spearman
from tests.synthesis.plausibility.make_records import Record, make_records

PAIR = ("lactate", "map")


def hospital(folder: Path, slope: float, *, patients: int = 30, seed: int = 0) -> Records:
    """Two stays a patient with five pairs of lactate and map each, that go together as `slope` says."""
    rng = np.random.default_rng(seed)
    stays = [f"{patient:03}-{visit}" for patient in range(patients) for visit in range(2)]
    labs: list[Record] = []
    vitals: list[Record] = []
    for stay in stays:
        for hour in (1.0, 7.0, 13.0, 19.0, 25.0):
            lactate = rng.normal()
            labs.append((stay, hour, "lactate", lactate))
            vitals.append((stay, hour + 4, "map", slope * lactate + rng.normal()))
    return open_records(make_records(folder, stays, labs=labs, vitals=vitals))


def compared(real: Records, synthetic: Records, **options: Any) -> dict[str, Any]:
    known = [
        (one, {category_of(name): medians(one.read(category_of(name))) for name in PAIR})
        for one in (real, synthetic)
    ]
    (row,) = sign_rows(known[0], known[1], pairs=[PAIR], n_replicates=200, **options)
    return row


def test_a_planted_negative_correlation_is_found_and_a_wrong_sign_told(tmp_path: Path) -> None:
    real, wrong = hospital(tmp_path / "real", -1.0), hospital(tmp_path / "wrong", 1.0, seed=1)
    row = compared(real, wrong)
    assert (row["real_n"], row["real_stays"]) == (300, 60)
    assert row["real_low"] < row["real_rho"] < row["real_high"] < -0.4
    assert row["synthetic_low"] > 0.4
    assert (row["real_clear"], row["synthetic_clear"], row["agree"]) == (True, True, False)
    assert compared(real, hospital(tmp_path / "right", -0.5, seed=2))["agree"] is True


def test_no_correlation_is_not_clear(tmp_path: Path) -> None:
    none = hospital(tmp_path / "none", 0.0, seed=5)
    row = compared(none, none)
    assert row["real_low"] < 0 < row["real_high"]
    assert row["real_clear"] is False


def test_medians_are_of_six_hours_of_one_stay(tmp_path: Path) -> None:
    values = {-1.0: 50.0, 0.0: 1.0, 2.0: 9.0, 5.9: 3.0, 6.0: 7.0}
    folder = make_records(tmp_path, ["a-0"], labs=[("a-0", hour, "lactate", v) for hour, v in values.items()])
    found = medians(open_records(folder).read(category_of("lactate"))).sort("bin")
    assert found.select("bin", "value").rows() == [(-1, 50.0), (0, 3.0), (1, 7.0)]


def test_too_few_patients_tell_nothing(tmp_path: Path) -> None:
    many, few = hospital(tmp_path / "many", -1.0), hospital(tmp_path / "few", -1.0, patients=9)
    row = compared(many, few)
    assert row["synthetic_n"] == 90
    assert row["synthetic_rho"] is row["synthetic_low"] is row["synthetic_clear"] is row["agree"] is None
    assert row["real_clear"] is True


def test_of_many_stays_some_are_drawn_and_the_same_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = hospital(tmp_path, -1.0)
    monkeypatch.setattr(signs, "MOST_STAYS", 20)
    row = compared(both, both)
    assert (row["real_stays"], row["real_n"]) == (20, 100)
    assert compared(both, both) == row
    assert compared(both, both, seed=1)["real_rho"] != row["real_rho"]


def test_repeated_stays_of_a_patient_widen_the_interval(tmp_path: Path) -> None:
    one = hospital(tmp_path, -0.3, patients=40)
    shift = one.stays.height
    later = (pl.col("stay") + shift).cast(pl.UInt32)
    known = {category_of(name): medians(one.read(category_of(name))) for name in PAIR}
    twice = {name: pl.concat([frame, frame.with_columns(later)]) for name, frame in known.items()}
    # every stay is there twice: of the same patient, or of two patients who know nothing of each other
    same = replace(one, stays=pl.concat([one.stays, one.stays.with_columns(later)]))
    other = one.stays.with_columns(later, pl.col("patient_id") + "x")
    strangers = replace(one, stays=pl.concat([one.stays, other]))
    (row,) = sign_rows((same, twice), (strangers, twice), pairs=[PAIR], n_replicates=400)
    assert row["real_rho"] == pytest.approx(row["synthetic_rho"])
    assert row["real_high"] - row["real_low"] > 1.2 * (row["synthetic_high"] - row["synthetic_low"])


def test_weighted_spearman_is_that_of_repeated_pairs() -> None:
    rng = np.random.default_rng(0)
    one = rng.integers(0, 8, 60).astype(float)  # with ties
    other = one + rng.normal(0, 3, 60).round()
    weights = rng.integers(0, 4, (5, 60)).astype(float)
    expected = [
        spearmanr(np.repeat(one, row.astype(int)), np.repeat(other, row.astype(int))).statistic
        for row in weights
    ]
    assert spearman(one, other)(weights) == pytest.approx(expected)


def test_spearman_of_what_does_not_vary_is_not_defined() -> None:
    assert np.isnan(spearman(np.ones(5), np.arange(5.0))(np.ones((2, 5)))).all()


def test_pairs_are_of_known_categories_and_none_twice() -> None:
    assert len({frozenset(pair) for pair in PAIRS}) == len(PAIRS) >= 18
    assert category_of("gcs_total").table == "patient_assessments"
