"""Models beside the oracle in figures: differences, calibration of the true risk, and the transfer gap."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import reduce

import numpy as np
import polars as pl

from ehrfm_core.evaluation.intervals import LEVEL, Interval, auc_interval_from
from ehrfm_core.evaluation.metrics import roc_auc
from ehrfm_core.evaluation.oracle import Comparison, Replicated, Run, generator
from ehrfm_core.outcomes import OUTCOMES
from ehrfm_core.study.layout import RESULT_FILES, Schema

SMALL_LOSS = 0.005  # of AUC, through Monte Carlo error
HIGH_RELIABILITY = 0.95
NOISY_COPIES = 20

_FIGURES: Schema = {"estimate": pl.Float64(), "ci_low": pl.Float64(), "ci_high": pl.Float64()}
ESTIMATES: Schema = {
    "quantity": pl.String(),
    "outcome": pl.String(),
    "test_site": pl.String(),
    **{column: RESULT_FILES["predictions"][column] for column in Run._fields},
    **_FIGURES,
    "n": pl.Int64(),
    "n_events": pl.Int64(),
}
GAPS: Schema = {
    "quantity": pl.String(),
    "outcome": pl.String(),
    "model": pl.String(),
    "source": pl.String(),
    "target": pl.String(),
    **_FIGURES,
}
PARTS_ALONE: Schema = {
    "quantity": pl.String(),
    "part": pl.String(),  # null: of all of them
    "outcome": pl.String(),
    "model": pl.String(),
    **_FIGURES,
}
MONTE_CARLO: Schema = {
    "outcome": pl.String(),
    "test_site": pl.String(),
    "reliability": pl.Float64(),
    "auc_lost": pl.Float64(),
}


def estimates(tested: Iterable[Comparison]) -> pl.DataFrame:
    """What the test stays of each site tell, one row a quantity (columns: ESTIMATES).

    With A(m) the area under the ROC curve of model m, and r the true risk of the n stays with labels y:

    - "roc_auc": A(m) of every run, A(r) of the oracle (model and arm "oracle")
    - "minus_oracle": A(m) − A(r), paired
    - "zero_shot_minus_adapted": A(m before) − A(m after local training), paired; on the row of the latter
    - "observed_to_expected": Σy / Σr, 1 where the true risk is calibrated; "brier": Σ(r − y)² / n

    Intervals resample patients. Where these are few, that of an AUC is Newcombe's, and differences and ratios
    have none.
    """
    rows: list[dict[str, object]] = []
    for block in tested:
        few, best = block.few, block.auc[block.oracle]
        found: list[tuple[str, Run, Replicated, Interval]] = []
        for run, auc in block.auc.items():
            interval = auc_interval_from(auc.drawn, block.labels, block.scores[run], block.patients)
            found.append(("roc_auc", run, auc, interval))
            if run == block.oracle:
                continue
            lead = auc - best
            found.append(("minus_oracle", run, lead, lead.interval(few=few)))
            before = block.same_model(run, "zero_shot") if run.arm == "adapted" else None
            if before is not None:
                change = block.auc[before] - auc
                found.append(("zero_shot_minus_adapted", run, change, change.interval(few=few)))
        ratio, squares = block.ratio, block.brier
        found.append(("observed_to_expected", block.oracle, ratio, ratio.interval(few=few)))
        found.append(("brier", block.oracle, squares, squares.interval()))
        rows += [
            {"quantity": quantity, "outcome": block.outcome, "test_site": block.site}
            | run._asdict()
            | _figures(value, interval)
            | {"n": len(block.labels), "n_events": int(block.labels.sum())}
            for quantity, run, value, interval in found
        ]
    return pl.DataFrame(rows, schema=ESTIMATES, orient="row")


def transfer_gaps(tested: Sequence[Comparison], *, source: str, level: float = LEVEL) -> pl.DataFrame:
    """Loss of ROC-AUC from the source's test stays to those of each target, one row a quantity (GAPS).

    With M the AUC of a model fitted at the source, O that of the true risk, s the source and t the target:

    - "gap": M_s − M_t, in_distribution less zero_shot
    - "gap_oracle": O_s − O_t, how much harder the target's own task is
    - "gap_beyond_oracle": (M_s − O_s) − (M_t − O_t), what the model loses beyond that

    The sites have different patients, resampled apart: the difference of any two of their replicates is one
    of the difference. Within a site, M and O are of the same resample. No interval where fewer than 10
    patients of either site have the event, or lack it.
    """
    at = {(block.site, block.outcome): block for block in tested}
    rows: list[dict[str, object]] = []
    for there in tested:
        home = at.get((source, there.outcome))
        if there.site == source or home is None:
            continue
        few = home.few or there.few
        harder = home.auc[home.oracle] - there.auc[there.oracle]
        for run in there.scores:
            before = home.same_model(run, "in_distribution")
            if run.arm != "zero_shot" or run.train_site != source or before is None:
                continue
            gap = home.auc[before] - there.auc[run]
            values = {"gap": gap, "gap_oracle": harder, "gap_beyond_oracle": gap - harder}
            names = {"outcome": there.outcome, "model": run.model, "source": source, "target": there.site}
            rows += [
                {"quantity": quantity} | names | _figures(value, value.interval(few=few, level=level))
                for quantity, value in values.items()
            ]
    return pl.DataFrame(rows, schema=GAPS, orient="row")


def parts_alone(
    tested: Sequence[Comparison],
    *,
    source: str,
    shifts: Mapping[str, Collection[str]],
    parts: Sequence[str],
) -> pl.DataFrame:
    """What each part of the shift costs by itself, one row a quantity (PARTS_ALONE).

    `shifts` names the parts in which each target differs from the source; there must be a target for none of
    them, for each of `parts` alone and for all together, or there are no rows. With G(S) the gap beyond the
    oracle's (`transfer_gaps`) at the target that differs in the parts S:

    - "cost": G({p}) − G({}); at the target without a shift is what the splits make of equal hospitals
    - "sum": the costs of all parts; "all": G(all) − G({})
    - "interaction": "all" less "sum"; 0 where the parts add up

    The source's own figures cancel in these, so that their error is not counted once a part. Targets are
    resampled apart. No interval where fewer than 10 patients of a target have the event, or lack it.
    """
    at = {(block.site, block.outcome): block for block in tested}
    named = {frozenset(own): site for site, own in shifts.items()}
    sets = [frozenset[str](), *(frozenset([part]) for part in parts), frozenset(parts)]
    if not all(own in named for own in sets):
        return pl.DataFrame(schema=PARTS_ALONE)
    rows: list[dict[str, object]] = []
    for outcome in dict.fromkeys(block.outcome for block in tested):
        blocks = [at.get((named[own], outcome)) for own in sets]
        known = [block for block in blocks if block is not None]
        if len(known) < len(sets):
            continue
        few = any(block.few for block in known)
        for run in known[0].scores:
            same = [block.same_model(run, "zero_shot") for block in known]
            if run.arm != "zero_shot" or run.train_site != source or None in same:
                continue
            # M − O at each target; what is lost from `none` to there is the cost
            base, *single, whole = (
                block.auc[own] - block.auc[block.oracle]
                for block, own in zip(known, same, strict=True)
                if own is not None
            )
            costs = [base - lead for lead in single]
            total = reduce(Replicated.__add__, costs)
            found: list[tuple[str, str | None, Replicated]] = [
                ("cost", part, cost) for part, cost in zip(parts, costs, strict=True)
            ]
            found += [("sum", None, total), ("all", None, base - whole)]
            found += [("interaction", None, (base - whole) - total)]
            rows += [
                {"quantity": quantity, "part": part, "outcome": outcome, "model": run.model}
                | _figures(value, value.interval(few=few))
                for quantity, part, value in found
            ]
    return pl.DataFrame(rows, schema=PARTS_ALONE, orient="row")


def monte_carlo(tested: Iterable[Comparison], *, seed: int) -> tuple[pl.DataFrame, list[str]]:
    """What the Monte Carlo error of the true risk costs the oracle (columns: MONTE_CARLO), and notes.

    The simulated risk is r̂ = r + e with standard error s. "reliability" is the share of its variance that
    is r's, max(0, 1 − mean(s²) / var(r̂)). "auc_lost" is what an error of this size would cost if r̂ were the
    truth, A(r̂) − A(r̂ + e′) with e′ drawn from N(0, s²), averaged over 20 draws, where A is the AUC expected
    over labels, Σ r̂ᵢ(1 − r̂ⱼ)[scoreᵢ > scoreⱼ] / Σ r̂ᵢ(1 − r̂ⱼ), so that the few events drawn add no noise
    of their own. A note where either is not small.
    """
    rows, notes = [], []
    for block in tested:
        variance = float(block.risk.var())
        reliability = max(0.0, 1 - float(np.mean(block.error**2)) / variance) if variance > 0 else None
        rng = generator(seed, block.site, block.outcome, "monte carlo")
        errors = rng.standard_normal((NOISY_COPIES, len(block.risk))) * block.error
        best, *worse = (_expected_auc(block.risk, block.risk + e) for e in (0.0, *errors))
        lost = best - float(np.mean(worse)) if np.isfinite(best) else None
        rows.append((block.outcome, block.site, reliability, lost))
        if (reliability is not None and reliability < HIGH_RELIABILITY) or (lost or 0.0) > SMALL_LOSS:
            cost = "" if lost is None else f", which costs the oracle about {lost:.3f} of its AUC"
            notes.append(
                f"{OUTCOMES[block.outcome].label} at {block.site}: the true risk carries Monte Carlo error "
                f"(reliability {reliability or 0:.3f}){cost}; simulate more futures a stay."
            )
    return pl.DataFrame(rows, schema=MONTE_CARLO, orient="row"), notes


def _expected_auc(risk: np.ndarray, scores: np.ndarray) -> float:
    """ROC-AUC of scores (n), expected where events happen with probability `risk` (n)."""
    risk = risk.clip(0, 1)
    labels = np.repeat([True, False], len(risk))
    return float(roc_auc(labels, np.tile(scores, 2), np.concatenate([risk, 1 - risk])[None])[0])


def _figures(value: Replicated, interval: Interval) -> dict[str, object]:
    """Estimate and bounds as a row has them: null where there is none."""
    estimate = value.estimate if np.isfinite(value.estimate) else None
    return {"estimate": estimate, "ci_low": interval.low, "ci_high": interval.high}
