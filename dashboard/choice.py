"""What the page Transfer looks at: one model, where it was trained and tested, and how local data are used.

Chosen once, at the head of the page; every part below follows.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
import streamlit as st

from dashboard import arms, controls, data, state
from ehrfm_core.outcomes import Outcome
from ehrfm_core.study import Study

# the models that the study is about, in the order of the screen
FOUNDATION = ("probe", "probe_pooled", "finetuned")
WIDE, NARROW = 300, 180  # pixels: the name of a model, the name of a hospital


@dataclass(frozen=True, eq=False)
class Choice:
    """A model of `home`, tested there and at `target` (None: the study has one hospital).

    `way` is how local data are used (an adapt_method; empty: they are not).
    """

    study: Study
    outcome: Outcome
    model: str
    home: str
    target: str | None
    way: str

    @property
    def name(self) -> str:
        """The model in words."""
        return arms.model_label(self.model)

    @property
    def sites(self) -> list[str]:
        """Home, and the target where there is one."""
        return [self.home] if self.target is None else [self.home, self.target]

    def of(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows of a table of results that are of these two hospitals, all models and outcomes."""
        return rows.filter(pl.col("train_site") == self.home, pl.col("test_site").is_in(self.sites))


def choose(study: Study, outcome: Outcome) -> Choice | None:
    """Draw the controls; None where the study has no area under a curve at all."""
    areas = data.result(study, "metrics").filter(metric="roc_auc", subgroup="all")
    models = sorted(areas["model"].unique(), key=_place)
    if not models:
        return None
    with st.container(horizontal=True, gap="medium"):  # in a narrow window they stand below each other
        labels = {name: arms.model_label(name) for name in models}
        model = controls.pick("Model", labels, key=state.MODEL, what="model", width=WIDE)
        own = areas.filter(pl.col("model") == model)
        home, target = study.source, next((site for site in study.sites if site != study.source), None)
        if len(study.sites) > 2:
            homes = {s: s for s in study.sites if s in set(own.filter(arm="zero_shot")["train_site"])}
            if len(homes) > 1:
                home = controls.pick("Trained at", homes, key=state.HOME, what="site", width=NARROW)
            others = {s: s for s in study.sites if s != home}
            target = controls.pick("Tested at", others, key=state.TARGET, what="site", width=NARROW)
        ways = ways_of(own, home, target)
        way = next(iter(ways), "")
        if len(ways) > 1:
            way = controls.pick(
                "Local data used by",
                ways,
                key=state.WAY,
                what="way",
                help="The last rung of the ladder: on the whole training split of the hospital tested at.",
                width=WIDE,
            )
    return Choice(study, outcome, model, home, target, way)


def usual(study: Study, outcome: Outcome, target: str | None) -> Choice | None:
    """What is looked at where nobody was asked: the first model of the source; None as with `choose`."""
    areas = data.result(study, "metrics").filter(metric="roc_auc", subgroup="all")
    models = sorted(areas.filter(train_site=study.source)["model"].unique(), key=_place)
    if not models:
        return None
    ways = ways_of(areas.filter(model=models[0]), study.source, target)
    return Choice(study, outcome, models[0], study.source, target, next(iter(ways), ""))


def ways_of(areas: pl.DataFrame, home: str, target: str | None) -> dict[str, str]:
    """Ways in which a model was adapted to all local stays, in words; none that ranks as unchanged.

    The first is the one that leaves out nothing the model knew.
    """
    rows = areas.filter(
        pl.col("arm") == "adapted", pl.col("train_site") == home, pl.col("adapt_fraction") == 1.0
    )
    found = set(rows.filter(pl.col("test_site") == target)["adapt_method"]) if target else set()
    order = ("refit", "finetune", "pretrain", "local", "scratch")
    return {way: arms.METHODS[way].capitalize() for way in order if way in found}


def _place(model: str) -> tuple[bool, int, str]:
    known = FOUNDATION.index(model) if model in FOUNDATION else len(FOUNDATION)
    return model.startswith("baseline"), known, model
