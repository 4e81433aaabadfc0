"""The paper's tables for a study, beside the published numbers: what appears here and what does not."""

from __future__ import annotations

import numpy as np
import polars as pl

from ehrfm_core.evaluation.propensity import CHARACTERISTICS
from ehrfm_core.published import published
from ehrfm_core.study.layout import result_file
from ehrfm_core.study.reader import Study

MODELS = {"probe": "logistic probe", "probe_pooled": "pooled probe", "finetuned": "fine-tuned"}
NONE = "—"


def report(study: Study) -> str:
    """Four tables as text: associations, ROC-AUC by arm and by share of local data, what patients explain.

    Published figures are those of MIMIC-IV and UCMC; they stand beside the study's source and its targets
    whatever these are called. Raises UserError where the study has no evaluation.
    """
    about = published("roc_auc")
    parts = [
        f"{study.name}: source {study.source}, {', '.join(study.sites)}."
        + (" SYNTHETIC data." if study.manifest.synthetic else ""),
        f"Published: {about.citation} {about.url}. It gives no intervals.",
        "",
        "Associations: one regression of the outcome on all three, test split",
        _table(*associations(study)),
        "",
        "ROC-AUC [95 %], test split",
        _table(*areas(study)),
        "",
        "ROC-AUC by share of the target's training split (median of the draws, lowest–highest)",
        _table(*shares(study)),
    ]
    if (study.folder / result_file("reweighting")).is_file():  # not in studies of older versions
        title = (
            "What the patients explain of the gap: ROC-AUC of the probe [95 %], home weighted like the target"
        )
        parts += ["", title, _table(*explained(study))]
    return "\n".join(parts)


def associations(study: Study) -> tuple[list[str], list[list[str]]]:
    """Head and rows: coefficients per raw unit with their sign's agreement with the paper's."""
    rows = study.result("associations").filter(pl.col("adjustment") == "joint")
    head = [
        "site",
        "outcome",
        "measure",
        "per SD [95 %]",
        "per unit",
        "published",
        "same sign",
        "n",
        "events",
    ]
    body = []
    for row in rows.iter_rows(named=True):
        per_unit = None if row["coefficient"] is None or not row["sd"] else row["coefficient"] / row["sd"]
        paper = row["paper_coefficient"]
        same = NONE
        if per_unit is not None and paper is not None:
            clear = row["ci_low"] is not None and row["ci_low"] * row["ci_high"] > 0
            same = ("yes" if per_unit * paper > 0 else "no") + ("" if clear else ", not clear of 0")
        body.append(
            [
                row["site"],
                study.outcomes[row["outcome"]].label,
                row["feature"],
                _with_interval(row["coefficient"], row["ci_low"], row["ci_high"]),
                NONE if per_unit is None else f"{per_unit:.3g}",
                NONE if paper is None else f"{paper:.3g}",
                same,
                f"{row['n']:,}",
                f"{row['n_events']:,}",
            ]
        )
    return head, body


def areas(study: Study) -> tuple[list[str], list[list[str]]]:
    """Head and rows: a row a model and arm, a column an outcome, the published figure in brackets."""
    rows = study.result("metrics").filter(
        pl.col("metric") == "roc_auc",
        pl.col("subgroup") == "all",
        pl.col("repeat") == 0,
        pl.col("adapt_fraction").is_in([0.0, 1.0]),
        pl.col("train_site") == study.source,
    )
    paper = published("roc_auc").frame
    body = []
    keys = ["model", "arm", "test_site", "adapt_method"]
    for (model, arm, site, method), part in rows.group_by(keys, maintain_order=True):
        cells = dict(zip(part["outcome"], part.iter_rows(named=True), strict=True))
        line = [MODELS.get(str(model), str(model)), f"{study.source} → {site}", str(arm).replace("_", " ")]
        line.append(NONE if method == "none" else str(method))
        for outcome in study.outcomes:
            cell = cells.get(outcome)
            shown = _with_interval(*(cell[x] for x in ("estimate", "ci_low", "ci_high"))) if cell else NONE
            known = paper.filter(model=model, arm=arm, outcome=outcome)
            comparable = arm != "adapted" or method == "finetune"
            line.append(shown + (f" ({known['roc_auc'][0]:.3f})" if known.height and comparable else ""))
        body.append(line)
    return [
        "model",
        "way",
        "arm",
        "adapted by",
        *(o.label + " (published)" for o in study.outcomes.values()),
    ], body


def shares(study: Study) -> tuple[list[str], list[list[str]]]:
    """Head and rows: a row a target, model, way of adapting and share; the share of all stays beside it."""
    rows = study.result("metrics").filter(
        pl.col("metric") == "roc_auc", pl.col("subgroup") == "all", pl.col("model").is_in(list(MODELS))
    )
    rows = rows.filter(pl.col("arm") == "adapted")
    paper = published("adaptation").frame
    body = []
    keys = ["test_site", "model", "adapt_method", "adapt_fraction"]
    for (site, model, method, fraction), part in rows.sort(keys).group_by(keys, maintain_order=True):
        stays = study.site_table(str(site), "stays")
        of_all = float(fraction) * stays.filter(pl.col("split") == "train").height / stays.height
        line = [str(site), MODELS[str(model)], str(method), f"{fraction:.1%}", f"{of_all:.2%}"]
        for outcome in study.outcomes:
            values = part.filter(pl.col("outcome") == outcome)["estimate"].drop_nulls().to_numpy()
            shown = NONE
            if len(values):
                shown = f"{np.median(values):.3f}"
                shown += f" ({values.min():.3f}–{values.max():.3f})" if len(values) > 1 else ""
            near = paper.filter(
                pl.col("outcome") == outcome,
                (pl.col("adapt_fraction") - of_all).abs() < 0.1 * pl.col("adapt_fraction"),
            )
            if method == "finetune" and near.height:
                shown += f" [published {near['roc_auc'][0]:.3f}]"
            line.append(shown)
        body.append(line)
    return ["target", "model", "adapted by", "of training split", "of all stays", *study.outcomes], body


def explained(study: Study) -> tuple[list[str], list[list[str]]]:
    """Head and rows: a row a target, outcome and set of characteristics by which home was re-weighted."""
    quantities = (
        "home",
        "home_reweighted",
        "zero_shot",
        "gap",
        "explained",
        "remaining",
    )  # the last three signed
    keys = ["site", "outcome", "characteristics", "effective_n", "propensity_auc"]
    body = []
    for key, part in study.result("reweighting").group_by(keys, maintain_order=True):
        site, outcome, name, size, auc = key
        line = [str(site), study.outcomes[str(outcome)].label, CHARACTERISTICS[str(name)]]
        cells = {row["quantity"]: row for row in part.iter_rows(named=True)}
        for place, quantity in enumerate(quantities):
            estimate, low, high = (cells[quantity][x] for x in ("estimate", "ci_low", "ci_high"))
            line.append(_with_interval(estimate, low, high, "+.3f" if place >= 3 else ".3f"))
        line += [NONE if size is None else f"{size:.0f} of {cells['home']['n']:,}"]
        body.append([*line, NONE if auc is None else f"{auc:.3f}"])
    labels = [quantity.replace("_", " ") for quantity in quantities]
    return ["target", "outcome", "weighted by", *labels, "effective stays", "told apart, AUC"], body


def _with_interval(estimate: float | None, low: float | None, high: float | None, form: str = ".3f") -> str:
    if estimate is None:
        return NONE
    if low is None or high is None:
        return f"{estimate:{form}}"
    between = " to " if low < 0 or form != ".3f" else "–"
    return f"{estimate:{form}} [{low:{form}}{between}{high:{form}}]"


def _table(head: list[str], body: list[list[str]]) -> str:
    """Columns put under each other.

    >>> print(_table(["a", "long"], [["1", "2"]]))
    a  long
    1  2
    """
    if not body:
        return "  nothing to show"
    widths = [max(len(line[k]) for line in [head, *body]) for k in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in [head, *body]
    ]
    return "\n".join(line.rstrip() for line in lines)
