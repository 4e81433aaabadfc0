"""Notes of a study in groups: what weighs most first, what is said of many outcomes under a count.

A note is a sentence, and stays one: manifests hold lists of strings, those of studies already made too, and
a dozen places write them. So its kind is read off the sentence, here and nowhere else. That is safe because a
sentence that no pattern knows is not dropped or hidden but stands first, in full: a kind that was forgotten,
or a sentence that was worded anew, is seen more, never less. Tests hold the patterns against what the
evaluation writes and against the bundled studies.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """Sentences that `pattern` finds; its headings for one and for many; folded where there may be dozens."""

    one: str
    many: str
    pattern: str
    folded: bool = True


# in the order in which they are shown; a sentence is of the first kind that knows it
UNKNOWN = Kind("note to read first", "notes to read first", "", folded=False)
KINDS = (
    Kind(
        "note on what was left out, cut off or unknown",
        "notes on what was left out, cut off or unknown",
        r"(are|is|were|was) (left out|missing)|events have no value|became UNK|are UNK still|end in TRUNC"
        r"|no path measures|no event in the window|no stay can tell",
        folded=False,
    ),
    Kind("model that could not be fitted", "models that could not be fitted", r"^No model could be fitted"),
    Kind("fit that did not settle", "fits that did not settle", r"stopped before it settled"),
    Kind(
        "outcome with too few events to be read at a site",
        "outcomes with too few events to be read at a site",
        r"too few for the figures to be read|has the event, so that there is no AUC"
        r"|counts for this outcome, so there is nothing to test",
    ),
    Kind(
        "comparison that a baseline wins",
        "comparisons that a baseline wins",
        r"does better than the foundation model; AUC",
    ),
    Kind(
        "comparison in which the foundation model is not shown to beat a baseline",
        "comparisons in which the foundation model is not shown to beat a baseline",
        r"the foundation model is not shown to do better than .*; AUC",
    ),
    Kind(
        "outcome at a site whose intervals needed a formula, or have none",
        "outcomes at a site whose intervals needed a formula, or have none",
        r"Newcombe's formula is used|have no interval, since resampling",
    ),
    Kind(
        "set of associations that cannot be estimated",
        "sets of associations that cannot be estimated",
        r"^The association of .* can ?not be estimated",
    ),
    Kind(
        "gap between hospitals that re-weighting cannot divide",
        "gaps between hospitals that re-weighting cannot divide",
        r"re-weighted by .* to look like .* has no figure|is not re-weighted to look like",
    ),
    Kind(
        "count of an outcome of your own at a site",
        "counts of outcomes of your own at a site",
        r"stays that count have the event; [\d,]+ had it in the window",
    ),
    Kind("note on the training", "notes on the training", r"^Tuning loss \d"),
)


@dataclass(frozen=True)
class Group:
    """Notes of one kind, in the order in which they were written."""

    kind: Kind
    notes: list[str]

    @property
    def heading(self) -> str:
        """How many of what."""
        return f"{len(self.notes)} {self.kind.one if len(self.notes) == 1 else self.kind.many}"


def grouped(notes: Sequence[str]) -> list[Group]:
    """Every note once, in groups: first what no kind knows, then the kinds in their order.

    >>> few = "Death at a: only 3 of the 57 test stays have the event, too few for the figures to be read."
    >>> [(group.heading, len(group.notes)) for group in grouped([few, "The disk was full.", few])]
    [('1 note to read first', 1), ('2 outcomes with too few events to be read at a site', 2)]
    """
    found: dict[Kind, list[str]] = {kind: [] for kind in (UNKNOWN, *KINDS)}
    for note in notes:
        found[next((kind for kind in KINDS if re.search(kind.pattern, note)), UNKNOWN)].append(note)
    return [Group(kind, some) for kind, some in found.items() if some]


def summary(notes: Sequence[str], *, most: int = 3) -> list[str]:
    """Lines for a terminal: each note, but of a folded kind with more than `most` its heading alone."""
    lines = []
    for group in grouped(notes):
        lines += [group.heading] if group.kind.folded and len(group.notes) > most else group.notes
    return lines
