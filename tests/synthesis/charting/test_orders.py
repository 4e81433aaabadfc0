from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from ehrfm_core.synthesis.charting.laboratory import LABS
from ehrfm_core.synthesis.charting.orders import LOST, MORNING, PAUSE, wanted
from ehrfm_core.synthesis.hospital import DIFFERING, PARTS, SITES, hospitals
from ehrfm_core.synthesis.latent.care import CODE, COMFORT
from tests.synthesis.make_hospital import ID, SIGMAS, Simulated, Written, clock

METABOLIC = (
    *("sodium", "potassium", "chloride", "bicarbonate"),
    *("bun", "creatinine", "glucose_serum", "calcium_total"),
)
TOGETHER = {
    "metabolic": METABOLIC,
    "blood count": ("hemoglobin", "wbc", "platelet_count"),
    "coagulation": ("pt", "inr", "ptt"),
    "gas": ("ph_arterial", "pco2_arterial", "po2_arterial", "so2_arterial"),
    "liver": ("alt", "ast", "alkaline_phosphatase", "bilirubin_total", "albumin"),
}
BY_SITE = pytest.mark.parametrize("site", SITES)


@BY_SITE
@pytest.mark.parametrize("panel", TOGETHER)
def test_a_panel_is_drawn_together(written: Written, site: str, panel: str) -> None:
    """Its results share order and collection, but for one of a hundred that is lost."""
    labs = written.table(site, "labs").filter(pl.col("lab_category").is_in(TOGETHER[panel]))
    drawn = labs.group_by(ID, "lab_collect_dttm").agg(
        pl.col("lab_category").n_unique().alias("n"),
        pl.len().alias("rows"),
        pl.col("lab_order_dttm").n_unique().alias("orders"),
        pl.col("lab_result_dttm").n_unique().alias("results"),
    )
    assert drawn.height > 300
    assert (drawn["n"] == drawn["rows"]).all()
    assert drawn["orders"].max() == drawn["results"].max() == 1
    size = len(TOGETHER[panel])
    expected = size * (1 - LOST) / (1 - LOST**size)
    error = SIGMAS * np.sqrt(size * LOST / drawn.height)
    assert abs(drawn["n"].mean() - expected) < error


@BY_SITE
def test_labs_are_ordered_then_collected_then_resulted(written: Written, site: str) -> None:
    labs = written.table(site, "labs")
    times = [pl.col(f"lab_{name}_dttm") for name in ("order", "collect", "result")]
    assert labs.select((times[0] <= times[1]).all() & (times[1] < times[2]).all()).item()
    wait = labs.with_columns((times[2] - times[1]).dt.total_minutes().alias("wait"))
    medians = dict(wait.group_by("lab_category").agg(pl.col("wait").median()).rows())
    assert medians["ph_arterial"] < medians["hemoglobin"] < medians["sodium"] < medians["crp"]
    assert wait["wait"].max() < 24 * 60


@BY_SITE
def test_nothing_is_ordered_before_admission_or_resulted_after_discharge(written: Written, site: str) -> None:
    labs = written.table(site, "labs").join(written.stays(site), on=ID)
    assert (labs["lab_order_dttm"] >= labs["admission_dttm"]).all()
    assert (labs["lab_result_dttm"] < labs["discharge_dttm"]).all()


@BY_SITE
def test_nobody_asks_again_before_the_result_is_there(written: Written, site: str) -> None:
    for lab in ("sodium", "wbc", "inr", "albumin"):
        drawn = written.timed(site, "labs", "lab_collect_dttm").filter(pl.col("lab_category") == lab)
        gap = drawn.sort(ID, "minute").select(pl.col("minute").diff().over(ID)).to_series().drop_nulls()
        assert len(gap) > 100
        assert gap.min() > (PAUSE - 1) * 60


@BY_SITE
def test_on_a_ward_the_sicker_are_drawn_more_often(written: Written, site: str) -> None:
    """Informative presence: that there is a lab says something."""
    columns = {"lab_collect_dttm": "minute"}
    drawn = written.timed(site, "labs", *columns).filter(pl.col("lab_category").is_in(["sodium", "wbc"]))
    drawn = drawn.group_by(ID, (pl.col("minute") // 60).cast(pl.Int32).alias("hour")).len("n")
    hours = written.truth(site, "hours").filter((pl.col("place") == "ward") & (pl.col("hour") > 3))
    hours = hours.join(drawn, on=[ID, "hour"], how="left").with_columns(pl.col("n").fill_null(0))
    edges = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, np.inf]
    rates = []
    for low, high in pairwise(edges):
        part = hours.filter((pl.col("severity") >= low) & (pl.col("severity") < high))
        assert part.height > 2000
        rates.append(part["n"].mean())
    assert rates == sorted(rates)
    assert rates[-1] > 1.8 * rates[0]


def test_between_rounds_only_for_cause(base: Simulated) -> None:
    chart = base.chart
    afternoon = (chart.tick % 24 == 14) & (chart.hour > 3) & ~chart.in_icu & (chart.care_of(CODE) != COMFORT)
    for name in ("metabolic", "blood_count", "liver"):
        p = wanted(chart)[name][afternoon]
        calm, ill = (
            p[mask].mean() for mask in (chart.severity[afternoon] < 1, chart.severity[afternoon] > 3)
        )
        assert ill > 2 * calm, name
        assert calm < 0.02, name


@BY_SITE
def test_rounds_of_blood_are_in_the_morning(written: Written, site: str) -> None:
    labs = written.beside_truth(site, "labs", "lab_collect_dttm")
    ward = labs.filter((pl.col("lab_category") == "sodium") & (pl.col("place") == "ward"))
    assert clock(ward["lab_collect_dttm"]).is_in([MORNING, MORNING + 1]).mean() > 0.5


@BY_SITE
def test_each_hospital_does_its_own_labs(written: Written, site: str) -> None:
    hospital = hospitals(frozenset(PARTS))[SITES.index(site)]
    found = set(written.table(site, "labs")["lab_category"].unique())
    assert found == set(LABS) - DIFFERING | hospital.measurement.only


@BY_SITE
def test_values_are_what_an_analyser_can_tell(written: Written, site: str) -> None:
    labs = written.table(site, "labs")
    assert labs["lab_value_numeric"].null_count() == 0
    assert (labs["lab_value"].cast(pl.Float64) == labs["lab_value_numeric"]).all()
    for (name,), part in labs.group_by("lab_category"):
        lab, values = LABS[str(name)], part["lab_value_numeric"]
        assert values.is_between(lab.low, lab.high).all(), name
        assert (values.round(lab.decimals) == values).all(), name
        assert values.n_unique() > 5, name
        assert part["reference_unit"].unique().to_list() == [lab.unit]
        at_the_edge = ((values == lab.low) | (values == lab.high)).mean()
        assert at_the_edge < 0.08, name


def test_probabilities_are_some_and_little_is_drawn_for_comfort(base: Simulated) -> None:
    comfort = base.chart.care_of(CODE) == COMFORT
    assert comfort.sum() > 500
    for name, p in wanted(base.chart).items():
        assert ((p >= 0) & (p <= 1)).all(), name
        if name != "fingerstick":
            assert p[comfort].mean() < 0.3 * p[~comfort & (base.chart.severity > 2)].mean(), name


@BY_SITE
def test_panels_of_one_hour_are_ordered_together_and_drawn_at_once(written: Written, site: str) -> None:
    """On a ward's morning round, who has a metabolic panel has a blood count more often than the others."""
    labs = written.beside_truth(site, "labs", "lab_collect_dttm")
    drawn = labs.group_by(ID, "hour").agg(
        pl.col("lab_category").is_in(METABOLIC).any().alias("metabolic"),
        pl.col("lab_category").is_in(TOGETHER["blood count"]).any().alias("count"),
        pl.col("lab_collect_dttm").n_unique().alias("times"),
    )
    both = drawn.filter(pl.col("metabolic") & pl.col("count"))
    assert both.height > 5000
    assert (both["times"] == 1).mean() > 0.999  # the last minute of an hour can belong to the next
    hours = written.truth(site, "hours").join(written.stays(site), on=ID)
    hours = hours.with_columns(((clock(hours["admission_dttm"]) + hours["hour"]) % 24).alias("clock"))
    morning = (pl.col("place") == "ward") & (pl.col("clock") == MORNING) & (pl.col("hour") > 3)
    rounds = hours.filter(morning).join(drawn, on=[ID, "hour"], how="left")
    rounds = rounds.with_columns(pl.col("metabolic", "count").fill_null(value=False))
    with_it, without = (rounds.filter(pl.col("metabolic") == has)["count"].mean() for has in (True, False))
    assert with_it > without + 0.3
    assert with_it < 0.95
