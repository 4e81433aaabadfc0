"""Patient: one stay's first 24 hours as a path, and what was charted where the path jumped."""

from __future__ import annotations

import polars as pl
import streamlit as st

from dashboard import (
    controls,
    data,
    nearest_stays,
    pinned,
    population,
    quality,
    state,
    stay_table,
    stays,
    theme,
    timeline,
    ui,
    what_if,
    whole_stay,
)
from dashboard.charts import maps, paths, playback
from dashboard.charts.patient import Other, lanes
from ehrfm_core.outcomes import Outcome
from ehrfm_core.study import Study


def main() -> None:
    """Draw the page."""
    study, outcome = ui.current()
    ui.header(
        "Patient",
        "What happened to one patient in the first 24 hours, and where did the model change its mind?",
    )
    ui.needs(study, "tokenize", "pretrain", "embed")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        site = stays.chosen_site(study)
        group = controls.pick("Stays in the table", stays.groups(study), key=state.GROUP, what="group")
        order = controls.pick("Ordered by", stays.ORDERS, key=state.ORDER, what="order")
        stays.find(study)
    listed = stays.candidates(study, site, outcome, group, order)
    if listed.is_empty():
        st.info("No stay is in this group: choose another one above.", icon=":material/filter_alt_off:")
        return
    stay = stays.focused(study, site, listed)
    assert stay is not None
    key = f"stays-{study.digest}-{site}-{group}-{order}-{outcome.name}"
    stay_table.table(study, listed, outcome, site, stay, key=key, height=215)
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.header(f"Stay {ui.plain(stay)}", anchor=False, width="content")
        held = pinned.pinned(study)
        with st.container(horizontal=True, vertical_alignment="center", width="content"):
            stays.stepping(listed, site, stay)
            pinned.button(site, stay, held)
    summary(study, row_of(study, site, stay), outcome)
    other = pinned.other(study, held, site, stay)
    if held is not None:
        pinned.header(held, focused=other is None)
        if other is not None:
            summary(study, row_of(study, *held), outcome, in_brief=True)
    left, right = st.columns([5, 2], gap="medium")
    with left:
        day(study, site, stay, outcome, other)
    with right, st.container(key="maps-of-the-path"):
        pictures(study, site, stay, other)
    nearest_stays.section(study, outcome, site, stay)
    whole_stay.section(study, outcome, site, stay)
    what_if.section(study, outcome, site, stay)


def row_of(study: Study, site: str, stay: str) -> dict[str, object]:
    """Everything that is known of one stay."""
    return data.stays(study, site).filter(hospitalization_id=stay).row(0, named=True)


def summary(study: Study, row: dict[str, object], outcome: Outcome, *, in_brief: bool = False) -> None:
    """Who it is and what became of them, in one line, then figures: `in_brief` in a second line."""
    who = [text for text in (_age(row["age"]), row["sex"], row["race"]) if text]
    parts = [", ".join(ui.plain(str(item)) for item in who) or "No demographics recorded"]
    for name, other in study.outcomes.items():
        happened = row[name]
        if row[f"counts_{name}"]:
            mark = "**yes**" if happened else "no"
        else:
            mark = (
                "not known"
                if happened is None
                else "in the first 24 h already"
                if happened
                else "does not count"
            )
        parts.append(f"{other.label}: {mark}")
    st.markdown(" &nbsp;·&nbsp; ".join(parts))
    figures = (
        ("Risk at 24 h", row[f"risk_{outcome.name}"], "{:.1%}", f"{outcome.label}, probe"),
        (
            "Path length",
            row["path_length"],
            "{:,.0f}",
            "Sum of all jumps in the full space, static prefix included",
        ),
        ("Largest event jump", row["event_max_jump"], "{:.1f}", "Static prefix left out"),
        ("Anomaly score", row["anomaly_score"], "{:.2f}", "Above 0.5: unlike the source's training stays"),
        ("Tokens", row["n_tokens"], "{:,}", "Tokens in the window: path length grows with every token"),
        ("Length of stay", row["los_hours"], "{:,.0f} h", "From the stay's start to its end"),
    )
    if in_brief:
        texts = [
            f"{label} {'—' if value is None else pattern.format(value)}"
            for label, value, pattern, _ in figures
        ]
        st.markdown(" &nbsp;·&nbsp; ".join(texts))
        return
    for column, (label, value, pattern, help_text) in zip(st.columns(len(figures)), figures, strict=True):
        column.metric(label, "—" if value is None else pattern.format(value), help=help_text)


def _age(age: object) -> str | None:
    return None if age is None else f"{float(age):.0f} years"  # type: ignore[arg-type]


def day(study: Study, site: str, stay: str, outcome: Outcome, other: Other | None) -> None:
    """The three lanes and the list of the largest jumps."""
    tokens = timeline.stay_tokens(study, site, stay)
    largest = timeline.largest_jumps(tokens)
    path = population.path(study, site, stay)
    hours = len(path) - 1 if len(path) > 1 else 24
    counting = [
        o.label
        for name, o in study.outcomes.items()
        if len(path) and path[f"risk_{name}"].null_count() < len(path)
    ]
    events = tokens.filter(~pl.col("prefix"))["event"].n_unique()
    band = population.risk_band(study, site, outcome)
    ui.chart(
        lanes(
            tokens,
            largest,
            path,
            study.outcomes,
            hours=hours,
            outcome=outcome.name,
            band=band,
            name="Focus",
            other=other,
        ),
        key="lanes",
        alt=f"Three lanes over 24 hours for stay {stay}: events by family, jump at each token, risk after "
        "each hour",
        caption=f"{ui.count(events, 'event')} in {ui.count(len(tokens), 'token')}. Jumps: distance between "
        "the states before and after a token, in the model's full space; the static prefix is left out of "
        "the second lane. Numbers mark the five largest. Risk: the probe trained on the source, read "
        f"after each hour, for {', '.join(map(ui.inline, counting)) or 'no outcome'} (only what this stay "
        f"counts for). {usual(band, site, outcome)} Probabilities as the probe gives them, not calibrated. "
        "**It learned from states at the end of the window: before that, the line swings with the kind of "
        "the last token, and a peak is not a deterioration.** "
        + ("One patient: no interval." if other is None else "The pinned stay hangs below; no interval."),
    )
    if largest.is_empty():
        st.caption("No event lies in the window: there is no jump to explain.")
        return
    ui.section("What lies behind the largest jumps")
    ui.table(
        largest.select("rank", "hour", "label", "text", "jump", "information"),
        alt="The five largest jumps with the tokens behind them",
        column_config={
            "rank": st.column_config.NumberColumn("No.", width="small"),
            "hour": st.column_config.NumberColumn("Hour", format="%.1f"),
            "label": "Family",
            "text": "Token",
            "jump": st.column_config.NumberColumn("Jump", format="%.1f"),
            "information": st.column_config.NumberColumn(
                "Information, nats",
                format="%.2f",
                help="−log p of the token given everything before it: how surprised the model was",
            ),
        },
    )
    st.caption(
        "Bins are the source's training quantiles: bin 1 holds the lowest values of that measurement, the "
        "last the highest."
    )


def usual(band: pl.DataFrame, site: str, outcome: Outcome) -> str:
    """What the shaded bands are, with the number of stays behind each."""
    label = ui.inline(outcome.label)
    if band.is_empty():
        return f"Too few test stays of {site} count for {label} to shade what is usual."
    n = dict(band.select("group", "n").unique().iter_rows())
    who = (
        f"{n['with']:,} test stays of {site} with {label} and {n['without']:,} without"
        if "with" in n
        else f"{ui.count(n['all'], 'test stay')} of {site} that count for {label}"
    )
    return f"Shaded: 10th to 90th percentile, dotted: median, of {who}."


def pictures(study: Study, site: str, stay: str, other: Other | None) -> None:
    """The same path on the two maps, and the pinned stay's."""
    path = population.path(study, site, stay)
    minute = row_of(study, site, stay)["max_jump_minute"]
    colour = theme.site_colours(study.sites)[site]
    n = len(data.stays(study, site))
    beside = "" if other is None else " Diamonds: the pinned stay."
    for kind, title in maps.KINDS.items():
        info = data.maps(study)[kind]
        bins = population.bins_for(len(data.paths(study, site)))
        grid = population.counts(study, site, kind, bins=bins)
        off_map = population.counts(study, site, kind, bins=bins, off_map=True)
        figure = maps.density_map(grid, info, kind, colour=colour, height=330, off_map=off_map)
        if other is not None:
            paths.add_other_path(figure, other.path, kind, other.name)
        paths.add_path(figure, path, kind, jump_minute=minute if isinstance(minute, float) else None)
        playback.play(figure, button=0.25)
        fidelity = (info.get("quality") or {}).get("step_fidelity")
        trust = "" if fidelity is None else f" Steps here and in the full space: ρ = {fidelity:.2f}."
        ui.chart(
            figure,
            key=f"small-{kind}",
            single=True,
            alt=f"Path of stay {stay} on the {title} map",
            caption=f"{title}, over {n:,} stays of {site}.{trust}{beside} Not to scale, no interval.",
        )
    with st.expander("Can these pictures be trusted?"):
        for kind in maps.KINDS:
            st.markdown(f"**{maps.KINDS[kind]}**")
            quality.card(data.maps(study)[kind], kind)


main()
