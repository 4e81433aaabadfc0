"""How much the prediction suffers when events are left out: change in AUC on the same stays."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from ehrfm_core.evaluation.intervals import percentile_interval, replicates
from ehrfm_core.evaluation.metrics import Ranking
from ehrfm_core.evaluation.probes import Probe
from ehrfm_core.outcomes import OUTCOMES, Outcomes
from ehrfm_core.study.layout import MORE_RESULT_FILES

Redacted = tuple[str, float, int]  # dropped, share, repeat
NOTHING: Redacted = ("none", 0.0, 0)


def redaction_rows(
    site: str,
    stays: pl.DataFrame,
    states: Mapping[Redacted, np.ndarray],
    probes: Mapping[str, Probe],
    outcomes: Outcomes = OUTCOMES,
    *,
    seed: int,
    n_bootstrap: int,
) -> pl.DataFrame:
    """Rows of `redaction.parquet` for the test stays of a site.

    Row i of `stays` and of every array of `states` (n × D, among them that of NOTHING) is the same stay. The
    interval is of the paired change, resampling patients; null where a class is missing or where fewer than
    100 resamples have both.
    """
    rows: list[tuple[object, ...]] = []
    for name, probe in probes.items():
        outcome = outcomes[name]
        counted = stays.select(outcome.counts()).to_series().to_numpy()
        labels = stays[name].fill_null(value=False).to_numpy()[counted]
        patients = stays["patient_id"].to_numpy()[counted]
        n, n_events = len(labels), int(labels.sum())
        if not 0 < n_events < n:
            rows += [(site, name, *what, None, None, None, None, n, n_events) for what in states]
            continue
        rankings = [Ranking.of(labels, probe.probability(x[counted])) for x in states.values()]
        whole = np.ones((1, n))
        aucs = np.array([ranking.roc_auc(whole)[0] for ranking in rankings])
        drawn = replicates(
            [ranking.roc_auc for ranking in rankings],
            patients,
            n_replicates=n_bootstrap,
            rng=np.random.default_rng(seed),
        )
        base = list(states).index(NOTHING)
        for k, what in enumerate(states):
            interval = percentile_interval(drawn[k] - drawn[base])
            change = None if k == base else float(aucs[k] - aucs[base])
            rows.append((site, name, *what, float(aucs[k]), change, interval.low, interval.high, n, n_events))
    return pl.DataFrame(rows, schema=MORE_RESULT_FILES["redaction"], orient="row")
