"""Key figures of a tokenized site, and what the reader of its results must know."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from ehrfm_core.cohort import EDGE_HOURS
from ehrfm_core.tokens.categories import CategoryCounts
from ehrfm_core.tokens.kinds import Kinds
from ehrfm_core.tokens.settings import TokenSettings
from ehrfm_core.tokens.tokenizer import Tokenizer
from ehrfm_core.tokens.vocabulary import family


def summary_of(
    stays: pl.DataFrame, lengths: np.ndarray, counts: CategoryCounts, tokenizer: Tokenizer, kinds: Kinds
) -> dict[str, Any]:
    """Key figures: stays, tokens in the windows by family, events, and codes that nobody knew.

    `lengths` (windows, stays) are the tokens of each window before it is cut off.
    """
    settings, n_tokens = tokenizer.settings, stays["n_tokens"]
    unknown = counts.unknown
    return {
        "n_stays": stays.height,
        "n_patients": stays["patient_id"].n_unique(),
        "splits": dict(stays["split"].value_counts().sort("split").iter_rows()),
        "mean_tokens": round(float(n_tokens.mean()), 1),  # type: ignore[arg-type]
        "median_tokens": float(n_tokens.median()),  # type: ignore[arg-type]
        "max_tokens": int(n_tokens.max()),  # type: ignore[arg-type]
        "truncated_stays": int((lengths[0] > settings.window_tokens).sum()),
        "windows": [
            {
                "hours": hours,
                "mean_tokens": round(float(row.mean()), 1),
                "truncated_stays": int((row > settings.window_tokens).sum()),
            }
            for hours, row in zip(settings.windows, lengths, strict=True)
        ],
        "families": _families(counts, tokenizer, kinds, stays.height),
        "n_events": counts.n_events,
        "events_outside": counts.n_outside,
        "values_in_other_units": counts.n_strange_units,
        "unknown_events": sum(unknown.values()),
        "unknown_codes": dict(list(unknown.items())[:20]),
    }


def _families(counts: CategoryCounts, tokenizer: Tokenizer, kinds: Kinds, n_stays: int) -> dict[str, float]:
    """Mean number of tokens a stay in the window by family, most first; values count for their category."""
    means = dict.fromkeys((*tokenizer.prefix, "special"), 1.0)
    for kind in np.flatnonzero(counts.kinds_window):
        name = family(kinds.codes[kinds.code[kind]]) if kinds.known[kind] else "special"
        means[name] = means.get(name, 0.0) + counts.kinds_window[kind] * kinds.lengths[kind] / n_stays
    rounded = {name: round(float(mean), 2) for name, mean in means.items()}
    return dict(sorted(rounded.items(), key=lambda pair: (-pair[1], pair[0])))


def notes_of(summary: dict[str, Any], settings: TokenSettings, *, lacking: str) -> list[str]:
    """Sentences on events that were left out, cut off, unknown or lost their value.

    `lacking` says who does not know the codes of unknown events: "the source's training split lacks".
    """
    notes = []
    if settings.history:
        room = settings.max_tokens - settings.window_tokens
        notes.append(
            f"{summary['with_earlier_stay']:,} of {summary['n_stays']:,} stays have an earlier stay of the "
            f"patient in the study; its last {room} tokens stand in front of theirs."
        )
    if summary["events_outside"]:
        notes.append(
            f"{summary['events_outside']:,} events lie more than {EDGE_HOURS} h before their stay or after "
            "its end; they are left out."
        )
    if summary["values_in_other_units"]:
        notes.append(
            f"{summary['values_in_other_units']:,} doses are in a unit that cannot be brought to that of "
            "the cut points, or need a weight that is not charted before them; their events have no value."
        )
    for window in summary["windows"]:
        if window["truncated_stays"]:
            hours = "whole stay" if window["hours"] is None else f"first {window['hours']:g} h"
            notes.append(
                f"{window['truncated_stays']} stays have more than {settings.window_tokens} tokens in the "
                f"{hours}; theirs end in TRUNC."
            )
    if summary["unknown_events"]:
        share = summary["unknown_events"] / summary["n_events"]
        codes = ", ".join(list(summary["unknown_codes"])[:3])
        notes.append(
            f"{summary['unknown_events']} events ({share:.1%}) have codes that {lacking}; they became UNK "
            f"(most often {codes})."
        )
    return notes
