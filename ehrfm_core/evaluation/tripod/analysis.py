"""Answers about the analysis: items 12 (but 12c) to 16."""

from __future__ import annotations

import polars as pl

from ehrfm_core import cell_words
from ehrfm_core.evaluation.tripod.facts import DEMOGRAPHICS, FOUNDATION, Facts, average, listed
from ehrfm_core.tokens.vocabulary import FAMILY_LABELS

MEASURES = {
    "roc_auc": "area under the ROC curve",
    "average_precision": "average precision",
    "brier": "Brier score",
    "calibration_intercept": "calibration intercept",
    "calibration_slope": "calibration slope",
    "observed_expected": "observed over expected events",
    "ici": "integrated calibration index",
    "sensitivity_at_90_specificity": "sensitivity at 90 % specificity",
    "carried_sensitivity": "sensitivity, specificity, predictive value and alerts at the source's threshold",
}
BASELINES = {
    "baseline_age_sex": "age and sex",
    "baseline_boosting": "gradient boosting on values",
    "baseline_n_tokens": "the number of tokens",
    "baseline_shuffled": "a probe of shuffled labels",
    "baseline_token_counts": "counts of each token",
}
PLOTS = {
    "calibration_curves": "calibration curves",
    "decision_curves": "decision curves (net benefit)",
    "predictions": "ROC curves",
}
METHODS = {
    "refit": "fitted again with local stays",
    "local": "fitted on local stays alone",
    "recalibrate": "level of risks moved",
    "recalibrate_slope": "level and slope of risks moved",
    "finetune": "fine-tuned further",
    "pretrain": "pretrained further on local stays, the probe fitted again",
    "scratch": "pretrained on local stays alone",
}


def partition(f: Facts) -> list[str]:
    """Item 12a."""
    lines = [
        "By patient, in the order of first admissions: test patients are the latest, and no patient is in "
        "two splits."
    ]
    for site in f.study.sites:
        role = "source" if site == f.study.source else "target"
        shares: dict[str, float] | None = f.settings("tokenize").get(f"{role}_split")
        aim = (
            f" ({', '.join(f'{100 * x:g} % {name}' for name, x in shares.items())} of patients)"
            if shares
            else ""
        )
        lines.append(f"{site}: {f.split_line(site)} stays{aim}.")
    return [
        *lines,
        f"Training split of {f.study.source}: cut points, vocabulary, model and probes. Its tuning split: "
        "when to stop, and thresholds. Test splits: every figure; nothing is fitted on them.",
        *(
            [
                "Training and tuning splits of the other hospitals serve local updating"
                + (", and models of their own to compare with." if len(f.targets) > 1 else " alone.")
            ]
            if f.targets
            else []
        ),
    ]


def handling(f: Facts) -> list[str]:
    """Item 12b."""
    t = f.tokenizer
    fused = t.get("scheme") == "fused"
    cut = (
        f"{len(t.get('cut_points', {})):,} codes have cut points, fitted on {f.study.source}'s training split"
    )
    return [
        "Each event becomes "
        + (
            "one token of its code and value."
            if fused
            else "a token of its code, and one of its value if it has one."
        ),
        f"Values become quantile bins, at most {t.get('n_bins')} a code"
        + (
            ", or low, normal and high where CLIF gives a reference range"
            if t.get("bins") == "reference"
            else ""
        )
        + f"; {cut}.",
        "Gaps in time have tokens." if t.get("spacing") else "Time enters by the order of events alone.",
        *(["Earlier stays of the patient stand before the window."] if t.get("history") else []),
        f"At most {t.get('max_tokens', 0):,} tokens are read at once.",
        "The probe standardizes the model's state.",
    ]


def clusters(f: Facts) -> list[str]:
    """Item 12d."""
    if not f.targets:
        return ["One hospital: differences between hospitals cannot be examined."]
    return [
        "Each hospital is evaluated on its own and never pooled; intervals keep a patient's stays together."
    ]


def measures(f: Facts) -> list[str]:
    """Item 12e."""
    found = set(f.study.result("metrics")["metric"].unique())
    models = set(f.study.result("metrics")["model"].unique())
    baselines = [BASELINES.get(name, name) for name in sorted(models - set(FOUNDATION))]
    plots = [label for name, label in PLOTS.items() if f.result(name) is not None]
    draws = f.settings("evaluate").get("n_bootstrap")
    lines = [
        f"Measures: {'; '.join(label for name, label in MEASURES.items() if name in found) or 'none'}.",
        f"Plots: {', '.join(plots) or 'none'}.",
        "Intervals: 95 %, resampling patients" + (f" {draws:,} times." if draws else "."),
        f"Beside the foundation model stand, on the same stays: {', '.join(baselines) or 'no baselines'}.",
    ]
    if f.result("comparisons") is not None:
        lines.append(
            "Two models on the same stays: DeLong's test with the stays of a patient taken together, Holm's "
            "correction over the outcomes of a hospital."
        )
    return lines


def updating(f: Facts) -> list[str]:
    """Item 12f."""
    if not f.targets:
        return ["No: there is one hospital, and nothing was updated on it."]
    rows = f.study.result("metrics").filter(
        pl.col("arm") == "adapted", pl.col("model").is_in(list(FOUNDATION))
    )
    lines = []
    for site in f.targets:
        part = rows.filter(pl.col("test_site") == site)
        methods = [METHODS.get(name, name) for name in part["adapt_method"].unique().sort()]
        if not methods:
            lines.append(f"{site}: the model was not updated.")
            continue
        shares = ", ".join(f"{100 * x:g} %" for x in part["adapt_fraction"].unique().sort())
        most = int(part["repeat"].max()) + 1  # type: ignore[arg-type]
        lines.append(
            f"{site}: {'; '.join(methods)}; each with {shares} of its training split, drawn by patient up to "
            f"{most} {'time' if most == 1 else 'times'}."
        )
    return [*lines, "For whole hospitals, never for a group of patients alone."]


def predicted(f: Facts) -> list[str]:
    """Item 12g."""
    return [
        f"The model reads a stay up to {f.window}; the probe, or the fine-tuned model's head, turns its last "
        "state into a probability. results/predictions.parquet holds every one.",
        "Those of the probe can be computed anew from model/, tokenizer.json and results/probes.json.",
    ]


def imbalance(f: Facts) -> list[str]:
    """Item 13."""
    return [
        "None: neither stays nor losses are weighted or drawn by outcome, so nothing is put right after it.",
        f"With the outcome in {f.study.source}'s training split: {f.event_line(f.study.source, 'train')}.",
    ]


def fairness(f: Facts) -> list[str]:
    """Item 14."""
    inputs = [FAMILY_LABELS[name].lower() for name in f.prefix if name in (*DEMOGRAPHICS, "age")]
    groups = sorted({name.partition("=")[0] for name in f.metrics["subgroup"].unique() if name != "all"})
    return [
        "Nothing in training makes performance alike between groups.",
        f"Among the inputs: {', '.join(inputs)}." if inputs else "No demographics are among the inputs.",
        f"Performance is reported by {', '.join(groups)}."
        if groups
        else "No subgroup has a figure of its own: none is large enough, or none was evaluated.",
    ]


def output(f: Facts) -> list[str]:
    """Item 15."""
    lines = ["A probability for each outcome; no class."]
    rows = f.result("thresholds")
    if rows is not None:
        rows = rows.filter(pl.col("model").is_in(list(FOUNDATION)), pl.col("train_site") == f.study.source)
    if rows is None or rows.is_empty():
        return [*lines, "The study keeps no threshold."]
    return [
        *lines,
        f"Thresholds, for evaluation alone, are the lowest with a wanted specificity on {f.study.source}'s "
        "tuning split.",
        *(
            f"{FOUNDATION[row['model']]}, {f.outcomes[row['outcome']].label}: {row['threshold']:.3f} for "
            f"{100 * row['specificity']:g} % ({cell_words.stays(row['n'])})."
            for row in rows.iter_rows(named=True)
            if row["outcome"] in f.outcomes
        ),
    ]


def differences(f: Facts) -> list[str]:
    """Item 16."""
    if not f.targets:
        return ["Evaluation is on later patients of the same hospital; every rule is the same."]
    lines = ["Who takes part, outcomes and predictors follow the same rules at every hospital."]
    for site in f.targets:
        known = f.site_summary(site)
        unknown, events = known.get("unknown_events"), known.get("n_events")
        if unknown is not None and events:
            codes = known.get("unknown_codes") or {}
            often = f", most often {listed(list(codes)[:3])}" if codes else ""
            lines.append(
                f"{site}: {unknown:,} of {events:,} events have codes that {f.study.source}'s training split "
                f"lacks{often}."
            )
        tokens = [f"{name} {average(f.stays[name]['n_tokens'])}" for name in (f.study.source, site)]
        lines.append(f"Mean tokens in the window: {', '.join(tokens)}.")
    return [*lines, "Outcomes and demographics are compared in item 20c."]


ANSWERS = {
    "12a": ("tokenize", partition),
    "12b": ("tokenize", handling),
    "12d": ("tokenize", clusters),
    "12e": ("evaluate", measures),
    "12f": ("evaluate", updating),
    "12g": ("evaluate", predicted),
    "13": ("evaluate", imbalance),
    "14": ("evaluate", fairness),
    "15": ("evaluate", output),
    "16": ("tokenize", differences),
}
