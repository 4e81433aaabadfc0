"""The windows of a site's stays as flat arrays, in one order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from ehrfm_core.ragged import Ragged
from ehrfm_core.study.reader import Study
from ehrfm_core.tokens.tokenizer import Tokenizer
from ehrfm_core.tokens.window import model_window, to_ragged

ID = "hospitalization_id"


@dataclass(frozen=True, eq=False)
class Windows:
    """Stays of a site sorted by id, with the tokens and minutes of their windows in the same order."""

    site: str
    stays: pl.DataFrame
    tokens: Ragged
    minutes: Ragged
    prefix: int  # tokens before the first event
    hours: int

    def split(self, name: str) -> np.ndarray:
        """Which stays are of a split (n)."""
        return (self.stays["split"] == name).fill_null(value=False).to_numpy()


def read_windows(study: Study, site: str, tokenizer: Tokenizer) -> Windows:
    """The windows of every stay of a site, as the model sees them."""
    hours = int(tokenizer.settings.window_hours)
    stays = study.site_table(site, "stays").sort(ID)
    window = model_window(study.site_table(site, "timelines").sort(ID), tokenizer)
    assert window[ID].equals(stays[ID]), "stays and timelines hold the same ids"
    tokens, minutes = to_ragged(window["tokens"], np.int64), to_ragged(window["minutes"], np.float32)
    return Windows(site, stays, tokens, minutes, 1 + len(tokenizer.prefix), hours)
