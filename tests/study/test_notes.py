from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ehrfm_core.evaluation.scores import score
from ehrfm_core.study.layout import RESULT_FILES
from ehrfm_core.study.manifest import read_manifest
from ehrfm_core.study.notes import KINDS, UNKNOWN, grouped, summary

STUDIES = Path(__file__).parents[2] / "data_samples/studies"
ONCE = ("One site only", "Fine-tuning at the source")  # of which a study has one: not of any kind


@pytest.mark.parametrize("name", sorted(path.parent.name for path in STUDIES.glob("*/study.json")))
def test_every_note_of_the_bundled_studies_is_in_one_group(name: str) -> None:
    notes = read_manifest(STUDIES / name).notes
    groups = grouped(notes)
    assert sorted(note for group in groups for note in group.notes) == sorted(notes)
    unknown = [note for group in groups if group.kind == UNKNOWN for note in group.notes]
    assert all(note.startswith(ONCE) for note in unknown)


def test_what_nobody_foresaw_stands_first() -> None:
    notes = ["Tuning loss 1.0 nats a token; guessing from token frequencies gives 3.", "The disk was full."]
    assert [group.kind for group in grouped(notes)] == [UNKNOWN, KINDS[-1]]
    assert grouped([]) == []


@pytest.mark.parametrize(
    "note",
    [
        "ucmc: No table clif_labs: its events are missing.",
        "ucmc: clif_labs has no lab_value_numeric: lab/value is missing.",
        "ucmc: clif_labs: 12 rows have no lab_result_dttm; they are left out.",
        "ucmc: clif_labs: 3 values have a unit that cannot be converted (g 3); their events have no value.",
        "3 of 40 stays at ucmc have no representation of their first day and are left out of the evaluation.",
    ],
)
def test_missing_data_are_never_folded(note: str) -> None:
    (group,) = grouped([note] * 50)
    assert group.kind == KINDS[0]
    assert summary([note] * 50) == [note] * 50


def test_the_sentences_of_the_evaluation_are_known() -> None:
    """Notes that `score` writes for a site and outcome come in dozens: none may stand among the first."""
    rng = np.random.default_rng(0)
    n = 120
    ids = [f"s{i:03}" for i in range(n)]
    label = np.arange(n) < 40
    parts = []
    for outcome, known in (("death", label), ("icu", np.arange(n) < 3), ("imv", np.zeros(n, dtype=bool))):
        for model, strength in (("probe", 0.1), ("baseline_age_sex", 0.3), ("baseline_n_tokens", 3.0)):
            probability = 1 / (1 + np.exp(2 - strength * known - rng.normal(size=n)))
            parts.append(
                pl.DataFrame(
                    {"hospitalization_id": ids, "label": known, "probability": probability}
                ).with_columns(
                    model=pl.lit(model),
                    arm=pl.lit("in_distribution"),
                    train_site=pl.lit("a"),
                    test_site=pl.lit("a"),
                    adapt_method=pl.lit("none"),
                    adapt_fraction=pl.lit(0.0),
                    repeat=pl.lit(0, RESULT_FILES["predictions"]["repeat"]),
                    outcome=pl.lit(outcome),
                )
            )
    patients = pl.DataFrame({"test_site": "a", "hospitalization_id": ids, "patient_id": ids})
    notes = score(pl.concat(parts), patients, seed=0, n_bootstrap=120).notes
    groups = {group.kind.many: group.notes for group in grouped(notes)}
    assert UNKNOWN.many not in groups
    assert len(groups["outcomes with too few events to be read at a site"]) == 2
    assert len(groups["comparisons that a baseline wins"]) >= 1
    assert "outcomes at a site whose intervals needed a formula, or have none" in groups


def test_the_terminal_gets_a_heading_for_many_of_a_kind_and_each_of_a_few() -> None:
    few = "Death at {}: only 3 of the 57 test stays have the event, too few for the figures to be read."
    notes = [few.format(site) for site in "abcd"]
    assert summary(notes[:3]) == notes[:3]
    assert summary(["The disk was full.", *notes]) == [
        "The disk was full.",
        "4 outcomes with too few events to be read at a site",
    ]
