"""How many stays of its own a hospital needs to rank as well as a model that was brought to it."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl
from sklearn.metrics import roc_auc_score

from ehrfm_core.evaluation.adaptation import draws, entries
from ehrfm_core.evaluation.sites import ID
from ehrfm_core.outcomes import Outcome
from ehrfm_core.study.reader import Study
from train.recipes.raw_values import RawValues, fit_on


def local_curve(
    study: Study, raw: RawValues, outcome: Outcome, tested: pl.DataFrame, *, repeats: int, seed: int
) -> Iterator[str]:
    """Boosting on charted values, fitted on growing shares of the training split of the study's source.

    `tested` has the columns hospitalization_id and label. Shares are drawn `repeats` times, each draw of more
    stays holding the one of fewer; those without both classes are left out.
    """
    site = study.source
    training = study.site_table(site, "stays").filter(pl.col("split") == "train", outcome.counts())
    features, labels = raw.of(tested[ID], raw.columns), tested["label"].to_numpy().astype(bool)
    rows = []
    for draw in draws(training, entries(training, site=site, repeats=repeats, seed=seed)):
        local = training[draw.rows]
        if local[outcome.name].n_unique() == 2:
            risk = fit_on(local, raw, outcome, seed=seed).probability(features)
            events = int(local[outcome.name].sum())
            rows.append((draw.fraction, len(local), events, float(roc_auc_score(labels, risk))))
    yield f"Boosting on charted values, fitted on shares of {site}'s training split, on the same stays:"
    yield ""
    yield "| share | stays | events | ROC-AUC, mean of the draws | lowest and highest |"
    yield "|---|---|---|---|---|"
    drawn = pl.DataFrame(rows, schema=["share", "stays", "events", "auc"], orient="row")
    statistics = (pl.mean("auc").alias("mean"), pl.min("auc").alias("low"), pl.max("auc").alias("high"))
    summary = drawn.group_by("share").agg(pl.mean("stays", "events"), *statistics, pl.len().alias("n"))
    for share, stays, events, mean, low, high, n in summary.sort("share").iter_rows():
        spread = f"{low:.3f} to {high:.3f} ({n} draws)" if n > 1 else ""
        yield f"| {share:.1%} | {stays:,.0f} | {events:,.0f} | {mean:.3f} | {spread} |"
    yield ""
