from __future__ import annotations

from dataclasses import asdict

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ehrfm_core.errors import UserError
from ehrfm_core.evaluation.site_classifier import tell_sites_apart
from ehrfm_core.synthesis.hospital import (
    DIFFERING,
    GROUPS,
    PARTS,
    RACES,
    SITES,
    hospitals,
    shift_parts,
)
from ehrfm_core.synthesis.latent.physiology import REASONS
from tests.synthesis.make_hospital import ID, NOTHING, Written, tables_of, write

STAYS = 160
SOMEBODY = ("clif_patient", "clif_hospitalization", "clif_adt", "clif_code_status")
TRUE = ("truth/ucmc/stays", "truth/ucmc/hours")


# what --shift says


@given(st.lists(st.sampled_from(PARTS), min_size=1, max_size=5), st.sampled_from(["", " "]))
def test_parts_in_any_order(names: list[str], space: str) -> None:
    assert shift_parts(f",{space}".join(names)) == frozenset(names)


def test_groups_stand_for_their_parts() -> None:
    assert shift_parts("all") == frozenset(PARTS)
    assert shift_parts("institution") == frozenset(PARTS) - {"time"}
    assert shift_parts("none") == frozenset()
    assert shift_parts(" all ") == frozenset(PARTS)


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=12))
def test_anything_else_is_one_sentence(text: str) -> None:
    names = [name.strip() for name in text.split(",")]
    if names[0] in GROUPS and len(names) == 1:
        return
    if all(name in PARTS for name in names):
        return
    with pytest.raises(UserError) as caught:
        shift_parts(text)
    assert "population, coverage, policy, measurement, time" in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "tme", "all,time", "none,none", "population,,time", "Time", "time;policy"]
)
def test_what_is_no_part_is_named(text: str) -> None:
    with pytest.raises(UserError, match="is none of population, coverage"):
        shift_parts(text)


# what a part changes in the second hospital


@given(st.sets(st.sampled_from(PARTS)))
def test_a_part_changes_its_own_field_alone(names: set[str]) -> None:
    first, second = hospitals(frozenset(names))
    alike, same = hospitals(NOTHING)
    assert (first.name, second.name) == SITES
    fields = dict(zip(PARTS, ("population", "coverage", "policy", "measurement", "calendar"), strict=True))
    for part, field in fields.items():
        differs = repr(getattr(second, field)) != repr(getattr(first, field))
        assert differs == (part in names)
    assert repr(asdict(first)) == repr(asdict(alike))
    assert repr(asdict(same) | {"name": SITES[0]}) == repr(asdict(alike))


def test_shares_sum_to_one() -> None:
    for hospital in hospitals(frozenset(PARTS)):
        population = hospital.population
        assert population.race.sum() == pytest.approx(1, abs=0.005)
        assert population.reason.sum() == pytest.approx(1, abs=0.005)
        assert (len(population.race), len(population.reason)) == (len(RACES), len(REASONS))
        assert hospital.measurement.only <= DIFFERING


@pytest.fixture(scope="module")
def by_part(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Written]:
    """The two hospitals under no shift, each part alone, and all."""
    folder = tmp_path_factory.mktemp("parts")
    parts = {name: frozenset({name}) for name in PARTS} | {"none": NOTHING, "all": frozenset(PARTS)}
    return {name: write(folder / name, stays=STAYS, parts=some, seed=5) for name, some in parts.items()}


def changed(by_part: dict[str, Written], part: str) -> set[str]:
    """Tables of the second hospital and its truth that are not byte for byte as without a shift."""
    plain, shifted = (tables_of(by_part[name].folder) for name in ("none", part))
    assert plain.keys() == shifted.keys()
    names = {name.removesuffix(".parquet") for name in plain if plain[name] != shifted[name]}
    return {name.removeprefix("ucmc/") for name in names}


@pytest.mark.parametrize("part", [*PARTS, "all"])
def test_the_first_hospital_is_always_the_same(by_part: dict[str, Written], part: str) -> None:
    assert not {name for name in changed(by_part, part) if "mimic" in name}


def test_coverage_changes_what_is_charted_and_nobody(by_part: dict[str, Written]) -> None:
    found = changed(by_part, "coverage")
    assert found == {"clif_vitals", "clif_patient_assessments", "clif_respiratory_support"}
    for table in ("vitals", "patient_assessments", "respiratory_support"):
        plain, more = (by_part[name].table("ucmc", table).height for name in ("none", "coverage"))
        assert more > 1.5 * plain


def test_measurement_changes_what_is_read_and_nobody(by_part: dict[str, Written]) -> None:
    found = changed(by_part, "measurement")
    assert found == {"clif_labs", "clif_patient_assessments", "clif_respiratory_support"}
    plain, shifted = (by_part[name] for name in ("none", "measurement"))
    support, other = (of.table("ucmc", "respiratory_support") for of in (plain, shifted))
    by_mode = ("mode_category", "pressure_control_set", "flow_rate_set")
    assert support.drop(by_mode).equals(other.drop(by_mode))
    assert "Pressure-Regulated Volume Control" in set(other["mode_category"])
    # the assay of the same drop of blood reads 8 % more creatinine
    when = [ID, "lab_collect_dttm"]
    creatinine, higher = (
        of.table("ucmc", "labs").filter(pl.col("lab_category") == "creatinine") for of in (plain, shifted)
    )
    both = creatinine.join(higher, on=when, suffix="_other")
    assert both.height > 0.9 * creatinine.height
    ratio = both["lab_value_numeric_other"].mean() / both["lab_value_numeric"].mean()
    assert ratio == pytest.approx(1.08, abs=0.01)
    names, others = (set(of.table("ucmc", "labs")["lab_category"]) for of in (plain, shifted))
    first, second = (hospital.measurement.only for hospital in hospitals(frozenset(PARTS)))
    assert names - others == first - second
    assert others - names == second - first


@pytest.mark.parametrize("part", ["population", "policy", "time", "all"])
def test_the_other_parts_change_the_stays_themselves(by_part: dict[str, Written], part: str) -> None:
    found = changed(by_part, part)
    people = {"clif_patient"} if part != "policy" else set()
    assert found >= {"clif_hospitalization", "clif_adt", "clif_vitals", "clif_labs", *TRUE} | people


@pytest.mark.parametrize("part", ["coverage", "measurement"])
def test_those_two_leave_stays_and_truth_as_they_are(by_part: dict[str, Written], part: str) -> None:
    assert not changed(by_part, part) & {*SOMEBODY, *TRUE}


def test_a_population_differs_as_it_says(by_part: dict[str, Written]) -> None:
    plain, shifted = (by_part[name].table("ucmc", "patient") for name in ("none", "population"))
    black = pl.col("race_category") == "Black or African American"
    assert shifted.select(black.mean()).item() > plain.select(black.mean()).item() + 0.3
    ages = [
        by_part[name].table("ucmc", "hospitalization")["age_at_admission"] for name in ("none", "population")
    ]
    assert ages[1].mean() < ages[0].mean()


def test_time_moves_the_calendar_and_brings_covid(by_part: dict[str, Written]) -> None:
    years = {
        name: by_part[name].table("ucmc", "hospitalization")["admission_dttm"].dt.year()
        for name in ("none", "time")
    }
    assert years["none"].max() <= 2020
    assert years["time"].is_between(2020, 2022).all()
    reasons = {name: by_part[name].truth("ucmc", "stays")["reason"] for name in ("none", "time")}
    assert not (reasons["none"] == "covid").any()
    assert (reasons["time"] == "covid").mean() > 0.02


# whether the sites can be told apart


def features(hospital: Written, site: str) -> pl.DataFrame:
    """A row a stay: age, sex, how it began, and counts by category in the first day."""
    stays = hospital.table(site, "hospitalization").join(hospital.table(site, "patient"), on="patient_id")
    frame = stays.select(
        ID,
        "patient_id",
        pl.col("age_at_admission").cast(pl.Float64).alias("age"),
        (pl.col("sex_category") == "Female").cast(pl.Float64).alias("female"),
        (pl.col("admission_type_category") == "ed").cast(pl.Float64).alias("ed"),
    )
    for table, time, category in (
        ("labs", "lab_collect_dttm", "lab_category"),
        ("vitals", "recorded_dttm", "vital_category"),
        ("adt", "in_dttm", "location_category"),
    ):
        rows = hospital.timed(site, table, time).filter(pl.col("minute") <= 24 * 60)
        counts = rows.pivot(category, index=ID, values="minute", aggregate_function="len")
        frame = frame.join(counts, on=ID, how="left")
    return frame


def told_apart(hospital: Written) -> tuple[float, float, float]:
    """ROC-AUC of the site by these features on patients not fitted on, and its 95 % interval."""
    frame = pl.concat([features(hospital, site) for site in SITES], how="diagonal").fill_null(0)
    is_second = np.repeat([False, True], [hospital.stays(site).height for site in SITES])
    values = frame.drop(ID, "patient_id").cast(pl.Float64).to_numpy()
    auc, interval = tell_sites_apart(
        values, is_second, frame["patient_id"].to_numpy(), seed=0, n_bootstrap=300
    )
    assert auc is not None
    assert interval.low is not None
    assert interval.high is not None
    return auc, interval.low, interval.high


def test_two_hospitals_of_one_distribution_cannot_be_told_apart(alike: Written) -> None:
    auc, low, high = told_apart(alike)
    assert low <= 0.5 <= high
    assert high - low < 0.1
    assert abs(auc - 0.5) < 0.05


def test_with_every_part_shifted_they_can(written: Written) -> None:
    auc, low, _ = told_apart(written)
    assert auc > 0.9
    assert low > 0.9
