from __future__ import annotations

from pathlib import Path

import pytest

from ehrfm_core.cell_words import in_words
from ehrfm_core.study import open_study
from tests.dashboard.test_pages import Open, fine, text

STUDIES = Path(__file__).parents[2] / "data_samples/studies"


@pytest.mark.parametrize("page", ["overview", "methods"])
def test_the_many_are_folded_and_none_is_lost(open_page: Open, page: str) -> None:
    app = open_page(STUDIES, page, b="mimic-iv-demo")
    fine(app)
    folded = [expander.label for expander in app.expander]
    assert "3 outcomes with too few events to be read at a site" in folded
    words = text(app).replace("\\", "")
    for note in open_study(STUDIES / "mimic-iv-demo").manifest.notes:
        assert in_words(note) in words


def test_what_weighs_most_comes_first(open_page: Open) -> None:
    words = text(open_page(STUDIES, "overview", b="mimic-iv-demo")).replace("\\", "")
    assert (
        words.index("One site only: there is") < words.index("245 of 275 stays") < words.index("Tuning loss")
    )
