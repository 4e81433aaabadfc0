"""Pages of a study whose JSON files were spoilt: drawn, or one sentence in their place, never a fault."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from ehrfm_core.study.manifest import SEAL
from tests.hostile.nasty import examples, spoilt
from tests.make_own import make_own_study
from tests.make_run import make_run
from tests.reseal import reseal

APP = Path(__file__).parents[2] / "dashboard/app.py"
READ = {  # the pages that tell most of each file
    "study.json": ("methods", "training", "overview", "vocabulary"),
    "tokenizer.json": ("vocabulary", "patient"),
    "results/maps.json": ("map", "outliers"),
    "training/run.json": ("training",),
}
UNDER = {"study.json": ("stages",)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    make_own_study(folder / "own", sites={"mimic": 60, "ucmc": 50})
    make_run(folder / "own")
    return folder


@pytest.mark.parametrize("name", READ)
def test_a_page_of_a_spoilt_file_is_drawn_or_is_one_sentence(
    made: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["app.py", "--studies", str(made)])
    path = made / "own" / name
    before = path.read_text(encoding="utf-8")
    whole = json.loads(before)
    whole.pop(SEAL, None)  # with it, every change is refused by that alone

    @examples(2, long=40)
    @given(spoilt(whole, under=UNDER.get(name, ())), st.sampled_from(READ[name]))
    def check(value: Any, page: str) -> None:
        path.write_text(json.dumps(value))
        if name != "study.json":
            reseal(made / "own")  # a new version: what is read is kept by the study's
        app = AppTest.from_file(APP, default_timeout=120)
        app.query_params["y"] = "crrt"
        app.switch_page(f"app_pages/{page}.py")
        app.run()
        assert not app.exception, [(e.message, e.stack_trace[-2:]) for e in app.exception]

    try:
        check()
    finally:
        path.write_text(before, encoding="utf-8")
