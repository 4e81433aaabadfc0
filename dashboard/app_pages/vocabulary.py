"""Vocabulary: what the model reads, and how far it fits each hospital."""

from __future__ import annotations

import polars as pl
import streamlit as st

from dashboard import data, hospitals_charted, state, theme, typed_result, ui
from dashboard import vocabulary as words
from dashboard.charts import vocabulary as charts
from ehrfm_core.errors import UserError
from ehrfm_core.study import Study
from ehrfm_core.tokens import vocabulary as names
from ehrfm_core.tokens.categories import event_codes, psi
from ehrfm_core.tokens.tokenizer import Tokenizer
from ehrfm_core.tokens.value_units import value_units


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
    ui.section("Do the hospitals chart the same things?")
    if rows is None:
        ui.absent(
            "Coverage and drift are not in this study",
            ui.plain(missing or ""),
            f"python -m train tokenize {study.folder} --site NAME=DIR",
        )
    else:
        hospitals_charted.draw(study, rows)
    families(study, tokenizer, rows)
    others(study, tokenizer)


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
            f"The tokens are those of study {ui.plain(str(first.get('name')))}, whose source they were learnt "
            f"at; tokens from number {first.get('inherited')} on were appended here."
        )


def result(study: Study, tokenizer: Tokenizer, rows: pl.DataFrame | None) -> None:
    """One category: a result of it as tokens, its bins, and how each hospital has it."""
    ui.section("One result, as the model reads it")
    choices = words.options(tokenizer, rows)
    if not choices:
        st.caption("This vocabulary has no category of events.")
        return
    if state.CODE not in st.query_params:
        st.session_state.setdefault(state.CODE, words.first_code(tokenizer, choices))
    left, right = st.columns([2, 3], gap="large")
    with left:
        code = ui.pick(
            "Category",
            choices,
            key=state.CODE,
            what="category",
            help="Type to search. Those the vocabulary does not know stand with “(unknown)”.",
        )
        typed = typed_result.draw(tokenizer, code)
    with right:
        bins(study, tokenizer, code, typed)
    if rows is not None and code != names.AGE:
        by_hospital(study, rows.filter(pl.col("code") == code))


def bins(study: Study, tokenizer: Tokenizer, code: str, typed: int | None) -> None:
    """The ruler of a category's bins, with the share of values in each."""
    tokens = tokenizer.value_tokens(code)
    label = words.code_label(code)
    if not tokens:
        known = code in event_codes(tokenizer)
        ui.absent(
            f"{label}: no bins",
            f"No training stay of {ui.plain(study.source)} has a value of it, so the event is its category alone."
            if known
            else f"No training stay of {ui.plain(study.source)} has it: at every hospital its events become "
            f"`{names.UNK}`, and the model cannot tell them from other unknown ones.",
            icon=":material/straighten:",
        )
        return
    edges = tokenizer.reference.get(code) or tokenizer.cut_points[code]
    empty = [] if code in tokenizer.reference else words.empty_bins(edges)
    counts = words.values_by_bin(study, tokenizer, code)
    titles = {(s, w): f"{s}, {'training split' if w == words.TRAINED else 'other stays'}" for s, w in counts}
    titles |= {(s, w): s for s, w in counts if w == words.ALL}
    shares = {titles[key]: (own / own.sum()).tolist() for key, own in counts.items()}
    colours = theme.site_colours(study.sites)
    unit = value_units(tokenizer).get(code)
    converted = code in tokenizer.units or code == names.AGE
    axis = f"Cut points of {words.code_label(code).partition(' · ')[2] if code != names.AGE else 'age'}"
    axis += f", {unit}{'' if converted else ' (the unit CLIF asks for)'}" if unit else ""
    ui.chart(
        charts.ruler(
            charts.Bins(tokens, edges, empty, typed),
            shares,
            {titles[site, which]: colours[site] for site, which in counts},
            trained=titles.get((study.source, words.TRAINED), ""),
            axis=axis,
        ),
        key="vocabulary-bins",
        alt=f"{label}: {ui.count(len(tokens), 'bin')} with cut points "
        + (", ".join(f"{edge:g}" for edge in edges) or "none")
        + "; above them the share of values in each bin by hospital"
        + (
            f". The typed result falls into {tokens[typed]}"
            if typed is not None and typed < len(tokens)
            else ""
        ),
        caption=_caption(
            tokenizer, code, edges, empty, {titles[key]: int(n.sum()) for key, n in counts.items()}
        ),
    )
    source = counts.get((study.source, words.TRAINED))
    if code == names.AGE and source is not None:
        told = [(titles[key], psi(source, own)) for key, own in counts.items() if key[1] != words.TRAINED]
        st.caption(
            " ".join(
                f"Drift of {name}: PSI {value:.3f}, {noise:.3f} by chance."
                for name, (value, noise) in told
                if value is not None
            )
        )


def _caption(
    tokenizer: Tokenizer, code: str, edges: list[float], empty: list[int], values: dict[str, int]
) -> str:
    """What is drawn, of how many values, and why a ruler is shorter or has gaps."""
    asked, n = tokenizer.settings.n_bins, len(edges) + 1
    parts = ["Bins are drawn equally wide whatever values they hold."]
    if code in tokenizer.reference:
        parts.append("LOW and HIGH lie outside the reference range, both of whose ends are NORMAL.")
    else:
        parts.append("A value at a cut point belongs to the bin above it.")
        if n < asked:
            parts.append(
                f"{ui.count(n, 'bin')} in place of {asked}: the training values are no more than that."
            )
    if empty:
        tokens = ", ".join(f"Q{i}" for i in empty)
        parts.append(
            f"Hatched, {tokens}: always empty, as so many values are the same that cut points coincide."
        )
    parts.append(
        "Values of whole stays: "
        + ", ".join(f"{name} {n:,}" for name, n in values.items())
        + ". No interval."
        if values
        else "The timelines hold no value of it."
    )
    return ui.plain(" ".join(parts))


def by_hospital(study: Study, rows: pl.DataFrame) -> None:
    """One category at every hospital."""
    becomes = pl.when("known").then(pl.lit("its own token")).otherwise(pl.lit(names.UNK))
    ui.table(
        rows.select(
            "site",
            "coverage",
            "n_stays_window",
            "n_events_window",
            "n_stays",
            "n_events",
            "n_values",
            "not_numbers",
            "psi",
            "psi_noise",
            becomes.alias("becomes"),
        ),
        height="content",
        alt="The chosen category by hospital: coverage, events, values, drift",
        column_config={
            "site": "Hospital",
            "coverage": st.column_config.ProgressColumn(
                "Stays with it",
                format="percent",
                min_value=0,
                max_value=1,
                color="blue",
                help="Share of all stays that have it in the window",
            ),
            "n_stays_window": st.column_config.NumberColumn("Stays, window", format="localized"),
            "n_events_window": st.column_config.NumberColumn("Events, window", format="localized"),
            "n_stays": st.column_config.NumberColumn("Stays, whole", format="localized"),
            "n_events": st.column_config.NumberColumn("Events, whole", format="localized"),
            "n_values": st.column_config.NumberColumn("With a bin", format="localized"),
            "not_numbers": st.column_config.NumberColumn(
                "No numbers", format="localized", help="Values that were NaN, infinite or text"
            ),
            "psi": st.column_config.NumberColumn("PSI", format="%.3f", help=hospitals_charted.PSI),
            "psi_noise": st.column_config.NumberColumn(
                "By chance", format="%.3f", help=hospitals_charted.NOISE
            ),
            "becomes": "Becomes",
        },
    )


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
        f"A stay: mean tokens of the family in the {tokenizer.settings.window_hours:g} h window, all stays; a value "
        "counts for its category. Unknown: share of the family's events, whole stays, that become UNK."
        + ("" if means else " This study does not hold how many tokens a stay has.")
    )


def others(study: Study, tokenizer: Tokenizer) -> None:
    """Tokens that stand for no event."""
    ui.section("Tokens around and between events", "In the order in which a stay's timeline has them.")
    rows = words.other_tokens(tokenizer)
    st.table(
        pl.DataFrame(
            [(where, ui.plain(token), ui.plain(text)) for where, token, text in rows],
            schema={"Where": pl.String, "Token": pl.String, "What for": pl.String},
            orient="row",
        ),
        hide_index=True,
        border="horizontal",
        alt="Tokens that stand for no event, where they stand and what for",
    )
    cut = words.cut_off(study, tokenizer)
    if cut:
        st.caption(
            "Windows that end in TRUNC: "
            + ", ".join(f"{ui.plain(site)} {n:,} of {total:,}" for site, (n, total) in cut.items())
            + "."
        )


main()
