"""What no number of a study can tell, as its settings have it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ehrfm_core.cell_words import RULE

ALWAYS = (
    "Every token adds a jump, so path length, anomaly and site are entangled with **how much is charted**.",
    "Both maps distort. No number on any page is read from them; the quality of each is given above.",
    "A flag means unlike the source's training stays. It is not a finding about the patient.",
    "Associations are observational: adjustment for tokens, age and sex does not make them causal.",
    "Probabilities are not calibrated for another hospital.",
    f"{RULE} Where a test split has so few events, areas and intervals stay, as estimates; ROC and decision "
    "curves, rates and shares of alerts, which would count them, do not. Cohorts that differ by a few stays "
    "each have a size of their own: who compares them can tell those few.",
)


def limits(tokenizer: Mapping[str, Any], *, n_sites: int, synthetic: bool) -> list[str]:
    """Sentences of Markdown; `tokenizer` is the content of `tokenizer.json`, empty where there is none yet.

    >>> [text for text in limits({"window_hours": 48.0}, n_sites=1, synthetic=False) if "48 h" in text]
    ['The window is 48 h of one stay; earlier hospitalizations are not seen.']
    """
    hours, history = tokenizer.get("window_hours", 24), tokenizer.get("history", False)
    earlier = (
        "the patient's earlier stays are seen as far as they are in the study and fit in front of it"
        if history
        else "earlier hospitalizations are not seen"
    )
    found = [
        *ALWAYS,
        f"The window is {hours:g} h of one stay; {earlier}.",
        "Bins and vocabulary are learnt at the source; what a second hospital charts otherwise becomes "
        "unknown tokens, and its values fall into bins made for others: the page Vocabulary counts both.",
    ]
    if not tokenizer.get("spacing", False):
        found.append("The model is told the order of events, not the time between them.")
    if n_sites == 1:
        found.append("There is one hospital in this study: how its model does in another cannot be told.")
    if synthetic:
        found.append(
            "The patients are synthetic: the numbers show what the methods do, nothing about medicine."
        )
    return found
