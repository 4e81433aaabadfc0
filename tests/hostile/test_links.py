"""Links that somebody made up: every parameter of every page, and the words that carry cohorts."""

from __future__ import annotations

import base64
import json
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from dashboard import cohorts, navigation, state
from ehrfm_core.cohorts import Cohort
from ehrfm_core.errors import UserError
from tests.hostile.nasty import TEXT, VALUES, WORDS, examples, sentence, spoilt
from tests.make_study import make_study

APP = Path(__file__).parents[2] / "dashboard/app.py"
PARAMETERS = sorted(
    value for name, value in vars(state).items() if name[0].isupper() and isinstance(value, str)
)
RULE = Cohort.of(
    levels={"sex": ["Female", None], "site": ["mimic"]}, ranges={"age": (50, None)}, flags={"death": False}
).to_json()
RULE |= {
    "regions": [{"kind": "pca", "hour": "end", "shapes": [[[0, 0], [9, 0], [9, 9]]]}],
    "study": "ab12",
    "map": "cd34",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("links")
    make_study(made / "two", sites={"mimic": 60, "ucmc": 50})
    return made


@pytest.mark.parametrize("page", navigation.PAGES)
def test_a_link_of_any_words_opens_the_page(folder: Path, page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["app.py", "--studies", str(folder)])
    words = st.sampled_from([word for word in WORDS if "\ud800" not in word]) | st.text(
        st.characters(exclude_categories=["Cs"]), max_size=12
    )
    values = words | st.lists(words, max_size=3)

    @examples(3, long=25)
    @given(st.dictionaries(st.sampled_from(PARAMETERS), values, min_size=4))
    def check(query: dict[str, str | list[str]]) -> None:
        app = AppTest.from_file(APP, default_timeout=120)
        app.query_params.update(query)
        app.switch_page(f"app_pages/{page}.py")
        app.run()
        assert not app.exception, (query, [(e.message, e.stack_trace[-3:]) for e in app.exception])

    check()


@examples(60)
@given(TEXT | st.binary(max_size=60).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_any_word_is_a_cohort_or_one_sentence(word: str) -> None:
    check(lambda: cohorts.decode(word))


@examples(60)
@given(spoilt(RULE) | VALUES)
def test_any_rule_is_a_cohort_or_one_sentence(value: Any) -> None:
    text = json.dumps(value)
    word = base64.urlsafe_b64encode(zlib.compress(text.encode())).decode().rstrip("=")
    check(lambda: cohorts.decode(word))
    check(lambda: cohorts.from_file(json.dumps({"format": cohorts.FORMAT, "cohort": value}).encode()))


@examples(30)
@given(st.binary(max_size=80) | TEXT.map(lambda text: text.encode(errors="replace")))
def test_any_file_is_a_cohort_or_one_sentence(content: bytes) -> None:
    check(lambda: cohorts.from_file(content))


def test_a_word_that_unpacks_to_gigabytes_is_not_unpacked() -> None:
    packed = base64.urlsafe_b64encode(zlib.compress(b" " * 2_500_000, 9)).decode()
    assert len(packed) < cohorts.MAX_LINK
    with pytest.raises(UserError):
        cohorts.decode(packed)


def check(read: Any) -> None:
    """A cohort that has a text and an id, or one sentence."""
    try:
        found = read()
    except UserError as error:
        sentence(error, most=200)
        return
    assert Cohort.from_text(found.text()) == found
    assert len(found.id) == 10
