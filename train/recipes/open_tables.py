"""Tables of the recipe on open hospitals: every run beside boosting on charted values, on the same stays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ehrfm_core.evaluation.delong import area_intervals, areas
from ehrfm_core.evaluation.sites import ID
from ehrfm_core.outcomes import Outcome
from ehrfm_core.study.reader import Study
from train.recipes.open_local import local_curve
from train.recipes.open_movement import movement, outliers
from train.recipes.open_together import together
from train.recipes.raw_values import RawValues, fit_raw, raw_values

MODELS = {
    "finetuned": "fine-tuned",
    "probe": "probe, last state",
    "probe_pooled": "probe, mean states",
    "baseline_boosting": "boosting, binned values",
    "baseline_token_counts": "token counts",
    "baseline_n_tokens": "number of tokens",
    "baseline_age_sex": "age and sex",
}
METHODS = {"none": "unchanged", "refit": "re-fitted", "local": "fitted there alone", "finetune": "fine-tuned"}
METHODS |= {"pretrain": "pretrained further", "scratch": "pretrained there alone"}
RAW = "boosting, charted values"
# averages gain by themselves: that of two kinds of trees tells how much
AVERAGED = {
    "fine-tuned and boosting, averaged": "fine-tuned",
    "boosting of both kinds, averaged": "boosting, binned values",
}
FEWEST_EVENTS = 10
HEAD = ("model", "trained at", "there", "ROC-AUC [95 %]", f"less that of {RAW} [95 %]", "p")

Runs = dict[tuple[str, str, str], pl.DataFrame]
"""By model, training site and what was done at the test site: hospitalization_id, label, probability."""


@dataclass(frozen=True, eq=False)
class Direction:
    """One study, its source first, and the CLIF folder of each of its sites."""

    study: Study
    clif: Mapping[str, Path]

    @property
    def targets(self) -> list[str]:
        """The sites that are not the source."""
        return [site for site in self.study.sites if site != self.study.source]


def markdown(title: str, directions: list[Direction], *, repeats: int, seed: int) -> str:
    """All tables; differences by DeLong on the same stays, not corrected for their number.

    `repeats` is the number of draws of local stays.
    """
    raws = {site: raw_values(folder) for site, folder in directions[0].clif.items()}
    lines = [f"# {title}", ""]
    for direction in directions:
        for site in direction.study.sites:
            for outcome in direction.study.outcomes.values():
                found = _runs(direction, site, outcome, raws, seed=seed)
                lines += _section(direction, site, outcome, found)
    by_source = {direction.study.source: direction for direction in directions}
    for direction in directions:
        for target in direction.targets:
            if target in by_source:
                for outcome in direction.study.outcomes.values():
                    lines += _against_all(
                        direction, by_source[target], outcome, raws, repeats=repeats, seed=seed
                    )
    for direction in directions:
        lines += [*movement(direction.study), *outliers(direction.study)]
    return "\n".join(lines)


def _runs(
    direction: Direction, site: str, outcome: Outcome, raws: Mapping[str, RawValues], *, seed: int
) -> Runs:
    """The study's own runs at a site, and boosting on charted values of the source and of the site."""
    study = direction.study
    rows = study.result("predictions").filter(
        pl.col("test_site") == site,
        pl.col("outcome") == outcome.name,
        pl.col("repeat") == 0,
        pl.col("adapt_fraction").is_in([0.0, 1.0]),
        pl.col("train_site") == study.source,
        pl.col("model").is_in(list(MODELS)),
        ~pl.col("adapt_method").str.starts_with("recalibrate"),
    )
    found: Runs = {}
    keys = ["model", "adapt_method"]
    for (model, method), part in rows.group_by(keys, maintain_order=True):
        there = _unmoved(study, site) if method == "none" else METHODS.get(str(method), str(method))
        # a baseline that is fitted again owes the source the tokens' bins alone
        home = site if str(model).startswith("baseline") and method == "refit" else study.source
        found[MODELS[str(model)], home, there] = part.select(ID, "label", "probability").sort(ID)
    if not found:
        return found
    first = next(iter(found.values()))
    for home in dict.fromkeys((study.source, site)):
        train = study.site_table(home, "stays").filter(pl.col("split") == "train", outcome.counts())
        if train[outcome.name].n_unique() < 2:
            continue
        model = fit_raw(study, home, raws[home], outcome, seed=seed)
        risk = model.probability(raws[site].of(first[ID], raws[home].columns))
        there = _unmoved(study, site) if home == study.source else "re-fitted"
        found[RAW, home, there] = first.with_columns(probability=pl.Series(risk))
    own = (study.source, _unmoved(study, site))
    for name, model in AVERAGED.items():
        if {(model, *own), (RAW, *own)} <= found.keys():
            risk = together(found[model, *own]["probability"], found[RAW, *own]["probability"])
            found[name, *own] = first.with_columns(probability=pl.Series(risk))
    return found


def _section(direction: Direction, site: str, outcome: Outcome, found: Runs) -> Iterator[str]:
    study = direction.study
    if not found:
        return
    first = next(iter(found.values()))
    n_events = int(first["label"].sum())
    yield f"## {outcome.label}: {study.source} → {site}"
    yield ""
    yield f"{len(first):,} test stays, {n_events:,} with the event; {_trained(direction, site, outcome)}."
    yield ""
    if min(n_events, len(first) - n_events) < FEWEST_EVENTS:
        yield f"Fewer than {FEWEST_EVENTS} stays of one class: no figures."
        yield ""
        return
    # the source's, for runs that saw local stays as well: it is better than that of the few local ones
    yield from _table(found, dict.fromkeys(found, (RAW, study.source, _unmoved(study, site))))


def _unmoved(study: Study, site: str) -> str:
    return "at home" if site == study.source else "unchanged"


def _trained(direction: Direction, site: str, outcome: Outcome) -> str:
    parts = []
    for home in dict.fromkeys((direction.study.source, site)):
        train = direction.study.site_table(home, "stays").filter(split="train").filter(outcome.counts())
        parts.append(f"{len(train):,} training stays at {home} ({int(train[outcome.name].sum()):,} events)")
    return ", ".join(parts)


def _against_all(
    direction: Direction,
    other: Direction,
    outcome: Outcome,
    raws: Mapping[str, RawValues],
    *,
    repeats: int,
    seed: int,
) -> Iterator[str]:
    """Adapted with a little of the target, against models that have all of the target's training split.

    On the stays that are in the test splits of both studies.
    """
    target = other.study.source
    ours = _runs(direction, target, outcome, raws, seed=seed)
    theirs = _runs(other, target, outcome, raws, seed=seed)
    if not ours or not theirs:
        return
    both = next(iter(ours.values())).join(next(iter(theirs.values())), on=ID, how="semi")[ID]
    kept = {
        key: run.filter(pl.col(ID).is_in(both.implode())).sort(ID) for key, run in (ours | theirs).items()
    }
    labels = next(iter(kept.values()))["label"]
    yield f"## {outcome.label}: {direction.study.source} → {target} against a model of all of {target}"
    yield ""
    yield f"{len(labels):,} stays in the test splits of both studies, {int(labels.sum()):,} with the event."
    yield ""
    if min(int(labels.sum()), int((~labels).sum())) >= FEWEST_EVENTS:
        best = ("fine-tuned", target, "at home")
        yield from _table(kept, dict.fromkeys(kept, best), f"less that of fine-tuned at {target} [95 %]")
        tested = next(iter(kept.values()))
        brought = kept.get(("fine-tuned", direction.study.source, "unchanged"))
        yield from local_curve(
            other.study, raws[target], outcome, tested, brought, repeats=repeats, seed=seed
        )


def _table(
    found: Runs, beside: Mapping[tuple[str, str, str], tuple[str, str, str]], head: str = HEAD[4]
) -> list[str]:
    keys = list(found)
    first = found[keys[0]]
    for run in found.values():
        if run[ID].to_list() != first[ID].to_list():
            raise ValueError("runs of one table are of the same stays")
    labels = first["label"].to_numpy().astype(bool)
    scores = (
        pl.DataFrame([run["probability"].alias(str(i)) for i, run in enumerate(found.values())]).to_numpy().T
    )
    single = areas(labels, scores)
    intervals = area_intervals(labels, scores, first[ID].to_numpy())
    rows: list[tuple[str, ...]] = [(*HEAD[:4], head, HEAD[5])]
    for i, key in enumerate(keys):
        area, low, high = intervals[i]
        cells = [*key, f"{area:.3f} [{low:.3f}, {high:.3f}]", "", ""]
        other = beside.get(key)
        if other in keys and other != key:
            difference, down, up, p = single.difference(i, keys.index(other))
            cells[4:] = [
                f"{difference:+.3f} [{down:+.3f}, {up:+.3f}]",
                f"{p:.3f}" if p >= 0.001 else "<0.001",
            ]
        rows.append(tuple(cells))
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return [lines[0], "|---" * len(HEAD) + "|", *lines[1:], ""]
