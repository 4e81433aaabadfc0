"""The challenges as PhysioNet gives them, where they lie beside the checkout: published counts."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from ehrfm_core.sources.cinc2012 import import_cinc2012
from ehrfm_core.sources.cinc2019 import import_cinc2019
from ehrfm_core.sources.clif_writing import Imported, admission_of

ID = "hospitalization_id"


def source(shared_data: Path, name: str) -> Path:
    folder = shared_data / name
    if not folder.is_dir():
        pytest.skip(f"needs {name} beside the checkout")
    return folder


@pytest.fixture(scope="module")
def challenge_2012(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Imported]:
    out = tmp_path_factory.mktemp("cinc2012")
    return out, import_cinc2012([source(shared_data, "cinc2012")], out)


@pytest.fixture(scope="module")
def challenge_2019(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Imported]:
    out = tmp_path_factory.mktemp("cinc2019")
    return out, import_cinc2019([source(shared_data, "cinc2019")], out)


def test_set_a_has_the_published_counts(challenge_2012: tuple[Path, Imported]) -> None:
    out, done = challenge_2012
    stays = pl.read_parquet(out / "clif_hospitalization.parquet")
    assert stays.height == 4_000
    assert (stays["discharge_category"] == "Expired").sum() == 554
    hours = (stays["discharge_dttm"] - stays["admission_dttm"]).dt.total_hours()
    assert (hours > 7 * 24).sum() == 2_572
    assert stays["discharge_dttm"].null_count() == 60
    assert done.counts.missing == {"Height": 1_894, "Weight": 326}
    assert not any("cut off" in note or "no parameter" in note for note in done.notes)


def test_three_records_of_set_a_hold_nothing(challenge_2012: tuple[Path, Imported]) -> None:
    out, done = challenge_2012
    charted = pl.concat(
        pl.read_parquet(out / f"clif_{name}.parquet", columns=[ID])
        for name in ("vitals", "labs", "patient_assessments", "respiratory_support")
    )
    stays = pl.read_parquet(out / "clif_hospitalization.parquet")
    empty = stays.join(charted, on=ID, how="anti")[ID].sort().to_list()
    # the fourth has one haematocrit, for which CLIF 2.1 has no category
    assert empty == ["139060", "140501", "140936", "141264"]
    assert any(note.startswith("4 records have nothing charted") for note in done.notes)


def test_hospital_a_and_part_of_b_have_the_published_counts(challenge_2019: tuple[Path, Imported]) -> None:
    out, _ = challenge_2019
    found = {}
    for hospital in ("hospital_a", "hospital_b"):
        outcomes = pl.read_parquet(out / hospital / "outcomes.parquet")
        found[hospital] = (outcomes.height, outcomes["event_time"].count())
    assert found == {"hospital_a": (20_336, 1_790), "hospital_b": (5_000, 279)}


def test_every_onset_of_a_record_that_begins_septic_lies_in_the_first_day(
    challenge_2019: tuple[Path, Imported],
) -> None:
    """Onset is at its time or before: after the window it could not be told from one within it."""
    out, _ = challenge_2019
    for hospital in ("hospital_a", "hospital_b"):
        outcomes = pl.read_parquet(out / hospital / "outcomes.parquet").drop_nulls()
        first = (
            pl.scan_parquet(out / hospital / "clif_vitals.parquet")
            .group_by(ID)
            .agg(pl.col("recorded_dttm").min().alias("first"))
            .collect()
        )
        begun = outcomes.join(first, on=ID).filter(
            pl.col("event_time") - timedelta(hours=6) <= pl.col("first")
        )
        hours = [
            (row["event_time"] - admission_of(row[ID])) / timedelta(hours=1)
            for row in begun.iter_rows(named=True)
        ]
        assert hours
        assert max(hours) <= 24
