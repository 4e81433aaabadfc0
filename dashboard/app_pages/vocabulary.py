"""Vocabulary: what the model reads, and how far it fits each hospital."""

from __future__ import annotations

import polars as pl
import streamlit as st

from dashboard import controls, data, hospitals_charted, other_tokens, state, typed_result, ui, value_bins
from dashboard import vocabulary as words
from ehrfm_core.errors import UserError
from ehrfm_core.study import Study
from ehrfm_core.tokens import vocabulary as names
from ehrfm_core.tokens.categories import event_codes
from ehrfm_core.tokens.tokenizer import Tokenizer


def main() -> None:
    """Draw the page."""
    study, _ = ui.current()
    ui.header(
        "Vocabulary",
        "What does the model read? Never a value itself: only tokens of a vocabulary learnt at "
        f"{ui.plain(study.source)}, for every hospital alike.",
    )
    ui.needs(study, "tokenize")
    tokenizer = Tokenizer.from_json(data.tokenizer(study))
    try:
        rows, missing = words.categories(study), None
    except UserError as error:
        rows, missing = None, str(error)
    facts(study, tokenizer)
    result(study, tokenizer, rows)
    ui.section(
        "Do the hospitals chart the same things?"
        if len(study.sites) > 1
        else "What is charted, and does it drift?"
    )
    if rows is None:
        ui.absent(
            "Coverage and drift are not in this study",
            ui.plain(missing or ""),
            f"python -m train tokenize {study.folder} --site NAME=DIR",
        )
    else:
        hospitals_charted.draw(study, rows)
    families(study, tokenizer, rows)
    other_tokens.draw(study, tokenizer)


def facts(study: Study, tokenizer: Tokenizer) -> None:
    """Size and scheme."""
    settings = tokenizer.settings
    shown = (
        ("Tokens in the vocabulary", f"{len(tokenizer.vocabulary):,}"),
        ("Categories of events", f"{len(event_codes(tokenizer)):,}"),
        ("With value bins", f"{len(({*tokenizer.cut_points} | {*tokenizer.reference}) - {names.AGE}):,}"),
        ("Bins asked for", f"{settings.n_bins:,}"),
        ("Window", f"{settings.window_hours:g} h"),
        ("Longest window", f"{settings.window_tokens:,} tokens"),
    )
    for column, (label, value) in zip(st.columns(len(shown)), shown, strict=True):
        column.metric(label, value)
    parts = [
        "an event is a category token, then the token of its value's bin"
        if settings.scheme == "paper"
        else "an event is one token, its category and its value's bin fused",
        "LOW, NORMAL, HIGH where CLIF gives a reference range"
        if settings.bins == "reference"
        else f"bins are quantiles of the values in the training split of {ui.plain(study.source)}",
        "gaps in time are tokens" if settings.spacing else "time between events is not told",
        "specimen and order of labs are kept apart" if settings.labs == "fine" else None,
        "the patient's earlier stays stand before the window" if settings.history else None,
        f"events by the map “{ui.plain(tokenizer.events.name)}”",
    ]
    st.caption(f"Scheme {settings.scheme}: " + "; ".join(part for part in parts if part) + ".")
    first = study.manifest.stages["tokenize"].settings.get("from")
    if isinstance(first, dict):
        st.caption(
            f"The tokens are those of study {ui.plain(str(first.get('name')))} and were learnt there; "
            f"those from number {first.get('inherited')} on were appended here."
        )


def result(study: Study, tokenizer: Tokenizer, rows: pl.DataFrame | None) -> None:
    """One category: a result of it as tokens, its bins, and how each hospital has it."""
    ui.section("One result, as the model reads it")
    choices = words.options(tokenizer, rows)
    if not choices:
        st.caption("This vocabulary has no category of events.")
        return
    left, right = st.columns([2, 3], gap="large")
    with left:
        code = controls.pick(
            "Category",
            choices,
            key=state.CODE,
            what="category",
            help="Type to search. Those the vocabulary does not know stand with “(unknown)”.",
        )
        typed = typed_result.draw(tokenizer, code)
    with right:
        value_bins.draw(study, tokenizer, code, typed)
    if rows is not None and code != names.AGE:
        value_bins.by_hospital(rows.filter(pl.col("code") == code))


def families(study: Study, tokenizer: Tokenizer, rows: pl.DataFrame | None) -> None:
    """Tokens a stay by family and hospital."""
    means = words.token_families(study)
    ui.section("Tokens a stay, by family")
    table = words.family_table(tokenizer, rows, means)
    columns: dict[str, object] = {
        "family": "Family",
        "tokens": st.column_config.NumberColumn("In the vocabulary", format="localized"),
    }
    columns |= {
        f"mean {site}": st.column_config.NumberColumn(f"A stay, {site}", format="%.2f")
        for site in study.sites
    }
    columns |= {
        f"unknown {site}": st.column_config.NumberColumn(f"Unknown, {site}", format="percent")
        for site in study.sites
    }
    ui.table(
        table,
        height="content",
        alt="Tokens of each family in the vocabulary, and mean tokens a stay by hospital",
        column_config=columns,
    )
    st.caption(
        f"A stay: mean tokens of the family in the {tokenizer.settings.window_hours:g} h window; a value "
        "counts for its category, gaps in time are not told. Unknown: share of the family's events, in whole "
        "stays, that become UNK." + ("" if means else " This study does not hold how many tokens a stay has.")
    )


main()
