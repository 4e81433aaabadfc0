"""A study that knows what it must not know is found out, and the token that gives it away is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ehrfm_core.outcomes import OUTCOMES
from ehrfm_core.study import open_study
from ehrfm_core.study.layout import result_file, site_file
from ehrfm_core.study.leaks import leaks, most_telling
from ehrfm_core.study.reader import Study
from ehrfm_core.tokens.tokenizer import Tokenizer
from ehrfm_core.tokens.window import model_window
from tests.make_study import make_study
from tests.study.test_verify import rewrite
from train.leak_gate import check_results

ID = "hospitalization_id"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_study(tmp_path_factory.mktemp("leaks") / "s", sites={"here": 160, "there": 90}, seed=4)


@pytest.fixture
def study(made: Path) -> Study:
    return open_study(made)


def slipped(
    study: Study, token: int, stays: pl.DataFrame, minute: float
) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """Timelines with a token at the end of what has happened by `minute`, in these stays."""

    def put(row: dict[str, list[float]]) -> dict[str, list[float]]:
        at = int(np.searchsorted(row["minutes"][:-2], minute, side="right"))
        return {
            "tokens": [*row["tokens"][:at], token, *row["tokens"][at:]],
            "minutes": [*row["minutes"][:at], minute, *row["minutes"][at:]],
        }

    def change(timelines: pl.DataFrame) -> pl.DataFrame:
        chosen = set(stays[ID])
        rows = [row | put(row) if row[ID] in chosen else row for row in timelines.iter_rows(named=True)]
        return pl.DataFrame(rows, schema=timelines.schema)

    return change


def with_outcome(study: Study, name: str) -> pl.DataFrame:
    return study.site_table("here", "stays").filter(OUTCOMES[name].counts(), pl.col(name))


def test_a_token_of_the_outcome_in_the_window_is_named(study: Study) -> None:
    tokenizer = Tokenizer.from_json(study.tokenizer())
    token = next(token for token in tokenizer.vocabulary if token.startswith("lab/"))
    stays, timelines = (study.site_table("here", name) for name in ("stays", "timelines"))
    clean = timelines.with_columns(
        pl.struct("tokens", "minutes").map_elements(
            lambda row: [t if t != tokenizer.vocabulary[token] else 1 for t in row["tokens"]],
            return_dtype=pl.List(pl.Int32),
        ).alias("tokens")
    )  # fmt: skip
    leaking = slipped(study, tokenizer.vocabulary[token], with_outcome(study, "long_los"), 60.0)(clean)
    found = most_telling(stays, model_window(leaking, tokenizer), tokenizer, study.outcomes)
    (one,) = (found_ for found_ in found if found_.outcome == "long_los")
    assert (one.token, one.area) == (token, 1.0)
    honest = most_telling(stays, model_window(timelines, tokenizer), tokenizer, study.outcomes)
    assert all(other.area < 0.9 for other in honest)


def test_leaks_are_found_in_the_files_of_a_study(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "s", sites={"here": 160, "there": 90}, seed=4)
    study = open_study(folder)
    tokenizer = Tokenizer.from_json(study.tokenizer())
    discharged = next(n for t, n in tokenizer.vocabulary.items() if t.startswith("discharge"))
    late = tokenizer.vocabulary["UNK"]
    long = with_outcome(study, "long_los")
    tested = study.site_table("there", "stays").filter(split="test")["patient_id"][0]
    before_harm = set(leaks(study))  # of timelines that were made up there is something to say
    harm: list[tuple[str, Callable[[pl.DataFrame], pl.DataFrame], tuple[str, ...]]] = [
        (
            site_file("here", "timelines"),
            slipped(study, discharged, long, 60.0),
            ("token of the discharge stands before the end",),
        ),
        (
            site_file("here", "timelines"),
            slipped(study, late, long, 60.0),  # what became known at discharge, written into the first hour
            ("the token UNK stands in 100% of the windows", "Long stay", "(AUC "),
        ),
        (
            site_file("there", "timelines"),
            lambda f: f.with_columns(pl.col("minutes").list.reverse()),
            ("are not in the order of time",),
        ),
        (
            result_file("subsamples"),
            lambda f: pl.DataFrame([("there", 0, tested, 0.5)], schema=f.schema, orient="row"),
            ("were drawn that its training split lacks",),
        ),
    ]
    for relative, change, words in harm:
        before = (folder / relative).read_bytes(), (folder / "study.json").read_bytes()
        rewrite(folder, relative, change)
        findings = sorted(set(leaks(open_study(folder))) - before_harm)
        assert any(all(word in one for word in words) and relative in one for one in findings), findings
        (folder / relative).write_bytes(before[0])
        (folder / "study.json").write_bytes(before[1])
    assert set(leaks(open_study(folder))) == before_harm


def test_a_note_of_the_evaluation_names_what_is_too_good(study: Study) -> None:
    metrics = study.result("metrics")
    chosen = (
        (pl.col("metric") == "roc_auc") & (pl.col("outcome") == "long_los") & (pl.col("model") == "probe")
    )
    better = metrics.with_columns(
        estimate=pl.when(chosen).then(0.995).otherwise("estimate"),
        n_events=pl.when(chosen).then(11).otherwise("n_events"),
    )
    notes = set(check_results(study, better)) - set(check_results(study, metrics))
    assert notes
    assert all("Long stay" in note and "too good to be true" in note for note in notes)
    few = better.with_columns(n_events=pl.when(chosen).then(10).otherwise("n_events"))
    assert check_results(study, few) == check_results(study, metrics)
