from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from ehrfm_core.synthesis.charting.chart import ON_THE_HOUR
from ehrfm_core.synthesis.charting.vitals import DECIMALS, LIMITS, MISSED, VITALS, WORSE, read_vitals
from ehrfm_core.synthesis.hospital import SITES
from ehrfm_core.synthesis.latent.care import DEVICES, IMV
from ehrfm_core.synthesis.tables import LOCAL
from tests.synthesis.charting.make_moments import moments
from tests.synthesis.make_hospital import ID, SIGMAS, Simulated, Written, clock

BY_SITE = pytest.mark.parametrize("site", SITES)
ONCE = ("weight_kg", "height_cm")


def share_charted(written: Written, site: str, place: str) -> float:
    """Share of full hours in a place in which a heart rate is charted."""
    rows = written.beside_truth(site, "vitals").filter(pl.col("vital_category") == "heart_rate")
    rows = rows.filter(pl.col("place") == place).unique([ID, "hour"])
    return rows.height / written.truth(site, "hours").filter(pl.col("place") == place).height


def test_wards_of_the_first_hospital_chart_almost_nothing_and_the_others_do(written: Written) -> None:
    assert 0 < share_charted(written, "mimic", "ward") < 0.03
    assert 0.25 < share_charted(written, "ucmc", "ward") < 0.8
    for site in SITES:
        assert share_charted(written, site, "icu") > 0.85
    assert share_charted(written, "mimic", "ed") < 0.02 < 0.8 < share_charted(written, "ucmc", "ed")


def test_who_is_worse_is_looked_at_more_often(written: Written) -> None:
    rows = written.beside_truth("ucmc", "vitals").filter(pl.col("vital_category") == "heart_rate")
    hours = written.truth("ucmc", "hours")
    shares = []
    for worse in (False, True):
        where = (pl.col("place") == "ward") & ((pl.col("severity") > WORSE) == worse)
        shares.append(rows.filter(where).height / hours.filter(where).height)
    assert shares[1] > 1.3 * shares[0]


def test_a_stepdown_unit_goes_round_twice_as_often_then(written: Written) -> None:
    """The first hospital's: every four hours, every two for who is worse, no rounds beside."""
    rows = written.beside_truth("mimic", "vitals").filter(pl.col("vital_category") == "heart_rate")
    for worse, interval in ((False, 4), (True, 2)):
        where = (pl.col("place") == "stepdown") & ((pl.col("severity") > WORSE) == worse)
        hours = written.truth("mimic", "hours").filter(where).height
        assert rows.filter(where).height / hours == pytest.approx((1 - MISSED) / interval, rel=0.08)


@BY_SITE
def test_values_are_within_their_limits(written: Written, site: str) -> None:
    vitals = written.table(site, "vitals")
    assert set(vitals["vital_category"].unique()) == set(VITALS)
    for name, (low, high), decimals in zip(VITALS, LIMITS, DECIMALS, strict=True):
        values = vitals.filter(pl.col("vital_category") == name)["vital_value"]
        assert values.is_between(low, high).all(), name
        assert (values.round(decimals) == values).all(), name
        edges = (values == low) | ((values == high) & (name != "spo2"))  # where many really are
        assert edges.mean() < 0.01, name


@BY_SITE
def test_rounds_are_mostly_on_the_full_hour(written: Written, site: str) -> None:
    minutes = written.table(site, "vitals")["recorded_dttm"].dt.minute()
    assert (minutes == 0).mean() == pytest.approx(ON_THE_HOUR, abs=0.04)
    assert minutes.n_unique() == 60


@BY_SITE
def test_pressures_of_a_round_agree(written: Written, site: str) -> None:
    rounds = (
        written.table(site, "vitals")
        .filter(pl.col("vital_category").is_in(["sbp", "dbp", "map"]))
        .pivot("vital_category", index=[ID, "recorded_dttm"], values="vital_value")
        .drop_nulls()
    )
    assert (rounds["sbp"] > rounds["dbp"]).all()
    assert ((rounds["map"] < rounds["sbp"]) & (rounds["map"] > rounds["dbp"] - 6)).mean() > 0.995
    third = rounds["dbp"] + (rounds["sbp"] - rounds["dbp"]) / 3
    assert abs((rounds["map"] - third).mean()) < 4


@BY_SITE
def test_body_is_measured_rarely_and_stays_itself(written: Written, site: str) -> None:
    body = written.table(site, "vitals").filter(pl.col("vital_category").is_in(ONCE))
    by_stay = body.group_by("vital_category", ID).agg(
        pl.len().alias("n"), (pl.col("vital_value").max() - pl.col("vital_value").min()).alias("spread")
    )
    height, weight = (by_stay.filter(pl.col("vital_category") == name) for name in reversed(ONCE))
    assert height["n"].max() == 1
    assert weight["n"].max() > 3
    assert weight["spread"].median() < 5
    mornings = body.filter(pl.col("vital_category") == "weight_kg").with_columns(
        (pl.col("recorded_dttm") - LOCAL).dt.date().alias("date")
    )
    assert mornings.group_by(ID, "date").len()["len"].max() <= 2  # the first round may be the same day
    assert mornings.group_by(ID, "date").len()["len"].mean() < 1.1
    owners = written.table(site, "hospitalization").select(ID, "patient_id")
    tall = body.filter(pl.col("vital_category") == "height_cm").join(owners, on=ID)
    assert tall.group_by("patient_id").agg(pl.col("vital_value").n_unique())["vital_value"].max() == 1


def test_in_the_icu_temperature_is_taken_every_four_hours(written: Written) -> None:
    icu = written.truth("mimic", "hours").filter(pl.col("place") == "icu").height
    rows = written.beside_truth("mimic", "vitals")
    rows = rows.filter((pl.col("vital_category") == "temp_c") & (pl.col("place") == "icu"))
    assert rows.height / icu == pytest.approx(1 / 4, rel=0.08)


def test_that_is_at_hours_divisible_by_four(written: Written) -> None:
    rows = written.beside_truth("mimic", "vitals").filter(pl.col("place") == "icu")
    rows = rows.filter(pl.col("vital_category") == "temp_c")
    assert (clock(rows["recorded_dttm"]) % 4 == 0).mean() > 0.95


@pytest.mark.parametrize(("vital", "least"), [("heart_rate", 2.0), ("temp_c", 0.15), ("sbp", 1.5)])
def test_vitals_are_higher_by_day(written: Written, vital: str, least: float) -> None:
    rows = written.beside_truth("ucmc", "vitals").filter(pl.col("vital_category") == vital)
    hour = clock(rows["recorded_dttm"])
    day, night = (
        rows.filter(hour.is_in(hours) & (rows["place"] == "ward"))["vital_value"]
        for hours in ([14, 15, 16, 17], [2, 3, 4, 5])
    )
    error = np.sqrt(day.var() / len(day) + night.var() / len(night))
    assert day.mean() - night.mean() - least > SIGMAS * error


SIGNS = [
    *(("circulation", vital, sign) for vital, sign in (("heart_rate", +1), ("sbp", -1), ("map", -1))),
    *(("lungs", vital, sign) for vital, sign in (("spo2", -1), ("respiratory_rate", +1))),
    *(("inflammation", vital, +1) for vital in ("temp_c", "heart_rate", "respiratory_rate")),
    *(("bleeding", vital, sign) for vital, sign in (("heart_rate", +1), ("sbp", -1))),
    ("kidney", "respiratory_rate", +1),
]


@pytest.mark.parametrize(("organ", "vital", "sign"), SIGNS)
def test_a_failing_organ_moves_its_vitals(base: Simulated, organ: str, vital: str, sign: int) -> None:
    well, ill = (
        read_vitals(base.chart, moments(base.chart, **state), np.random.default_rng(0))
        for state in ({}, {organ: 2.0})
    )
    change = (ill - well)[:, VITALS.index(vital)] * sign
    assert np.mean(change) > 0.15 * well[:, VITALS.index(vital)].std()
    assert np.median(change) > 0


def test_the_healthy_have_normal_vitals(base: Simulated) -> None:
    values = read_vitals(base.chart, moments(base.chart), np.random.default_rng(0))
    normal = ((65, 90), (12, 19), (95, 99), (115, 140), (60, 82), (80, 100), (36.4, 37.2))
    for name, column, (low, high) in zip(VITALS, values.T, normal, strict=False):
        assert low < np.median(column) < high, name


def test_pressors_keep_the_pressure_and_sedation_calms_the_breath(base: Simulated) -> None:
    def medians(**state: float) -> dict[str, float]:
        values = read_vitals(base.chart, moments(base.chart, **state), np.random.default_rng(0))
        return dict(zip(VITALS, np.median(values, axis=0), strict=False))

    shock = medians(circulation=3.0)
    assert medians(circulation=3.0, norepinephrine=0.3)["map"] > shock["map"] + 3
    assert DEVICES[IMV] == "IMV"
    free, deep = medians(lungs=2.5), medians(lungs=2.5, device=float(IMV), sedation=3.0)
    assert deep["respiratory_rate"] < free["respiratory_rate"] - 2
    assert deep["heart_rate"] < free["heart_rate"]
