from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ehrfm_core.errors import UserError
from ehrfm_core.live import Instrument
from ehrfm_core.outcomes import OUTCOMES
from ehrfm_core.study import Study, open_study
from ehrfm_core.tokens.vocabulary import family

DEMO = Path(__file__).parents[1] / "data_samples" / "studies" / "demo-two-hospitals"
ID = "hospitalization_id"


@pytest.fixture(scope="module")
def study() -> Study:
    return open_study(DEMO)


@pytest.fixture(scope="module")
def instrument(study: Study) -> Instrument:
    return Instrument.of(study)


def stay_of(study: Study) -> str:
    """A stay of middling length that counts for every outcome."""
    stays = study.site_table(study.source, "stays").filter(
        pl.all_horizontal(outcome.counts().alias(name) for name, outcome in OUTCOMES.items())
    )
    return str(stays.filter(pl.col("n_tokens") > 80).sort("n_tokens")[ID][0])


def test_a_stay_read_live_is_what_the_study_holds(study: Study, instrument: Instrument) -> None:
    stay = stay_of(study)
    reading = instrument.read(*instrument.open(study, study.source, stay))
    row = pl.col(ID) == stay
    jumps = study.site_table(study.source, "jumps").filter(row)
    # alone or among others: half a percent of bfloat16, far less in float32
    assert np.allclose(reading.jumps, jumps["jump"][0].to_numpy(), rtol=0.05, atol=0.05)
    stored = study.site_table(study.source, "dynamics").filter(row)
    for column in ("path_length", "hourly_path_length", "anomaly_score"):
        assert reading.measures[column][0] == pytest.approx(stored[column][0], rel=0.02), column
    for name, probe in instrument.probes.items():
        assert reading.risks[name][-1] == pytest.approx(probe.probability(reading.state), abs=2e-3)
        assert reading.hourly[f"risk_{name}"][-1] == pytest.approx(float(probe.probability(reading.state)))
        assert np.isfinite(reading.risks[name]).all()
        assert jumps[f"risk_{name}"][0][-1] == pytest.approx(reading.risks[name][-1], abs=0.02)


def test_its_place_on_the_maps_is_the_study_s(study: Study, instrument: Instrument) -> None:
    stay = stay_of(study)
    reading = instrument.read(*instrument.open(study, study.source, stay))
    stored = study.site_table(study.source, "paths").filter(pl.col(ID) == stay).sort("hour")
    assert reading.hourly["hour"].to_list() == stored["hour"].to_list()
    for column in ("pca_x", "pca_y"):  # UMAP may jump where a state lies between two neighbourhoods
        assert np.allclose(reading.hourly[column], stored[column], atol=0.3), column
    assert set(stored.columns) - {ID} <= set(reading.hourly.columns)


def test_an_edit_changes_what_comes_after_it_and_nothing_before(study: Study, instrument: Instrument) -> None:
    prefix, events = instrument.open(study, study.source, stay_of(study))
    before = instrument.read(prefix, events)
    place = events.height // 2
    changed = events.with_row_index().filter(pl.col("index") != place).drop("index")
    after = instrument.read(prefix, changed)
    same = int((before.tokens[: len(after.tokens)] == after.tokens).argmin())
    assert 0 < same < len(after.tokens)
    assert np.allclose(before.jumps[:same], after.jumps[:same], rtol=0.05, atol=0.05)
    assert not np.allclose(before.jumps[same : len(after.jumps)], after.jumps[same:], rtol=0.05, atol=0.05)


def test_a_second_is_enough(study: Study, instrument: Instrument) -> None:
    """A bound of sanity, ten times what it takes; the figure itself is for the bench."""
    prefix, events = instrument.open(study, study.source, stay_of(study))
    instrument.read(prefix, events)
    begun = time.perf_counter()
    instrument.read(prefix, events)
    assert time.perf_counter() - begun < 5


def test_events_can_be_left_out_of_one_stay(study: Study, instrument: Instrument) -> None:
    prefix, events = instrument.open(study, study.source, stay_of(study))
    reading = instrument.read(prefix, events)
    less = instrument.read_without(reading, share=0.5, dropped="most")
    assert len(prefix) < len(less.tokens) < len(reading.tokens)


def test_no_event_at_all_leaves_the_prefix(study: Study, instrument: Instrument) -> None:
    prefix, events = instrument.open(study, study.source, stay_of(study))
    reading = instrument.read(prefix, events.clear())
    assert np.array_equal(reading.tokens, prefix)
    assert reading.measures["event_path_length"][0] == 0
    vocabulary = {i: token for token, i in instrument.tokenizer.vocabulary.items()}
    assert "lab" not in {family(vocabulary[int(i)]) for i in reading.tokens}


def test_an_unknown_stay_is_named(study: Study, instrument: Instrument) -> None:
    with pytest.raises(UserError, match="no stay 'nobody'|no stay nobody"):
        instrument.open(study, study.source, "nobody")
