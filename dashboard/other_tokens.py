"""Tokens that stand for no event: where they are and what for."""

from __future__ import annotations

import polars as pl
import streamlit as st

from dashboard import data, ui
from dashboard.vocabulary import family_label
from ehrfm_core.errors import UserError
from ehrfm_core.study import Study
from ehrfm_core.tokens import vocabulary as names
from ehrfm_core.tokens.tokenizer import Tokenizer


def draw(study: Study, tokenizer: Tokenizer) -> None:
    """Tokens that stand for no event."""
    ui.section("Tokens around and between events", "In the order in which a stay's timeline has them.")
    found = rows(tokenizer)
    st.table(
        pl.DataFrame(
            [(where, ui.plain(token), ui.plain(text)) for where, token, text in found],
            schema={"Where": pl.String, "Token": pl.String, "What for": pl.String},
            orient="row",
        ),
        hide_index=True,
        border="horizontal",
        alt="Tokens that stand for no event, where they stand and what for",
    )
    cut = cut_off(study, tokenizer)
    if cut:
        st.caption(
            "Windows that end in TRUNC: "
            + ", ".join(f"{ui.plain(site)} {n:,} of {total:,}" for site, (n, total) in cut.items())
            + "."
        )


def rows(tokenizer: Tokenizer) -> list[tuple[str, str, str]]:
    """Tokens that stand for no event, in the order of a timeline: where, which, what for."""
    vocabulary, settings = tokenizer.vocabulary, tokenizer.settings
    families = [names.family(token) for token in vocabulary]
    ages = tokenizer.value_tokens(names.AGE)
    rows = [("Start", names.START, "Every stay begins with it.")]
    for family in tokenizer.prefix:
        if family == names.AGE:
            which = f"{ages[0]} … {ages[-1]}" if ages else "—"
            alone = (
                "stands alone, without a category before it"
                if settings.scheme == "paper"
                else "with its category in one token"
            )
            rows.append(("Start", which, f"Age at admission, one of {len(ages)} bins; {alone}."))
        else:
            n = families.count(family)
            rows.append(
                ("Start", f"{family}/…", f"{family_label(family)}, one of {n}; known before the first event.")
            )
    if settings.spacing:
        rows.append(
            ("Between events", "time/…", "A gap of five minutes or more, before the event that ends it.")
        )
    if settings.scheme == "paper":
        values = [token for token in vocabulary if names.is_bin(token)]
        rows.append(
            (
                "After a category",
                f"{values[0]} … {values[-1]}" if values else "—",
                "Its value's bin. Categories share these: what one means depends on the category before it.",
            )
        )
        if names.ANSWER_FAMILY in families:
            n = families.count(names.ANSWER_FAMILY)
            rows.append(
                ("After a category", "answer/…", f"The answer of an assessment without a number, one of {n}.")
            )
    rows += [
        (
            "For an event",
            names.UNK,
            "An event whose code the source's training stays never had. Its value is dropped.",
        ),
        (
            "Window's end",
            names.TRUNC,
            f"Last token of a window longer than {settings.window_tokens:,} tokens; what follows is cut off.",
        ),
    ]
    if tokenizer.events.suffix:
        rows.append(
            (
                "Stay's end",
                f"{names.SUFFIX_FAMILY}/…",
                "How the stay ended. Training stays end with it; no window that is judged contains it.",
            )
        )
    rows.append(("Stay's end", names.END, "Every stay ends with it; no window that is judged contains it."))
    rows.append(("Nowhere", names.PAD, "Fills up batches; never read, never scored."))
    return rows


def cut_off(study: Study, tokenizer: Tokenizer) -> dict[str, tuple[int, int]]:
    """Windows longer than the model reads, and all windows, by site; empty where it is not known."""
    found = {}
    for site in study.sites:
        try:
            windows = data.site_table(study, site, "windows")
        except UserError:
            return {}
        own = windows.filter(pl.col("window_hours") == tokenizer.settings.window_hours)
        found[site] = (int(own["truncated"].sum()), own.height)
    return found
