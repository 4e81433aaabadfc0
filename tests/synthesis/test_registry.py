from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from ehrfm_core.synthesis import registry
from ehrfm_core.synthesis.hospital import SITES
from ehrfm_core.synthesis.latent.care import CODE, CODES
from tests.synthesis.make_hospital import ID, Simulated, Written, clock

BY_SITE = pytest.mark.parametrize("site", SITES)
PATIENT = "patient_id"


@BY_SITE
def test_places_tile_the_stay(written: Written, site: str) -> None:
    """From admission to discharge without gap or overlap, each place another than the one before."""
    rows = written.table(site, "adt").join(written.stays(site), on=ID).sort(ID, "in_dttm")
    by_stay = rows.group_by(ID).agg(
        (pl.col("in_dttm").first() == pl.col("admission_dttm").first()).alias("begins"),
        (pl.col("out_dttm").last() == pl.col("discharge_dttm").first()).alias("ends"),
        (pl.col("in_dttm").slice(1) == pl.col("out_dttm").head(pl.len() - 1)).all().alias("joined"),
        (pl.col("location_category").slice(1) != pl.col("location_category").head(pl.len() - 1))
        .all()
        .alias("moves"),
        (pl.col("out_dttm") > pl.col("in_dttm")).all().alias("lasts"),
    )
    assert by_stay.height == written.stays(site).height
    assert by_stay.select(pl.all_horizontal("begins", "ends", "joined", "moves", "lasts").all()).item()
    assert rows.height > 1.5 * by_stay.height


@pytest.mark.parametrize("hospital", ["base", "shifted"])
def test_an_icu_stay_has_its_row_in_the_minute_it_began(
    hospital: str, request: pytest.FixtureRequest
) -> None:
    simulated: Simulated = request.getfixturevalue(hospital)
    tables, stays = simulated.tables, simulated.stays
    rows = registry.adt(tables, np.random.default_rng(0)).filter(pl.col("location_category") == "icu")
    first = dict(rows.group_by(ID).agg(pl.col("in_dttm").min()).rows())
    reached = np.flatnonzero(stays.first_icu >= 0)
    when = tables.time(reached, np.round(stays.first_icu[reached] * 60).astype(np.int64))
    assert len(reached) > 500
    assert first == dict(zip(tables.stay_ids.gather(reached), when, strict=True))


@BY_SITE
def test_the_place_charted_is_the_true_one(written: Written, site: str) -> None:
    hours = written.truth(site, "hours").join(written.stays(site), on=ID)
    hours = hours.with_columns(
        (pl.col("admission_dttm") + pl.duration(hours=pl.col("hour"))).alias("in_dttm")
    ).sort("in_dttm")
    adt = written.table(site, "adt").select(ID, "in_dttm", "location_category").sort("in_dttm")
    both = hours.join_asof(adt, on="in_dttm", by=ID, check_sortedness=False)
    assert (both["location_category"] == both["place"]).all()


@BY_SITE
def test_only_icus_have_a_type(written: Written, site: str) -> None:
    adt = written.table(site, "adt")
    assert (adt["location_type"].is_not_null() == (adt["location_category"] == "icu")).all()
    assert adt["location_type"].n_unique() == 6
    assert set(adt["hospital_id"]) == {site}


@BY_SITE
def test_patients_have_one_row_and_die_at_their_last_discharge(written: Written, site: str) -> None:
    patients, stays = written.table(site, "patient"), written.table(site, "hospitalization")
    assert patients[PATIENT].is_unique().all()
    assert set(patients[PATIENT]) == set(stays[PATIENT])
    last = (
        stays.sort("admission_dttm")
        .group_by(PATIENT)
        .agg(pl.col("discharge_dttm", "discharge_category").last())
    )
    both = patients.join(last, on=PATIENT)
    dead = pl.col("discharge_category") == "Expired"
    assert both.select((pl.col("death_dttm").is_not_null() == dead).all()).item()
    died = both.filter(dead)
    assert died.height > 20
    assert (died["death_dttm"] == died["discharge_dttm"]).all()
    assert stays.filter(dead)[PATIENT].is_unique().all()


@BY_SITE
def test_stays_of_a_patient_follow_each_other(written: Written, site: str) -> None:
    stays = written.table(site, "hospitalization").sort(PATIENT, "admission_dttm")
    after = stays.with_columns(
        pl.col("discharge_dttm", "age_at_admission").shift().over(PATIENT).name.suffix("_before")
    )
    again = after.drop_nulls("discharge_dttm_before")
    assert again.height > 300
    assert (again["admission_dttm"] - again["discharge_dttm_before"]).min().total_seconds() > 24 * 3600
    assert (again["age_at_admission"] >= again["age_at_admission_before"]).all()
    assert (again["age_at_admission"] > again["age_at_admission_before"]).any()


@BY_SITE
def test_age_is_that_of_the_birth_date(written: Written, site: str) -> None:
    stays = written.table(site, "hospitalization").join(written.table(site, "patient"), on=PATIENT)
    years = (pl.col("admission_dttm").dt.date() - pl.col("birth_date")).dt.total_days() / 365.25
    years = stays.select(years).to_series()
    assert ((years - stays["age_at_admission"]).is_between(-0.01, 1.01)).all()
    assert stays["age_at_admission"].is_between(18, 102).all()


@BY_SITE
def test_admissions_say_how_they_came(written: Written, site: str) -> None:
    stays = written.table(site, "hospitalization").join(written.truth(site, "stays"), on=ID)
    elective = stays["admission_type_category"] == "elective"
    assert (elective == stays["planned"]).all()
    assert clock(stays.filter(elective)["admission_dttm"]).is_between(6, 8).all()
    first = written.table(site, "adt").sort("in_dttm").group_by(ID).agg(pl.col("location_category").first())
    both = stays.join(first, on=ID)
    assert ((both["location_category"] == "ed") == (both["admission_type_category"] == "ed")).all()
    assert set(both["location_category"]) <= {"ed", "ward", "stepdown", "procedural"}


@BY_SITE
def test_the_old_and_frail_go_to_a_facility(written: Written, site: str) -> None:
    stays = written.table(site, "hospitalization").join(written.truth(site, "stays"), on=ID)
    assert ((stays["discharge_category"] == "Expired") == stays["happened_death"]).all()
    home, facility = (
        stays.filter(pl.col("discharge_category").str.starts_with(name)) for name in ("Home", "Skilled")
    )
    assert home.height > facility.height > 200
    assert facility["age"].mean() > home["age"].mean() + 3
    assert facility["frailty"].mean() > home["frailty"].mean() + 0.2


def test_code_status_is_told_at_admission_and_at_each_change(base: Simulated) -> None:
    tables, chart = base.tables, base.chart
    rows = registry.code_status(tables, np.random.default_rng(0))
    code = chart.care_of(CODE)
    changes = (chart.stay[1:] == chart.stay[:-1]) & (code[1:] != code[:-1])
    assert rows.height == len(base.stays.hours) + changes.sum()
    assert set(rows["code_status_category"]) == set(CODES)
    everybody = np.arange(len(base.stays.hours))
    admitted = pl.DataFrame(
        {
            PATIENT: tables.patient_ids.gather(base.stays.patient),
            "start_dttm": tables.time(everybody, 0 * everybody),
            "truly": np.array(CODES)[code[chart.hour == 0].astype(np.int64)],
        }
    ).join(rows, on=[PATIENT, "start_dttm"], how="left")
    assert (admitted["truly"] == admitted["code_status_category"]).all()
