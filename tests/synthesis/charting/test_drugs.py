from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from ehrfm_core.synthesis.charting.drugs import (
    ACTIONS,
    DOSES,
    INFUSIONS,
    SEPSIS,
    SHORTEST_RUN,
    chart_doses,
    infusion_rates,
)
from ehrfm_core.synthesis.charting.nursing import OPERATED
from ehrfm_core.synthesis.hospital import SITES
from ehrfm_core.synthesis.latent.care import ANTIBIOTIC, CODE, COMFORT, NOREPINEPHRINE, SEDATION, STEROID
from ehrfm_core.synthesis.latent.physiology import DIABETES
from ehrfm_core.synthesis.latent.step import REASON
from tests.synthesis.make_hospital import ID, Simulated, Written

BY_SITE = pytest.mark.parametrize("site", SITES)
ADMIN = "admin_dttm"
SEDATIVES = ("propofol", "dexmedetomidine", "midazolam", "fentanyl", "cisatracurium")


@pytest.fixture(scope="module")
def rates(base: Simulated) -> dict[str, np.ndarray]:
    return infusion_rates(base.chart, np.random.default_rng(0))


@BY_SITE
def test_an_infusion_starts_changes_and_stops(written: Written, site: str) -> None:
    """In this order, and with a dose unless it stops."""
    rows = written.table(site, "medication_admin_continuous").sort(ID, "med_category", ADMIN)
    action = rows["mar_action_category"]
    assert set(action) == set(ACTIONS)
    assert ((rows["med_dose"] > 0) == (action != "stop")).all()
    assert ((rows["mar_action_group"] == "not_administered") == (action == "stop")).all()
    same = rows.select(pl.struct(ID, "med_category") == pl.struct(ID, "med_category").shift(-1)).to_series()
    follows = set(zip(action[:-1].filter(same[:-1]), action[1:].filter(same[:-1]), strict=True))
    assert follows == {
        ("start", "dose_change"),
        ("start", "stop"),
        ("dose_change", "dose_change"),
        ("dose_change", "stop"),
        ("stop", "start"),
    }
    repeated = rows.with_columns(pl.col("med_dose").shift().over(ID, "med_category").alias("before"))
    assert not (repeated["med_dose"] == repeated["before"]).any()


@BY_SITE
def test_who_leaves_alive_has_nothing_running(written: Written, site: str) -> None:
    rows = written.timed(site, "medication_admin_continuous", ADMIN).sort(ID, "med_category", ADMIN)
    rows = rows.join(written.truth(site, "stays").select(ID, "happened_death"), on=ID)
    last = rows.group_by(ID, "med_category").agg(pl.col("mar_action_category", "happened_death").last())
    assert (last.filter(~pl.col("happened_death"))["mar_action_category"] == "stop").all()
    first = rows.group_by(ID, "med_category").agg(pl.col("mar_action_category").first())
    assert (first["mar_action_category"] == "start").all()


def test_an_infusion_that_has_begun_runs_for_some_hours(
    base: Simulated, rates: dict[str, np.ndarray]
) -> None:
    """Unless the stay ends."""
    stay = base.chart.stay
    for name, least in (("heparin", 12), ("pantoprazole", 24), ("furosemide", SHORTEST_RUN)):
        on = rates[name] > 0
        change = np.flatnonzero((np.diff(on.astype(int), prepend=0) != 0) | (np.diff(stay, prepend=-1) != 0))
        length, running = np.diff(change, append=len(on)), on[change]
        ended_with_stay = np.append(stay[change[1:]] != stay[change[:-1]], True)
        runs = length[running & ~ended_with_stay]
        assert len(runs) > 10, name
        assert runs.min() >= least, name


@BY_SITE
def test_drugs_have_clifs_group_and_unit(written: Written, site: str) -> None:
    for name, known in (("medication_admin_continuous", INFUSIONS), ("medication_admin_intermittent", DOSES)):
        rows = written.table(site, name)
        found = rows.select("med_category", "med_group", "med_dose_unit").unique().rows()
        assert {drug for drug, _, _ in found} <= set(known)
        assert len(found) > 7
        assert all(tuple(known[drug][:2]) == (group, unit) for drug, group, unit in found)


@BY_SITE
def test_nothing_is_given_before_admission_or_after_discharge(written: Written, site: str) -> None:
    for name in ("medication_admin_continuous", "medication_admin_intermittent"):
        rows = written.timed(site, name, ADMIN)
        assert rows.select((pl.col("minute") >= 0).all() & (pl.col("minute") < pl.col("length")).all()).item()


@BY_SITE
def test_norepinephrine_runs_where_it_truly_does(written: Written, site: str) -> None:
    """What is charted as running at a full hour beside the truth, which is not rounded as pumps are set."""
    drug = written.timed(site, "medication_admin_continuous", ADMIN)
    drug = drug.filter(pl.col("med_category") == "norepinephrine").select(ID, "minute", "med_dose")
    hours = written.truth(site, "hours").with_columns((60 * pl.col("hour").cast(pl.Int64)).alias("minute"))
    hours = hours.filter(pl.col(ID).is_in(drug[ID].unique().implode())).sort("minute")
    both = hours.join_asof(drug.sort("minute"), on="minute", by=ID, check_sortedness=False)
    difference = both["norepinephrine"] - both["med_dose"].fill_null(0)
    assert (both["norepinephrine"] > 0).sum() > 1000
    assert difference.abs().max() < 0.016


def test_sedatives_and_paralysis_only_at_a_ventilator(base: Simulated, rates: dict[str, np.ndarray]) -> None:
    sedated = base.chart.care_of(SEDATION) > 0
    for name in SEDATIVES:
        running = rates[name] > 0
        assert running.any()
        if name != "cisatracurium":
            assert sedated[running].all(), name
        assert base.chart.ventilated[running].mean() > 0.99, name
    some = np.any([rates[name] > 0 for name in SEDATIVES], axis=0)
    assert some[sedated].mean() > 0.95, "who is ventilated is sedated"


def test_deeper_sedation_is_more(base: Simulated, rates: dict[str, np.ndarray]) -> None:
    depth = base.chart.care_of(SEDATION)
    means = [rates["fentanyl"][depth == level].mean() for level in range(4)]
    assert means == sorted(means)
    assert means[0] == 0


def test_who_gets_what(base: Simulated, rates: dict[str, np.ndarray]) -> None:
    chart, icu = base.chart, base.chart.in_icu
    diabetic = chart.has(DIABETES, chart.stay) > 0
    # a run lasts six hours at least, also where the patient leaves the ICU before
    assert diabetic[rates["insulin"] > 0].all()
    assert icu[rates["insulin"] > 0].mean() > 0.9
    comfort = chart.care_of(CODE) == COMFORT
    assert comfort[rates["morphine"] > 0].all()
    assert (rates["morphine"][comfort] > 0).mean() > 0.9
    shock = chart.care_of(NOREPINEPHRINE) > 0
    assert ((rates["norepinephrine"] > 0) <= shock).all()
    assert shock[rates["vasopressin"] > 0].all()
    for name, rate in rates.items():
        assert (rate >= 0).all(), name
        assert (rate > 0).any(), name


def test_antibiotics_only_while_they_are_meant_and_every_so_many_hours(base: Simulated) -> None:
    chart = base.chart
    stay, minute, drug = chart_doses(chart, np.random.default_rng(0))
    row = base.stays.offset[stay] + minute // 60
    names = np.array(list(DOSES))[drug]
    treated = base.stays.care[row, ANTIBIOTIC] > 0
    reason = base.stays.traits[stay, REASON]
    every = {
        "vancomycin": 12,
        "cefepime": 8,
        "piperacillin_tazobactam": 6,
        "ceftriaxone": 24,
        "azithromycin": 24,
    }
    for name, interval in every.items():
        own = names == name
        assert DOSES[name][0] == SEPSIS
        assert own.sum() > 50
        assert treated[own].all(), name
        order = np.lexsort((minute[own], stay[own]))
        hour, whose = minute[own][order] // 60, stay[own][order]
        gap = np.diff(hour)[whose[1:] == whose[:-1]]
        assert (gap == interval).mean() > 0.9, name
        assert gap.min() > 0
    assert np.isin(reason[names == "cefazolin"], OPERATED).all()
    assert (base.stays.care[row, STEROID] > 0)[names == "dexamethasone"].all()
    begun = np.unique(chart.stay[chart.care_of(ANTIBIOTIC) > 0])
    assert np.isin(begun, stay[np.isin(names, list(every))]).mean() > 0.97, "who is treated is given some"


def test_steroids_in_covid(written: Written) -> None:
    given = written.table("ucmc", "medication_admin_intermittent").filter(
        pl.col("med_category") == "dexamethasone"
    )
    reason = given.join(written.truth("ucmc", "stays"), on=ID)["reason"]
    assert len(reason) > 30
    assert (reason == "covid").all()
    assert "dexamethasone" not in set(written.table("mimic", "medication_admin_intermittent")["med_category"])
