"""The report of the controlled shift as Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ehrfm_core.cohort import TARGET_SPLIT
from ehrfm_core.evaluation.models import MODEL_LABELS
from ehrfm_core.evaluation.oracle import ORACLE
from ehrfm_core.outcomes import OUTCOMES, Outcome
from train.recipes.shift_report import MODELS, Row

NONE = "–"
ADAPTED = f"adapted ({100 * TARGET_SPLIT.train:g} %)"


def markdown(report: dict[str, Any]) -> str:
    """The tables, with 95 % intervals in brackets, and the sentences."""
    lines = ["# Controlled shift", ""]
    lines += [f"Source {report['source']}; every target differs from it in the parts named.", ""]
    lines += _table(
        ["shift", "parts", "site classifier on token counts, ROC-AUC", "stays (source, target)"],
        [
            [
                row["target"],
                ", ".join(report["shifts"][row["target"]]) or "none",
                _score(row),
                f"{row['n_source']:,}, {row['n_target']:,}",
            ]
            for row in report["site_classifier"]
        ],
    )
    for outcome in OUTCOMES.values():
        lines += _outcome(report, outcome)
    lines += _by_part(report)
    lines += ["## The true risk", ""]
    lines += _table(
        [
            *("site", "outcome", "observed to expected", "Brier score", "reliability"),
            "AUC lost to Monte Carlo error",
        ],
        [_truth(report, row) for row in report["monte_carlo"]],
    )
    lines += ["## Where nothing differs", ""]
    found = report["verdict"] or ["The shift `none` is not among the shifts: nothing is shown."]
    lines += [f"- {line}" for line in (*found, *report["notes"])]
    return "\n".join(lines)


def _outcome(report: dict[str, Any], outcome: Outcome) -> Iterator[str]:
    source, targets = report["source"], list(report["shifts"])
    auc, gap = [], []
    home = {model: _find(report, "roc_auc", outcome, source, model, "in_distribution") for model in MODELS}
    for site in targets:
        best = _find(report, "roc_auc", outcome, site, ORACLE, ORACLE)
        cells = [site, _size(best)]
        for model in MODELS:
            zero, adapted = (
                _find(report, "roc_auc", outcome, site, model, arm) for arm in ("zero_shot", "adapted")
            )
            cells += [_score(home[model]), _score(zero), _score(adapted)]
            if model == MODELS[0]:
                cells.append(_score(best))
            gaps = {
                row["quantity"]: row
                for row in report["gaps"]
                if (row["outcome"], row["target"], row["model"]) == (outcome.name, site, model)
            }
            gap.append(
                [
                    site,
                    MODEL_LABELS[model],
                    *(_change(gaps.get(name)) for name in ("gap", "gap_oracle", "gap_beyond_oracle")),
                    _change(_find(report, "minus_oracle", outcome, site, model, "zero_shot")),
                    _change(_find(report, "zero_shot_minus_adapted", outcome, site, model, "adapted")),
                ]
            )
        auc.append(cells)
    best = _find(report, "roc_auc", outcome, source, ORACLE, ORACLE)
    yield from (f"## {outcome.label}", "")
    yield from (f"ROC-AUC. The source's own test split: {_size(best)}, oracle {_score(best)}.", "")
    counts = "token counts"
    yield from _table(
        [
            *(
                "shift",
                "n (events)",
                "source → source",
                "source → target, zero-shot",
                ADAPTED,
                "oracle at target",
            ),
            *(f"{counts}: source → source", f"{counts}: zero-shot", f"{counts}: {ADAPTED}"),
        ],
        auc,
    )
    yield from _table(
        [
            *("shift", "model", "gap: source → source less zero-shot", "oracle's gap"),
            *("gap beyond the oracle's", "zero-shot less oracle", "zero-shot less adapted"),
        ],
        gap,
    )


def _by_part(report: dict[str, Any]) -> Iterator[str]:
    """The gap beyond the oracle's of one part of the shift at a time, where each has its target."""
    rows = {
        (row["quantity"], row["part"], row["outcome"], row["model"]): row for row in report.get("parts", ())
    }
    if not rows:
        return
    alone = {tuple(parts): site for site, parts in report["shifts"].items()}
    parts = list(dict.fromkeys(part for quantity, part, *_ in rows if quantity == "cost"))
    yield from ("## The gap by part of the shift", "")
    yield (
        "ROC-AUC lost beyond the oracle's; then the same less what `none` loses, in which the source's own "
        "figures cancel. Interaction: what all parts together cost beyond the sum of each alone."
    )
    yield ""
    for outcome in OUTCOMES.values():
        body = []
        for model in MODELS:
            named = [
                ("none", (), None),
                *((part, (part,), rows.get(("cost", part, outcome.name, model))) for part in parts),
                ("all", tuple(sorted(parts)), rows.get(("all", None, outcome.name, model))),
            ]
            body += [
                [
                    MODEL_LABELS[model],
                    part,
                    _change(_gap(report, outcome, alone[own], model)),
                    _change(cost),
                ]
                for part, own, cost in named
            ]
            body += [
                [MODEL_LABELS[model], label, NONE, _change(rows.get((quantity, None, outcome.name, model)))]
                for quantity, label in (("sum", "sum of the parts"), ("interaction", "interaction"))
            ]
        yield from (f"### {outcome.label}", "")
        yield from _table(["model", "part", "gap beyond the oracle's", "less that of none"], body)


def _gap(report: dict[str, Any], outcome: Outcome, site: str, model: str) -> Row | None:
    wanted = ("gap_beyond_oracle", outcome.name, site, model)
    names = ("quantity", "outcome", "target", "model")
    return next((row for row in report["gaps"] if tuple(row[name] for name in names) == wanted), None)


def _truth(report: dict[str, Any], row: Row) -> list[str]:
    outcome, site = OUTCOMES[row["outcome"]], row["test_site"]
    ratio, brier = (
        _find(report, quantity, outcome, site, ORACLE, ORACLE)
        for quantity in ("observed_to_expected", "brier")
    )
    return [
        site,
        outcome.label,
        _score(ratio),
        _score(brier),
        *map(_number, (row["reliability"], row["auc_lost"])),
    ]


def _find(
    report: dict[str, Any], quantity: str, outcome: Outcome, site: str, model: str, arm: str
) -> Row | None:
    wanted = (quantity, outcome.name, site, model, arm)
    names = ("quantity", "outcome", "test_site", "model", "arm")
    return next((row for row in report["estimates"] if tuple(row[name] for name in names) == wanted), None)


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return [*(f"| {' | '.join(cells)} |" for cells in lines), ""]


def _size(row: Row | None) -> str:
    return NONE if row is None else f"{row['n']:,} ({row['n_events']:,})"


def _score(row: Row | None) -> str:
    return _with_interval(row, ".3f", "–")


def _change(row: Row | None) -> str:
    return _with_interval(row, "+.3f", ", ")


def _with_interval(row: Row | None, form: str, between: str) -> str:
    if row is None or row["estimate"] is None:
        return NONE
    bounds = [row["ci_low"], row["ci_high"]]
    if None in bounds:
        return f"{row['estimate']:{form}} [no interval]"
    return f"{row['estimate']:{form}} [{between.join(f'{bound:{form}}' for bound in bounds)}]"


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.4f}"
