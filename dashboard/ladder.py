"""The recovery ladder, on the page Transfer and in the story, and in words which outcome moves worst."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
import polars as pl
import streamlit as st

from dashboard import arms, data, gaps, theme, ui
from dashboard.charts import ladder as charts
from dashboard.choice import FOUNDATION, Choice, ways_of
from dashboard.gaps import Estimate, Steps
from dashboard.ladder_words import figure, said, share, verdict
from dashboard.measures import MIN_CELL
from ehrfm_core import cell_words
from ehrfm_core.published import SITES, published

PUBLISHED = "published, MIMIC-IV → UCMC"


@dataclass(frozen=True, eq=False)
class Ladder:
    """The figure with its text for screen readers and its caption; `own`: the chosen model's steps."""

    own: list[Steps]
    figure: go.Figure
    alt: str
    caption: str


def ladder(choice: Choice) -> Ladder:
    """Every foundation model of the study on the ladder, and the one chosen."""
    found = {model: _steps(choice, model) for model in _models(choice)}
    own = found[choice.model]
    cited = _cited(choice)
    untold = [one for one in own if _untold(choice, one.outcome)]
    panels = [_panel(i, found, choice, cited) for i, one in enumerate(own) if one not in untold]
    return Ladder(
        own,
        charts.ladder(panels, _rungs(choice), _colours(choice)),
        "ROC-AUC by outcome, a rung an arm. " + "; ".join(_spoken(one) for one in own),
        _caption(choice, own, untold, cited=cited),
    )


def draw(choice: Choice) -> None:
    """The answer in words, the ladder, and its numbers."""
    made = ladder(choice)
    own = made.own
    if choice.target is None:
        ui.section("At home", "One hospital: a ladder of one rung. What a second one would add stands below.")
    else:
        ui.section(
            "Which outcome moves worst, and what do local data bring?",
            "From the top: at home, there unchanged, there after local training. To the left is a loss.",
        )
        for sentence in said(own, choice.home, choice.target, _way(choice)):
            st.markdown(sentence)
    ui.chart(made.figure, key="recovery", alt=made.alt, caption=made.caption)
    with st.expander("The ladder in numbers", icon=":material/table:"):
        _table(own, choice)


def _models(choice: Choice) -> list[str]:
    have = set(data.result(choice.study, "metrics").filter(train_site=choice.home)["model"])
    shown = [model for model in FOUNDATION if model in have]
    return shown if choice.model in shown else [*shown, choice.model]


def _steps(choice: Choice, model: str) -> list[Steps]:
    study, metrics = choice.study, data.result(choice.study, "metrics")
    ways = ways_of(metrics.filter(model=model, metric="roc_auc"), choice.home, choice.target)
    own = choice.home == study.source  # both tables hold the source's models alone
    return gaps.steps(
        metrics,
        study.outcomes,
        model=model,
        home=choice.home,
        target=choice.target,
        way=choice.way if choice.way in ways else next(iter(ways), ""),
        comparisons=_or_none(choice, "comparisons") if own else None,
        reweighting=_or_none(choice, "reweighting") if own else None,
    )


def _or_none(choice: Choice, name: str) -> pl.DataFrame | None:
    return data.result(choice.study, name) if data.has_result(choice.study, name) else None


def _rungs(choice: Choice) -> list[str]:
    rungs = [f"{choice.home} → {choice.home}"]
    if choice.target:
        rungs += [f"{choice.home} → {choice.target},<br>unchanged"]
        rungs += ["… after local<br>training"] if choice.way else []
    return rungs


def _colours(choice: Choice) -> list[str]:
    sites = theme.site_colours(choice.study.sites)
    row = {"test_site": choice.target, "arm": "adapted", "adapt_method": choice.way}
    there = [sites[choice.target], arms.ink(choice.study, row)] if choice.target else []
    return [sites[choice.home], *there]


def _untold(choice: Choice, outcome: str) -> bool:
    """Whether no hospital of the choice can tell an outcome of any test stay, while others can be told."""
    counted = {
        name: sum(len(data.held_out(choice.study, site, name)) for site in choice.sites)
        for name in choice.study.outcomes
    }
    return not counted[outcome] and any(counted.values())


def _panel(place: int, found: dict[str, list[Steps]], choice: Choice, cited: bool) -> charts.Panel:
    depth = len(_rungs(choice))
    lines = []
    for (model, steps), symbol in zip(found.items(), theme.MODEL_SYMBOLS, strict=False):
        one = steps[place]
        name = arms.model_label(model)
        lines.append(charts.Line(name, symbol, [one.home, one.away, one.adapted][:depth]))
        if cited and (printed := _published(model, one.outcome)):
            hollow = charts.Line(f"{name}, {PUBLISHED}", symbol, printed[:depth], True, _legend(choice))
            lines.append(hollow)
    own = found[choice.model][place]
    return charts.Panel(own.label, verdict(own, choice.target), lines)


def _cited(choice: Choice) -> bool:
    """Whether the hospitals are named as those of the paper."""
    return (choice.home, choice.target or SITES[1]) == SITES


def _published(model: str, outcome: str) -> list[Estimate | None]:
    rows = published("roc_auc").frame.filter(model=model, outcome=outcome)
    values = {
        arm: rows.filter(arm=arm)["roc_auc"].to_list() for arm in ("in_distribution", "zero_shot", "adapted")
    }
    if rows.is_empty():
        return []
    return [Estimate(found[0], None, None) if found else None for found in values.values()]


def _legend(choice: Choice) -> str:
    return "Published, MIMIC-IV" + (" → UCMC" if choice.target else "")


def _way(choice: Choice) -> str:
    return f"{arms.METHODS[choice.way]}, whole training split of {choice.target}" if choice.way else "none"


def _spoken(one: Steps) -> str:
    places = [("at home", one.home), ("unchanged", one.away), ("after local training", one.adapted)]
    return f"{one.label}: " + ", ".join(f"{name} {figure(e)}" for name, e in places if e)


def _caption(choice: Choice, own: Sequence[Steps], untold: Sequence[Steps], *, cited: bool) -> str:
    sizes = [
        f"{one.label} {' and '.join(known)}"
        for one in own
        if (known := [cell_words.short(e.n, e.n_events) for e in (one.home, one.away) if e])
    ]
    counted = f"; n (events), {' then '.join(choice.sites)}: {'; '.join(sizes)}" if sizes else ""
    words = [
        f"Test splits{counted}. Bars: 95 % intervals, resampling patients; with few, by Newcombe's formula.",
    ]
    if untold:
        names = ", ".join(ui.inline(one.label) for one in untold)
        words.append(f"Without a panel, since no hospital tells them: {names}.")
    if any(one.home is None or (choice.target and one.away is None) for one in own if one not in untold):
        words.append(f"Nothing to rank: one class, or fewer than {MIN_CELL} test stays that count.")
    if choice.target:
        words.append(
            f"Words above a panel are about one model ({ui.inline(choice.name)}): a gap is clear, and a "
            "share of it recovered is told, only where the gap's interval leaves out 0. Intervals are not "
            "corrected for looking at several outcomes."
        )
    if cited:
        source = published("roc_auc")
        words.append(
            f"Hollow: {PUBLISHED} ([arXiv 2504.10422]({source.url})), other patients and a larger model, "
            "without intervals, for reference alone."
        )
    return " ".join(words)


def _table(own: Sequence[Steps], choice: Choice) -> None:
    columns = {
        "Outcome": [one.label for one in own],
        f"At {choice.home}": [figure(one.home) for one in own],
    }
    if choice.target:
        columns |= {
            f"{choice.target}, unchanged": [figure(one.away) for one in own],
            "Gap": [figure(one.gap, sign=True) for one in own],
            "After local training": [figure(one.adapted) for one in own],
            "Local data bring": [
                "left as it was" if one.left else figure(one.gain, sign=True) for one in own
            ],
            "Recovered": [share(one) for one in own],
        }
    ui.table(pl.DataFrame(columns), alt="The ladder in numbers: every rung and difference with its interval")
