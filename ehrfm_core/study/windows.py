"""The windows of a site's stays as flat arrays, in one order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from ehrfm_core.dynamics.whole_stays import WholeStays
from ehrfm_core.outcomes import Outcomes
from ehrfm_core.ragged import Ragged
from ehrfm_core.study.reader import Study
from ehrfm_core.tokens.history import Chains
from ehrfm_core.tokens.tokenizer import Tokenizer
from ehrfm_core.tokens.vocabulary import suffix_ids
from ehrfm_core.tokens.window import model_window, to_ragged

ID = "hospitalization_id"


@dataclass(frozen=True, eq=False)
class Windows:
    """Stays of a site sorted by id, with the tokens and minutes of their windows in the same order.

    `context` are the tokens of earlier stays that stand before each window; empty lists without `history`.
    """

    site: str
    stays: pl.DataFrame
    tokens: Ragged
    minutes: Ragged
    context: Ragged
    prefix: int  # tokens of the window before the first event
    hours: int
    outcomes: Outcomes

    def split(self, name: str) -> np.ndarray:
        """Which stays are of a split (n)."""
        return (self.stays["split"] == name).fill_null(value=False).to_numpy()


def read_windows(study: Study, site: str, tokenizer: Tokenizer) -> Windows:
    """The windows of every stay of a site, as the model sees them."""
    stays = study.site_table(site, "stays").sort(ID)
    timelines = study.site_table(site, "timelines").sort(ID)
    window = model_window(timelines, tokenizer)
    assert window[ID].equals(stays[ID]), "stays and timelines hold the same ids"
    tokens, minutes = to_ragged(window["tokens"], np.int64), to_ragged(window["minutes"], np.float32)
    context = read_context(study, site, tokenizer, timelines)
    prefix, hours = 1 + len(tokenizer.prefix), int(tokenizer.settings.window_hours)
    return Windows(site, stays, tokens, minutes, context, prefix, hours, study.outcomes)


def read_context(study: Study, site: str, tokenizer: Tokenizer, timelines: pl.DataFrame) -> Ragged:
    """What stands before each of these stays (rows of `timelines`, sorted by id) in the model's sight.

    `timelines` must hold every earlier stay that is to be read.
    """
    settings = tokenizer.settings
    if not settings.history:
        return Ragged.nothing(len(timelines))
    earlier = study.site_table(site, "earlier").join(timelines.select(ID), on=ID, how="semi").sort(ID)
    assert earlier[ID].equals(timelines[ID]), "every stay has its place among the patient's"
    chains = Chains.of(earlier, tokenizer.vocabulary)
    whole = to_ragged(timelines["tokens"], np.int64)
    return chains.contexts(whole, settings.max_tokens - settings.window_tokens)


def read_whole(study: Study, site: str, tokenizer: Tokenizer) -> WholeStays:
    """Every stay of a site from its start to its end, sorted by id.

    With `history`, earlier stays are in sight but for a stay that overlaps one which goes on from the same.
    """
    timelines = study.site_table(site, "timelines").sort(ID)
    tokens = to_ragged(timelines["tokens"], np.int64)
    minutes = to_ragged(timelines["minutes"], np.float32)
    minutes = minutes.keep(~np.isin(tokens.values, suffix_ids(tokenizer.vocabulary)))
    hours = int(tokenizer.settings.window_hours)
    n_window = np.bincount(minutes.rows[minutes.values <= 60 * hours], minlength=len(minutes))
    in_row, origin, floor = tokens, tokens.offsets[:-1], tokens.offsets[:-1]
    if tokenizer.settings.history:
        chains = Chains.of(study.site_table(site, "earlier").sort(ID), tokenizer.vocabulary)
        in_row = chains.joined(tokens)
        origin, floor = chains.places(in_row, tokens.lengths)
    return WholeStays(in_row.values, origin, floor, minutes, n_window, hours)
