"""How many stays of its own a hospital needs to rank as well as a model that was brought to it."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl
from sklearn.metrics import roc_auc_score

from ehrfm_core.evaluation.adaptation import draws, entries
from ehrfm_core.evaluation.sites import ID
from ehrfm_core.outcomes import Outcome
from ehrfm_core.study.reader import Study
from train.recipes.open_together import together
from train.recipes.raw_values import RawValues, fit_on

HEAD = (
    *("share", "stays", "events", "ROC-AUC, mean of the draws", "lowest and highest"),
    *("averaged with the model brought", "lowest and highest"),
)
COLUMNS = {"share": pl.Float64, "stays": pl.Int64, "events": pl.Int64}
COLUMNS |= {"alone": pl.Float64, "both": pl.Float64}


def local_curve(
    study: Study,
    raw: RawValues,
    outcome: Outcome,
    tested: pl.DataFrame,
    brought: pl.DataFrame | None,
    *,
    repeats: int,
    seed: int,
) -> Iterator[str]:
    """Boosting on charted values, fitted on growing shares of the training split of the study's source.

    `tested` has the columns hospitalization_id and label; `brought`, of the same stays in the same order, has
    the probability by a model from elsewhere, or is None. Shares are drawn `repeats` times, each draw of more
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
            both = None
            if brought is not None:
                both = float(roc_auc_score(labels, together(risk, brought["probability"])))
            rows.append((draw.fraction, len(local), events, float(roc_auc_score(labels, risk)), both))
    yield f"Boosting on charted values, fitted on shares of {site}'s training split, on the same stays:"
    yield ""
    yield "| " + " | ".join(HEAD) + " |"
    yield "|---" * len(HEAD) + "|"
    drawn = pl.DataFrame(rows, schema=COLUMNS, orient="row")
    spreads = [
        part
        for name in ("alone", "both")
        for part in (pl.mean(name), pl.min(name).alias(f"{name}_low"), pl.max(name).alias(f"{name}_high"))
    ]
    summary = drawn.group_by("share").agg(pl.mean("stays", "events"), pl.len().alias("n"), *spreads)
    for share, stays, events, n, *found in summary.sort("share").iter_rows():
        cells = [f"{share:.1%}", f"{stays:,.0f}", f"{events:,.0f}", *_spread(n, *found[:3])]
        yield "| " + " | ".join((*cells, *_spread(n, *found[3:]))) + " |"
    yield ""


def _spread(n: int, mean: float | None, low: float | None, high: float | None) -> tuple[str, str]:
    if mean is None:
        return "", ""
    return f"{mean:.3f}", f"{low:.3f} to {high:.3f} ({n} draws)" if n > 1 else ""
