"""Answers about data, participants, outcomes and predictors: items 4 to 6b, 8a, 10, 18e and 20."""

from __future__ import annotations

import polars as pl

from ehrfm_core import cell_words, small_cells
from ehrfm_core.cohort import ADULT_YEARS, OLDEST_YEARS
from ehrfm_core.evaluation.tripod.facts import DEMOGRAPHICS, Facts, average, listed

SHOWN_LEVELS = 5


def objectives(f: Facts) -> list[str]:
    """Item 4."""
    return [
        f"Both: a model is developed at {f.study.source} and evaluated there on patients it was not fitted on"
        + (f", and at {listed(f.targets)} on patients of another hospital." if f.targets else "."),
        f"Outcomes: {listed([outcome.label for outcome in f.outcomes.values()])}.",
    ]


def sources(f: Facts) -> list[str]:
    """Item 5a."""
    lines = ["SYNTHETIC data: no real patient is among them."] if f.study.manifest.synthetic else []
    for site in f.study.sites:
        role = "development and internal evaluation" if site == f.study.source else "evaluation elsewhere"
        stays = f.stays[site]
        people = cell_words.people(stays["patient_id"].n_unique())
        lines.append(f"{site} ({role}): {cell_words.stays(stays.height)} of {people}.")
    tables = {
        source["table"] for source in f.tokenizer.get("events", {}).get("sources", []) if "table" in source
    }
    if tables:
        lines.append(f"Events are read from these tables: {', '.join(sorted(tables))}.")
    return lines


def setting(f: Facts) -> list[str]:
    """Item 6a."""
    n = len(f.study.sites)
    return [f"{n} {'hospital' if n == 1 else 'hospitals'}, stays in hospital: {', '.join(f.study.sites)}."]


def eligibility(f: Facts) -> list[str]:
    """Item 6b."""
    return [
        f"Adults ({ADULT_YEARS} to {OLDEST_YEARS} years at admission) whose stay lasted {f.window} or more.",
        *f.notes("tokenize", "left out", "stays"),
        *(
            f"{outcome.label}: stays with the event within the window do not count for it."
            for outcome in f.outcomes.values()
            if outcome.excluded_by
        ),
    ]


def definitions(f: Facts) -> list[str]:
    """Item 8a."""
    lines = [f"Predicted once, {f.window} after the stay began, for the rest of the stay."]
    for outcome in f.outcomes.values():
        unknown = {site: untold(stays, outcome.name) for site, stays in f.stays.items()}
        told = ", ".join(f"stays of {site} {n}" for site, n in unknown.items() if n != "0")
        lines.append(f"{outcome.label}: {outcome.definition}" + (f" Not recorded: {told}." if told else ""))
    return lines


def size(f: Facts) -> list[str]:
    """Item 10."""
    lines = ["Every stay that could take part was taken."]
    lines += [
        f"{site}: {f.split_line(site)} stays. With the outcome: {f.event_line(site)}."
        for site in f.study.sites
    ]
    tokens = f.summary("pretrain").get("train_tokens")
    return [*lines, f"The model was trained on {tokens:,} tokens."] if tokens is not None else lines


def data_sharing(f: Facts) -> list[str]:
    """Item 18e: known of synthetic data alone."""
    return (
        ["SYNTHETIC data: no patient's privacy stands against sharing them."]
        if f.study.manifest.synthetic
        else []
    )


def flow(f: Facts) -> list[str]:
    """Item 20a."""
    lines = f.notes("tokenize", "left out", "stays")
    for site, stays in f.stays.items():
        quartiles = [stays["los_hours"].quantile(q, "linear") for q in (0.25, 0.5, 0.75)]
        low, middle, high = ("unknown" if x is None else f"{x:,.0f}" for x in quartiles)
        lines += [
            f"{site}: {cell_words.stays(stays.height)} taken, {f.split_line(site)}.",
            f"{site}, with the outcome of those that count: {f.event_line(site)}.",
            f"{site}, followed to the end of the stay: hours, median {middle} (quartiles {low}–{high}).",
        ]
    return lines


def characteristics(f: Facts) -> list[str]:
    """Item 20b."""
    lines = []
    for site, stays in f.stays.items():
        groups = [
            f"{column}: " + ", ".join(f"{level} {n}" for level, n in _levels(stays, column))
            for column in DEMOGRAPHICS
        ]
        about = [
            f"{cell_words.stays(stays.height)} of {cell_words.people(stays['patient_id'].n_unique())}",
            f"mean age {average(stays['age'], 1)} years",
            *groups,
            f"on average {average(stays['n_tokens'])} tokens in the window",
        ]
        lines.append(f"{site}: {'; '.join(about)}.")
    return [*lines, "The Overview page has the table."]


def compared(f: Facts) -> list[str]:
    """Item 20c."""
    source = f.study.source
    train, test = (f.stays[source].filter(pl.col("split") == split) for split in ("train", "test"))
    tuning = f.stays[source].filter(pl.col("split") == "tuning")
    rows = [(f"{source}, training", train, tuning), (f"{source}, test", test, tuning.clear())]
    rows += [
        (f"{site}, test", f.stays[site].filter(pl.col("split") == "test"), tuning.clear())
        for site in f.targets
    ]
    return [f"{label}: {_profile(f, stays, left)}." for label, stays, left in rows]


def _profile(f: Facts, stays: pl.DataFrame, left: pl.DataFrame) -> str:
    """Age, share of women, tokens and outcome rates of some stays; `left` follow from the others."""
    women = [frame["sex"].str.to_lowercase() == "female" for frame in (stays, left)]
    told = [
        cell_words.stays(stays.height),
        f"mean age {average(stays['age'], 1)}",
        f"{_percent(*women)} female",
        f"{average(stays['n_tokens'])} tokens",
    ]
    for outcome in f.outcomes.values():
        had = [frame.filter(outcome.counts())[outcome.name] for frame in (stays, left)]
        told.append(f"{outcome.label} {_percent(*had)}")
    return ", ".join(told)


def _percent(flags: pl.Series, left: pl.Series) -> str:
    """Share of stays, where neither it nor that of those `left` is a small cell."""
    counts = [(int(values.sum() or 0), values.len() - values.null_count()) for values in (flags, left)]
    if any(small_cells.small(n) or small_cells.unsafe(had, n) for had, n in counts):
        return cell_words.UNTOLD
    return f"{average(100 * flags.cast(pl.Float64), 1)} %"


def _levels(stays: pl.DataFrame, column: str) -> list[tuple[str, str]]:
    """The commonest values and their counts; what is not recorded as `not recorded`."""
    found = stays[column].cast(pl.String).drop_nulls().value_counts(name="n")
    names = found.sort("n", column, descending=[True, False])[column].to_list()
    counts, hidden = small_cells.levels(stays.with_columns(pl.col(column).cast(pl.String)), column, names)
    told = [cell_words.UNTOLD if few else f"{n:,}" for n, few in zip(counts, hidden, strict=True)]
    every = [pair for pair in zip([*names, "not recorded"], told, strict=True) if pair[1] != "0"]
    return [*every[:SHOWN_LEVELS], *([("others", cell_words.UNTOLD)] if len(every) > SHOWN_LEVELS else [])]


def untold(stays: pl.DataFrame, column: str) -> str:
    """How many stays do not have the column, as the table of characteristics tells it."""
    names = stays[column].drop_nulls().unique().to_list()
    counts, hidden = small_cells.levels(stays, column, names)
    return cell_words.UNTOLD if hidden[-1] else f"{counts[-1]:,}"


ANSWERS = {
    "4": ("tokenize", objectives),
    "5a": ("tokenize", sources),
    "6a": ("tokenize", setting),
    "6b": ("tokenize", eligibility),
    "8a": ("tokenize", definitions),
    "10": ("tokenize", size),
    "18e": ("tokenize", data_sharing),
    "20a": ("tokenize", flow),
    "20b": ("tokenize", characteristics),
    "20c": ("tokenize", compared),
}
