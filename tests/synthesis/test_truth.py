from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ehrfm_core.outcomes import OUTCOMES
from ehrfm_core.synthesis.hospital import SITES, hospitals
from ehrfm_core.synthesis.latent.physiology import COMORBIDITIES, ORGANS, SEVERITY
from ehrfm_core.synthesis.latent.step import RISKS
from ehrfm_core.synthesis.truth import WORSE_BY, true_stays
from tests.make_site import read
from tests.synthesis.make_hospital import ID, NOTHING, Written, simulate

BY_SITE = pytest.mark.parametrize("site", SITES)


@pytest.fixture(scope="module")
def labels(
    written: Written, alike: Written, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, pl.DataFrame]:
    """The cohort as the pipeline reads it from the tables, beside the truth."""
    folder: Path = tmp_path_factory.mktemp("cohort")
    sites = {site: (written, site) for site in SITES} | {"alike": (alike, "ucmc")}
    return {
        name: read(source.folder / site, folder / name).stays.join(source.truth(site, "stays"), on=ID)
        for name, (source, site) in sites.items()
    }


@pytest.mark.parametrize("name", [*SITES, "alike"])
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_what_the_pipeline_reads_is_what_happened(
    labels: dict[str, pl.DataFrame], name: str, outcome: str
) -> None:
    stays = labels[name]
    assert stays[outcome].null_count() == 0
    assert stays[outcome].sum() > 20
    assert (stays[outcome] == stays[f"happened_{outcome}"]).all()


@pytest.mark.parametrize("name", [*SITES, "alike"])
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_who_counts_for_the_pipeline_has_a_true_risk(
    labels: dict[str, pl.DataFrame], name: str, outcome: str
) -> None:
    stays = labels[name]
    counts = stays.select(OUTCOMES[outcome].counts()).to_series()
    assert (counts == stays[f"risk_{outcome}"].is_not_null()).all()
    assert (counts == stays[f"risk_{outcome}_se"].is_not_null()).all()
    if excluded := OUTCOMES[outcome].excluded_by:
        assert (stays[excluded] == ~counts).all()
        assert 50 < stays[excluded].sum() < stays.height / 2


@pytest.mark.parametrize("name", [*SITES, "alike"])
def test_every_stay_is_in_the_cohort(labels: dict[str, pl.DataFrame], name: str) -> None:
    stays = labels[name]
    assert stays.height == (1_600 if name == "alike" else 2_500)
    assert stays["los_hours"].min() > 24
    assert (np.floor(stays["age_right"]) == stays["age"]).all()


def test_risks_are_named_as_outcomes() -> None:
    assert list(OUTCOMES) == list(RISKS)


@BY_SITE
def test_risks_are_probabilities(written: Written, site: str) -> None:
    truth = written.truth(site, "stays")
    for name in RISKS:
        risk, error = (truth[f"risk_{name}{end}"].drop_nulls() for end in ("", "_se"))
        assert 0 <= risk.min() <= risk.max() <= 1
        assert error.min() >= 0
        assert risk.is_finite().all()


@BY_SITE
def test_severity_is_that_of_the_hours(written: Written, site: str) -> None:
    truth, hours = written.truth(site, "stays"), written.truth(site, "hours")
    at = hours.filter(pl.col("hour") == 24).select(ID, "severity")
    both = truth.join(at, on=ID)
    assert both.height == truth.height
    assert (both["severity_24h"] - both["severity"]).abs().max() < 0.006
    weights = sum(
        pl.col(organ).cast(pl.Float64).clip(0) * weight
        for organ, weight in zip(ORGANS, SEVERITY, strict=True)
    )
    assert hours.select((weights - pl.col("severity")).abs().max()).item() < 0.03
    peak = hours.group_by(ID).agg(pl.col("severity").max().alias("highest"))
    assert (
        truth.join(peak, on=ID).select(pl.col("highest") - pl.col("severity_peak")).to_series().abs() < 0.006
    ).all()


@BY_SITE
def test_who_deteriorates(written: Written, site: str) -> None:
    truth = written.truth(site, "stays")
    late = written.truth(site, "hours").filter(pl.col("hour") >= 24)
    rise = late.group_by(ID).agg(pl.col("severity").max().alias("late")).join(truth, on=ID)
    rise = rise.with_columns((pl.col("late") - pl.col("severity_24h") - WORSE_BY).alias("over"))
    clear = rise.filter((pl.col("over").abs() > 0.02) | pl.col("happened_death"))
    assert (clear["deteriorates"] == ((clear["over"] > 0) | clear["happened_death"])).all()
    assert 0.03 < truth["deteriorates"].mean() < 0.5
    deaths = (
        truth.group_by("deteriorates").agg(pl.col("risk_death").mean()).sort("deteriorates")["risk_death"]
    )
    assert deaths[1] > 3 * deaths[0]


@BY_SITE
def test_a_row_an_hour(written: Written, site: str) -> None:
    hours = written.truth(site, "hours")
    stays = written.stays(site)
    by_stay = hours.group_by(ID).agg(
        pl.len().alias("n"), pl.col("hour").max(), pl.col("hour").n_unique().alias("distinct")
    )
    both = by_stay.join(stays, on=ID)
    assert both.height == stays.height
    assert (both["n"] == both["hour"] + 1).all()
    assert (both["distinct"] == both["n"]).all()
    assert (both["n"] == (both["length"] / 60).ceil()).all()
    assert hours.null_count().sum_horizontal().item() == 0


@BY_SITE
def test_traits_explain_the_stay(written: Written, site: str) -> None:
    """The hidden ones too: who is iller and recovers more slowly stays longer and fares worse."""
    truth = written.truth(site, "stays").join(written.stays(site), on=ID)
    ranks = truth.select(
        pl.corr("illness", "severity_24h", method="spearman").alias("illness"),
        pl.corr("recovery", "length", method="spearman").alias("recovery"),
        pl.corr("pace", "length", method="spearman").alias("pace"),
        pl.corr("severity_24h", "risk_death", method="spearman").alias("severity"),
    )
    assert ranks["illness"].item() > 0.3
    assert ranks["recovery"].item() < -0.1
    assert ranks["pace"].item() < -0.3
    assert ranks["severity"].item() > 0.5
    assert set(COMORBIDITIES) <= set(truth.columns)
    ill = truth.filter("chronic_kidney")["severity_24h"].mean()
    assert ill > truth.filter(~pl.col("chronic_kidney"))["severity_24h"].mean()


def test_more_draws_move_the_risks_and_nothing_else() -> None:
    tables = simulate(hospitals(NOTHING)[0], 100).tables
    few, same, more = (true_stays(tables, np.random.default_rng(0), draws=n) for n in (2, 2, 3))
    assert few.equals(same)
    risks = [name for name in few.columns if name.startswith("risk_")]
    assert few.drop(risks).equals(more.drop(risks))
    assert not few["risk_death"].equals(more["risk_death"])
