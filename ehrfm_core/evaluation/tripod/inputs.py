"""Answers about predictors, and how the data become the model's input: items 6c, 7, 8b to 9c, 11, 27a."""

from __future__ import annotations

from ehrfm_core import cell_words
from ehrfm_core.evaluation.tripod.facts import DEMOGRAPHICS, Facts
from ehrfm_core.evaluation.tripod.participants import untold
from ehrfm_core.tokens.vocabulary import FAMILY_LABELS

TREATMENTS = ("medication", "dose", "respiratory", "crrt", "position")
JUDGED = ("assessment", "answer")


def treatments(f: Facts) -> list[str]:
    """Item 6c."""
    given = [_family(name, n) for name, n in f.codes().items() if name in TREATMENTS]
    return [
        f"Treatments within the window are predictors: {', '.join(given)}."
        if given
        else "No treatment is among the predictors.",
        "Treatments after the window are neither seen nor adjusted for.",
    ]


def preparation(f: Facts) -> list[str]:
    """Item 7."""
    lines = [
        "Each stay becomes one list of tokens in the order of time; nothing is filled in or averaged, "
        "and every patient is treated alike, whatever sex, race or ethnicity.",
    ]
    for site in f.study.sites:
        known = f.site_summary(site)
        parts = [
            f"{known[key]:,} {words}"
            for key, words in (
                ("n_events", "events read"),
                ("unknown_events", "of codes that the source's training split lacks (they became UNK)"),
                ("events_outside", "left out because they lie far outside their stay"),
                ("values_in_other_units", "values in a unit that cannot be converted"),
                ("truncated_stays", "stays cut off at the longest window"),
            )
            if known.get(key) is not None
        ]
        if parts:
            lines.append(f"{site}: {'; '.join(parts)}.")
    return lines


def assessors(_: Facts) -> list[str]:
    """Item 8b."""
    return ["Nobody judged: a fixed rule reads every outcome from the tables."]


def blinding(f: Facts) -> list[str]:
    """Item 8c."""
    return [
        "A fixed rule reads the outcomes from the tables and takes no notice of predictors or predictions.",
        f"The model sees nothing after {f.window}, so that no outcome that counts is among its inputs.",
    ]


def choice(f: Facts) -> list[str]:
    """Item 9a."""
    events = f.tokenizer.get("events", {})
    named = f"the event map “{events['name']}”" if "name" in events else "the study's event map"
    return [f"All codes of {named} that occur in the source's training split; no selection after it."]


def predictors(f: Facts) -> list[str]:
    """Item 9b."""
    families = [_family(name, n) for name, n in f.codes().items() if name != "discharge"]
    families += ["Age"] if "age" in f.prefix else []  # it stands as a bin without a code
    return [
        f"The events of the first {f.window} of a stay, each at the time at which it was recorded.",
        *(["The patient's earlier stays stand before the window."] if f.tokenizer.get("history") else []),
        f"{len(f.tokenizer.get('vocabulary', {})):,} tokens; codes by kind: {', '.join(families)}.",
        "tokenizer.json lists every code, its unit and its cut points.",
    ]


def judged(f: Facts) -> list[str]:
    """Item 9c."""
    codes = {name: n for name, n in f.codes().items() if name in JUDGED}
    if not codes:
        return ["No assessment by staff is among the predictors."]
    return [f"By staff, in routine care: {', '.join(_family(name, n) for name, n in codes.items())}."]


def missing(f: Facts) -> list[str]:
    """Item 11."""
    lines = [
        "What is not charted has no token: nothing is imputed, and that something was not measured is itself "
        "visible to the model.",
        "A stay whose outcome is not recorded does not count for that outcome.",
    ]
    for site, stays in f.stays.items():
        unknown = [f"{column} {untold(stays, column)}" for column in DEMOGRAPHICS]
        labels = [f"{o.label} {untold(stays, o.name)}" for o in f.outcomes.values()]
        lines.append(
            f"{site}, not recorded of {cell_words.stays(stays.height)}: {', '.join([*unknown, *labels])}."
        )
    return [*lines, *f.notes("tokenize", "left out", " events ")]


def _family(name: str, n: int) -> str:
    return f"{FAMILY_LABELS.get(name, name)} ({n:,})"


def poor_input(f: Facts) -> list[str]:
    """Item 27a."""
    return [
        "What is not charted has no token, codes that training did not know become UNK, and a window of "
        f"more than {f.tokenizer.get('max_tokens', 0):,} tokens is cut off; nothing refuses a stay for it.",
    ]


ANSWERS = {
    "6c": ("tokenize", treatments),
    "7": ("tokenize", preparation),
    "8b": ("tokenize", assessors),
    "8c": ("tokenize", blinding),
    "9a": ("tokenize", choice),
    "9b": ("tokenize", predictors),
    "9c": ("tokenize", judged),
    "11": ("tokenize", missing),
    "27a": ("tokenize", poor_input),
}
