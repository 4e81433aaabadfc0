from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from ehrfm_core.synthesis.charting.nursing import ASSESSMENTS, NAMES, chart_assessments
from ehrfm_core.synthesis.hospital import SITES
from ehrfm_core.synthesis.latent.care import DEVICE, IMV, SEDATION
from ehrfm_core.synthesis.latent.physiology import BRAIN
from tests.synthesis.make_hospital import ID, Simulated, Written

BY_SITE = pytest.mark.parametrize("site", SITES)
RANGES = {
    "gcs_eye": (1, 4),
    "gcs_verbal": (1, 5),
    "gcs_motor": (1, 6),
    "gcs_total": (3, 15),
    "RASS": (-5, 4),
    "braden_total": (6, 23),
    "braden_friction": (1, 3),
    "braden_mobility": (1, 4),
    "Morse Fall Scale": (0, 125),
    "NRS": (0, 10),
}


def wide(written: Written, site: str, names: list[str]) -> pl.DataFrame:
    """Assessments made at one time, a column each."""
    rows = written.table(site, "patient_assessments").filter(pl.col("assessment_category").is_in(names))
    return rows.pivot("assessment_category", index=[ID, "recorded_dttm"], values="numerical_value")


@BY_SITE
def test_an_assessment_has_a_number_or_an_answer(written: Written, site: str) -> None:
    rows = written.table(site, "patient_assessments")
    for (name,), part in rows.group_by("assessment_category"):
        group, answers = ASSESSMENTS[str(name)]
        assert part["assessment_group"].unique().to_list() == [group]
        if answers:
            assert part["numerical_value"].null_count() == part.height
            assert set(part["categorical_value"]) == set(answers)
        else:
            assert part["numerical_value"].null_count() == 0
            assert part["categorical_value"].null_count() == part.height
            if name in RANGES:
                assert part["numerical_value"].is_between(*RANGES[str(name)]).all(), name
            assert part["numerical_value"].n_unique() > 2


@BY_SITE
def test_nothing_is_assessed_before_admission_or_after_discharge(written: Written, site: str) -> None:
    rows = written.timed(site, "patient_assessments")
    assert rows.select((pl.col("minute") >= 0).all() & (pl.col("minute") < pl.col("length")).all()).item()


def test_the_parts_of_a_scale_sum_to_its_total(written: Written) -> None:
    coma = wide(written, "mimic", [name for name in NAMES if name.startswith("gcs_")])
    assert coma.null_count().sum_horizontal().item() == 0
    assert (coma["gcs_eye"] + coma["gcs_verbal"] + coma["gcs_motor"] == coma["gcs_total"]).all()
    for site in SITES:
        skin = wide(written, site, [name for name in NAMES if name.startswith("braden_")])
        parts = [name for name in skin.columns if name.startswith("braden_") and name != "braden_total"]
        assert len(parts) == 6
        assert (skin.select(pl.sum_horizontal(parts)).to_series() == skin["braden_total"]).all()


def test_the_second_hospital_asks_in_other_words(written: Written) -> None:
    first, second = (set(written.table(site, "patient_assessments")["assessment_category"]) for site in SITES)
    assert {name for name in first if name.startswith("gcs_")}
    assert "AVPU" not in first
    assert "AVPU" in second
    assert not {name for name in second if name.startswith("gcs_")}


@BY_SITE
def test_the_ventilated_are_sedated(written: Written, site: str) -> None:
    rows = written.beside_truth(site, "patient_assessments")
    rass = rows.filter(pl.col("assessment_category") == "RASS")
    ventilated, others = (
        rass.filter((pl.col("device") == "IMV") == on)["numerical_value"] for on in (True, False)
    )
    assert ventilated.mean() < -1.2
    assert abs(others.mean()) < 0.5
    if site == "mimic":
        coma = rows.filter(pl.col("assessment_category") == "gcs_total")
        means = [
            coma.filter((pl.col("device") == "IMV") == on)["numerical_value"].mean() for on in (True, False)
        ]
        assert means[0] < 10 < 13 < means[1]


def test_who_has_a_tube_says_nothing(base: Simulated) -> None:
    chart = base.chart
    found = chart_assessments(chart, np.random.default_rng(0))
    verbal = found.kind == NAMES.index("gcs_verbal")
    row = base.stays.offset[found.stay[verbal]] + found.minute[verbal] // 60
    ventilated = (base.stays.care[row, DEVICE] == IMV) & (base.stays.care[row + 1, DEVICE] == IMV)
    assert (found.value[verbal][ventilated] == 1).all()
    assert (found.value[verbal][~ventilated] > 3).mean() > 0.8


def test_a_failing_brain_shows(base: Simulated) -> None:
    found = chart_assessments(base.chart, np.random.default_rng(0))
    row = base.stays.offset[found.stay] + found.minute // 60
    brain, awake = base.stays.organs[row, BRAIN], base.stays.care[row, SEDATION] == 0
    for name, sign in (("gcs_total", -1), ("cam_total", +1), ("braden_sensory", -1)):
        own = (found.kind == NAMES.index(name)) & awake
        groups = [own & (brain > low) & (brain <= high) for low, high in ((-2, 0.5), (0.5, 1.3), (1.3, 6))]
        means = [sign * found.value[group].mean() for group in groups]
        assert means == sorted(means), name
        assert means[-1] > means[0] + 0.05


@BY_SITE
def test_wards_assess_only_where_they_chart(written: Written, site: str) -> None:
    rows = written.beside_truth(site, "patient_assessments").filter(pl.col("place") == "ward")
    hours = written.truth(site, "hours").filter(pl.col("place") == "ward").height
    assert (rows.height / hours < 0.01) if site == "mimic" else (rows.height / hours > 0.5)


@BY_SITE
def test_the_icu_assesses_in_its_rhythm(written: Written, site: str) -> None:
    name = "gcs_total" if site == "mimic" else "AVPU"
    rows = written.beside_truth(site, "patient_assessments")
    rows = rows.filter((pl.col("assessment_category") == name) & (pl.col("place") == "icu"))
    hours = written.truth(site, "hours").filter(pl.col("place") == "icu").height
    interval = 4 if site == "mimic" else 3
    assert rows.height / hours == pytest.approx(1 / interval, rel=0.05)
