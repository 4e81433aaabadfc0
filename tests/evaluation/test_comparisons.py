from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score
from statsmodels.stats.multitest import multipletests

from ehrfm_core.evaluation.comparisons import compare
from ehrfm_core.evaluation.delong import areas
from ehrfm_core.evaluation.sites import ID
from ehrfm_core.outcomes import OUTCOMES
from ehrfm_core.study.layout import RESULT_FILES

ARM = {"train_site": "a", "test_site": "b", "repeat": 0}
RUNS = {
    ("probe", "zero_shot", "none", 0.0): 1.0,
    ("finetuned", "zero_shot", "none", 0.0): 1.4,
    ("baseline_n_tokens", "zero_shot", "none", 0.0): 0.4,
    ("probe", "adapted", "refit", 1.0): 1.1,
    ("probe", "adapted", "recalibrate", 1.0): 1.0,
    ("finetuned", "adapted", "finetune", 1.0): 1.3,
    ("baseline_n_tokens", "adapted", "refit", 1.0): 0.5,
    ("probe", "adapted", "refit", 0.05): 0.2,  # a draw: not compared
}


def made(n: int = 200, *, rate: float = 0.3, seed: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    rng = np.random.default_rng(seed)
    ids = [f"s{i:03d}" for i in range(n)]
    parts = []
    for outcome in OUTCOMES:
        labels = rng.random(n) < rate
        for (model, arm, method, fraction), signal in RUNS.items():
            p = 1 / (1 + np.exp(1 - signal * labels - rng.normal(size=n)))
            constant = ARM | {"model": model, "arm": arm, "adapt_method": method, "adapt_fraction": fraction}
            parts.append(
                pl.DataFrame({ID: ids, "label": labels, "probability": p}).with_columns(
                    *(pl.lit(value).alias(name) for name, value in constant.items()),
                    pl.lit(outcome).alias("outcome"),
                )
            )
    frame = pl.concat(parts).select(
        pl.col(name).cast(dtype) for name, dtype in RESULT_FILES["predictions"].items()
    )
    patients = pl.DataFrame({"test_site": "b", ID: ids, "patient_id": [f"p{i // 2}" for i in range(n)]})
    return frame.sample(fraction=1, shuffle=True, seed=seed), patients


def test_pairs_are_those_that_mean_something() -> None:
    table = compare(*made())
    assert dict(table.schema) == RESULT_FILES["comparisons"]
    names = ("first_model", "first_adapt_method", "second_model", "second_adapt_method")
    unchanged = table.filter(outcome="death", first_arm="zero_shot")
    assert set(unchanged.select(names).rows()) == {
        ("probe", "none", "baseline_n_tokens", "none"),
        ("finetuned", "none", "baseline_n_tokens", "none"),
        ("finetuned", "none", "probe", "none"),
    }
    adapted = table.filter(outcome="death", first_arm="adapted")
    assert set(adapted.filter(second_arm="adapted").select(names).rows()) == {
        ("probe", "refit", "baseline_n_tokens", "refit"),
        ("finetuned", "finetune", "baseline_n_tokens", "refit"),
        ("finetuned", "finetune", "probe", "refit"),
    }
    assert set(adapted.filter(second_arm="zero_shot").select(names).rows()) == {
        ("probe", "refit", "probe", "none"),
        ("probe", "recalibrate", "probe", "none"),
        ("finetuned", "finetune", "finetuned", "none"),
        ("baseline_n_tokens", "refit", "baseline_n_tokens", "none"),
    }


def test_differences_and_their_tests_are_those_of_the_predictions() -> None:
    predictions, patients = made()
    table = compare(predictions, patients)
    table = table.filter(first_arm="zero_shot")
    row = table.filter(outcome="icu", first_model="finetuned", second_model="probe").row(0, named=True)
    runs = [
        predictions.filter(outcome="icu", model=model, arm="zero_shot").sort(ID)
        for model in ("finetuned", "probe")
    ]
    labels = runs[0]["label"].to_numpy()
    scores = np.stack([run["probability"].to_numpy() for run in runs])
    one, other = (roc_auc_score(labels, score) for score in scores)
    assert row["difference"] == pytest.approx(one - other)
    who = patients.sort(ID)["patient_id"].to_numpy()
    expected = areas(labels, scores, who).difference(0, 1)
    assert (row["ci_low"], row["ci_high"], row["p_value"]) == pytest.approx(expected[1:])
    same = table.filter(first_model="finetuned", second_model="probe").sort("outcome")
    assert same["p_holm"].to_list() == pytest.approx(multipletests(same["p_value"], method="holm")[1])


def test_few_patients_give_no_p_value_and_one_class_no_row() -> None:
    few = compare(*made(40, rate=0.1, seed=3))
    assert few["difference"].null_count() == 0
    assert few["p_value"].null_count() == few["ci_low"].null_count() == few.height
    predictions, patients = made()
    none = predictions.with_columns(pl.lit(value=False).alias("label"))
    assert compare(none, patients).is_empty()
    assert dict(compare(none, patients).schema) == RESULT_FILES["comparisons"]
    one = patients.with_columns(pl.lit("p").alias("patient_id"))
    assert compare(predictions, one).is_empty()
