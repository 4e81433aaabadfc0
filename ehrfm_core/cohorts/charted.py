"""How often each category of tokens stands in each stay's window, in a form that can be summed in a blink."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from ehrfm_core.tokens.decode import subject_table, subjects
from ehrfm_core.tokens.tokenizer import Tokenizer
from ehrfm_core.tokens.vocabulary import AGE, PREFIX_FAMILIES
from ehrfm_core.tokens.window import model_window, to_ragged

ID = "hospitalization_id"
_AT_ONCE = 20_000  # stays: a few million tokens
_NO_EVENTS = (*PREFIX_FAMILIES, AGE, "special", "time", "discharge")


@dataclass(frozen=True, eq=False)
class Charted:
    """Which categories stand in which stay's window, events only.

    `stays` (n ids); `rows` and `columns` (k) number a stay and a category of `names` (columns family and
    name), each pair once.
    """

    stays: pl.Series
    rows: np.ndarray
    columns: np.ndarray
    names: pl.DataFrame

    def with_category(self, ids: pl.Series) -> np.ndarray:
        """How many of the stays `ids` have each category (one number a row of `names`)."""
        chosen = self.stays.is_in(ids.implode()).to_numpy()
        return np.bincount(self.columns[chosen[self.rows]], minlength=len(self.names))


def charted(timelines: pl.DataFrame, tokenizer: Tokenizer) -> Charted:
    """From timelines (hospitalization_id, tokens, minutes), of which the window counts.

    A value counts for its category, the static prefix not at all.
    """
    vocabulary = tokenizer.vocabulary
    table = subject_table(vocabulary)
    events = table.filter(pl.col("subject") >= 0, ~pl.col("family").is_in(_NO_EVENTS))
    number = np.full(max(vocabulary.values()) + 1, -1, dtype=np.int32)
    number[events["subject"].to_numpy()] = np.arange(len(events))
    found = []
    for first in range(0, len(timelines), _AT_ONCE):
        window = model_window(timelines.slice(first, _AT_ONCE), tokenizer)
        tokens = to_ragged(window["tokens"], np.int32)
        about = subjects(tokens.values, tokens.positions, vocabulary, age_position=tokenizer.age_position)
        column = np.where(about >= 0, number[about], -1)
        event = (column >= 0) & (tokens.positions > len(tokenizer.prefix))
        found.append(np.unique((tokens.rows[event] + first) * len(events) + column[event]))
    pairs = np.concatenate(found) if found else np.zeros(0, dtype=np.int64)
    rows, columns = np.divmod(pairs, max(1, len(events)))
    return Charted(
        timelines[ID], rows.astype(np.int32), columns.astype(np.int32), events.select("family", "name")
    )
