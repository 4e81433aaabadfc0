"""Names of models and arms in words, and the one row per arm that the screen shows."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from dashboard import data, theme
from dashboard.charts.probabilities import METHODS as LOCAL
from dashboard.charts.probabilities import Curve
from dashboard.charts.transfer import DASHES
from dashboard.each_row import each_row
from dashboard.roc import ARM
from ehrfm_core.study import Study

MODELS = {
    "probe": "Probe on the foundation model",
    "probe_pooled": "Probe on the window's mean states",
    "finetuned": "Fine-tuned model",
    "baseline_token_counts": "Baseline: count of each token",
    "baseline_boosting": "Baseline: gradient boosting on values",
    "baseline_n_tokens": "Baseline: number of tokens",
    "baseline_age_sex": "Baseline: age and sex",
    "baseline_shuffled": "Check: labels shuffled",
}
METHODS = {
    "refit": "re-fitted",
    "local": "local stays alone",
    "recalibrate": "level moved",
    "recalibrate_slope": "level and slope moved",
    "finetune": "fine-tuned",
    "pretrain": "pretrained further",
    "scratch": "pretrained on local stays alone",
}
SAME_RANKING = ("recalibrate", "recalibrate_slope")  # as unchanged: no curve of their own
# of the colours that no hospital in the picture has: what is never drawn together may share one
_INK = {"refit": 0, "local": 1, "finetune": 1, "recalibrate": 2, "recalibrate_slope": 3}
_MODEL_ORDER = {"probe": 0, "probe_pooled": 1, "finetuned": 2}
_ARM_ORDER = {"in_distribution": 0, "zero_shot": 1, "adapted": 2}


def model_label(model: str) -> str:
    """A model's name in words.

    >>> model_label("baseline_token_counts"), model_label("probe")
    ('Baseline: count of each token', 'Probe on the foundation model')
    """
    if model.startswith("baseline_") and model not in MODELS:
        return "Baseline: " + model.removeprefix("baseline_").replace("_", " ")
    return MODELS.get(model, model.replace("_", " ").capitalize())


def arm_label(row: dict[str, object]) -> str:
    """An arm in words, e.g. `mimic → ucmc, unchanged`."""
    way = f"{row['train_site']} → {row['test_site']}"
    if row["arm"] == "in_distribution":
        return way
    if row["arm"] == "zero_shot":
        return f"{way}, unchanged"
    share = row["adapt_fraction"]
    part = f" on {100 * float(share):g} %" if share else ""  # type: ignore[arg-type]
    method = str(row["adapt_method"] or "adapted")
    return f"{way}, {METHODS.get(method, method)}{part}"


def arm_labels(rows: pl.DataFrame) -> pl.Series:
    """The arm of each row in words."""
    columns = ("arm", "train_site", "test_site", "adapt_method", "adapt_fraction")
    return each_row(rows, lambda *row: arm_label(dict(zip(columns, row, strict=True))), *columns)


def ink(study: Study, row: Mapping[str, object]) -> str:
    """Colour of a run: its hospital's, or, adapted, the way's own; the same in every view of the model."""
    colours = theme.site_colours(study.sites)
    own = colours.get(str(row["test_site"]), theme.NEUTRAL)
    if row["arm"] != "adapted":
        return own
    if row["adapt_method"] in ("pretrain", "scratch"):  # as where local data come a little at a time
        return LOCAL[str(row["adapt_method"])][1]
    spare = [colour for colour in theme.SITE_COLOURS if colour not in (own, colours.get(study.source))]
    return spare[_INK.get(str(row["adapt_method"]), 0) % len(spare)]


def runs(study: Study, rows: pl.DataFrame) -> list[Curve]:
    """The runs of a table of results in words: label, colour, dash and rows of each."""
    keys = ["test_site", "arm", "train_site", "adapt_method", "adapt_fraction"]
    found: list[Curve] = []
    for key, part in rows.group_by(keys, maintain_order=True):
        row = dict(zip(keys, key, strict=True))
        found.append((arm_label(row), ink(study, row), DASHES.get(str(row["arm"]), "solid"), part))
    return found


def auc_rows(study: Study, metrics: pl.DataFrame, outcome: str) -> pl.DataFrame:
    """One row a model and arm: its ROC-AUC over all stays, in a fixed order, with `label` and `repeats`.

    Of the adapted runs those on the largest share of local stays, and none that ranks as the model unchanged.
    Where an arm was repeated (other local samples), the row is that of the median estimate.
    """
    largest = pl.col("adapt_fraction").max().over("model", "test_site", "adapt_method")
    rows = metrics.filter(
        (pl.col("outcome") == outcome) & (pl.col("metric") == "roc_auc") & (pl.col("subgroup") == "all")
    )
    rows = rows.filter(pl.col("adapt_fraction") == largest, ~pl.col("adapt_method").is_in(SAME_RANKING)).sort(
        "estimate", nulls_last=True, maintain_order=True
    )
    key = [column for column in ARM if column != "repeat"]
    known = pl.col("estimate").count().cast(pl.Int64)
    picked = rows.group_by(key, maintain_order=True).agg(
        pl.exclude(key).get(pl.max_horizontal((known - 1) // 2, pl.lit(0))),
        repeats=pl.len(),
        lowest=pl.col("estimate").min(),
        highest=pl.col("estimate").max(),
    )
    order = picked.with_columns(
        label=arm_labels(picked),
        model_label=each_row(picked, model_label, "model"),
        _arm=pl.col("arm").replace_strict(_ARM_ORDER, default=3, return_dtype=pl.Int32),
        _site=pl.col("test_site").replace_strict(
            {s: i for i, s in enumerate(study.sites)}, default=99, return_dtype=pl.Int32
        ),
        _model=pl.col("model").replace_strict(_MODEL_ORDER, default=2, return_dtype=pl.Int32),
    )
    return order.sort("_site", "_arm", "adapt_fraction", "_model", "model").drop("_arm", "_site", "_model")


def areas(study: Study, model: str, **keys: object) -> pl.DataFrame:
    """ROC-AUC of one model a row an outcome, of the median repeat; `keys` choose the arm."""
    rows = data.result(study, "metrics").filter(
        pl.col("metric") == "roc_auc",
        pl.col("subgroup") == "all",
        pl.col("model") == model,
        *(pl.col(column) == value for column, value in keys.items()),
    )
    order = list(study.outcomes)
    rows = rows.filter(pl.col("outcome").is_in(order)).drop_nulls("estimate").sort("estimate")
    middle = rows.group_by("outcome", maintain_order=True).agg(
        pl.exclude("outcome").get((pl.len().cast(pl.Int64) - 1) // 2)
    )
    place = pl.col("outcome").replace_strict({o: i for i, o in enumerate(order)}, return_dtype=pl.Int32)
    return middle.sort(place)
