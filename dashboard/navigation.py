"""The pages: name in `app_pages` and in the address, title, icon, and the question it answers."""

from __future__ import annotations

HOME = "overview"  # at the address without a name
GROUPS = {
    "Start here": [
        ("overview", "Overview", ":material/home:", "What am I looking at, and is it real data?"),
        ("story", "Story", ":material/auto_stories:", "Five minutes through the study"),
    ],
    "Patients": [
        ("map", "Map", ":material/scatter_plot:", "Where patients lie in the model's space"),
        ("patient", "Patient", ":material/timeline:", "One stay's first 24 hours"),
    ],
    "Findings": [
        ("dynamics", "Dynamics", ":material/trending_up:", "Does movement go with outcome?"),
        ("outliers", "Outliers", ":material/blur_on:", "Who is unlike the source's patients?"),
        ("transfer", "Transfer", ":material/swap_horiz:", "Does a model from one hospital work in another?"),
    ],
    "Behind it": [
        ("vocabulary", "Vocabulary", ":material/dictionary:", "What does the model read?"),
        ("training", "Training", ":material/model_training:", "How did the model learn?"),
        ("methods", "Methods", ":material/menu_book:", "Definitions, settings, limits"),
    ],
}
PAGES = tuple(name for entries in GROUPS.values() for name, *_ in entries)


def address(page: str) -> str:
    """The last part of a page's address.

    >>> address("map"), address("overview")
    ('map', '')
    """
    return "" if page == HOME else page
