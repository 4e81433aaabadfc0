"""study.json, tokenizer.json and the tables of a study that came from somebody else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from ehrfm_core.clif.event_map import EventMap
from ehrfm_core.clif.outcome_file import OwnOutcome
from ehrfm_core.errors import UserError
from ehrfm_core.study import Study, list_studies, open_study
from ehrfm_core.study.files import read_json
from ehrfm_core.study.layout import site_schema
from ehrfm_core.study.manifest import SEAL
from ehrfm_core.study.runs import read_run
from ehrfm_core.tokens.settings import TokenSettings
from ehrfm_core.tokens.tokenizer import Tokenizer
from tests.hostile.nasty import VALUES, WORDS, examples, sentence, spoilt
from tests.make_own import make_own_study
from tests.make_run import make_run
from tests.make_study import make_study
from tests.reseal import reseal

BAD_JSON = {
    "not a number": '{"a": NaN}',
    "infinite": '{"a": -Infinity}',
    "too large": '{"a": 1e999}',
    "too whole": '{"a": ' + "9" * 5000 + "}",
    "beyond a column": '{"a": 9223372036854775808}',
    "twice": '{"a": 1, "a": 2}',
    "half a pair": '{"a": "\\ud800"}',
    "deep": "[" * 100 + "]" * 100,
    "deeper": "[" * 100_000,
    "not text": "\udcff",
    "nothing": "",
}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_own_study(tmp_path_factory.mktemp("own") / "study")
    make_run(folder)
    return folder


def look(study: Study) -> None:
    """Everything that is read of a study before its tables are."""
    assert all(isinstance(outcome.label, str) for outcome in study.outcomes.values())
    assert study.digest
    for name in ("stays", "paths"):
        site_schema(name, study.outcomes)
    read_run(study)
    if (done := study.manifest.stages.get("tokenize")) is not None:
        for value in done.settings.get("outcomes", []):
            OwnOutcome.from_json(value)
        if "events" in done.settings:
            EventMap.from_json(done.settings["events"])
        with suppress(KeyError):
            TokenSettings.from_json(done.settings)


@pytest.mark.parametrize("name", BAD_JSON)
def test_what_json_leaves_open_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(BAD_JSON[name].encode(errors="surrogateescape"))
    with pytest.raises(UserError, match="a.json is not readable JSON") as caught:
        read_json(path)
    assert len(str(caught.value)) < 400


def test_a_manifest_spoilt_anywhere_opens_or_is_one_sentence(own: Path, tmp_path: Path) -> None:
    whole = json.loads((own / "study.json").read_text())
    del whole[SEAL]  # with it, every change is refused by that alone
    folder = tmp_path / "study"
    shutil.copytree(own, folder, ignore=shutil.ignore_patterns("*.parquet"))

    @examples(60)
    @given(spoilt(whole) | spoilt(whole, under=("stages", "tokenize", "settings")))
    def check(value: Any) -> None:
        (folder / "study.json").write_text(json.dumps(value))
        one_sentence(lambda: look(open_study(folder)))

    check()


@pytest.mark.parametrize("kind", ["tokenizer.json", "training/run.json"])
def test_other_files_spoilt_anywhere_are_read_or_one_sentence(own: Path, tmp_path: Path, kind: str) -> None:
    whole = json.loads((own / kind).read_text())
    folder = tmp_path / "study"
    shutil.copytree(own, folder, ignore=shutil.ignore_patterns("*.parquet"))
    study = open_study(folder)
    manifest = (folder / "study.json").read_text()

    @examples(40)
    @given(spoilt(whole) | VALUES)
    def check(value: Any) -> None:
        (folder / kind).write_text(json.dumps(value))
        if kind == "tokenizer.json":
            (folder / "study.json").write_text(manifest)
            reseal(folder)
            tokens = open_study(folder).tokenizer
            one_sentence(lambda: Tokenizer.from_json(tokens()).value_tokens("lab/potassium"))
        else:
            read_run(study)

    check()


def one_sentence(act: Callable[[], Any]) -> None:
    """Do it; a UserError is fine, if it is one line of a length that can be read."""
    try:
        act()
    except UserError as error:
        sentence(error, most=600)


@examples(60)
@given(st.sampled_from(WORDS) | st.text(max_size=20))
def test_no_name_leaves_the_study(tmp_path_factory: pytest.TempPathFactory, word: str) -> None:
    folder = tmp_path_factory.getbasetemp() / "names"
    folder.mkdir(exist_ok=True)
    stage = {"fingerprint": "", "settings": {}, "files": {word: "0"}}
    content = {"format_version": 1, "source": word, "sites": [word], "stages": {"tokenize": stage}}
    for value in (content | {"stages": {}}, content | {"source": "a", "sites": ["a"]}):
        (folder / "study.json").write_text(json.dumps(value))
        with suppress(UserError):
            study = open_study(folder)
            assert all((folder / path).resolve().is_relative_to(folder) for path in [*study.sites, word])


def test_links_out_of_a_study_and_out_of_the_studies_are_refused(tmp_path: Path) -> None:
    outside = make_study(tmp_path / "outside", sites={"mimic": 12}, stages=("tokenize",))
    studies = tmp_path / "studies"
    inside = Path(shutil.copytree(outside, studies / "inside"))
    (studies / "elsewhere").symlink_to(outside)
    (studies / "again").symlink_to(inside)
    found = list_studies(studies)
    assert isinstance(found["again"], Study)
    assert "symbolic link that leads out of" in str(found["elsewhere"])
    table = inside / "sites/mimic/stays.parquet"
    table.unlink()
    table.symlink_to(outside / "sites/mimic/stays.parquet")
    with pytest.raises(UserError, match="stays.parquet is a symbolic link that leads out of the study"):
        open_study(inside)


def test_a_table_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "study", sites={"mimic": 12}, stages=("tokenize",))
    path = folder / "sites/mimic/stays.parquet"
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(10**7, np.int8)), pa.array(["x"]))
    ids = pa.chunked_array([column] * 20)
    parquet.write_table(pa.table({"hospitalization_id": ids}), path, row_group_size=10**8)
    assert path.stat().st_size < 1_000_000
    reseal(folder)
    with pytest.raises(UserError, match=r"would become 3 GB in memory \(200,000,000 rows\)"):
        open_study(folder).site_table("mimic", "stays")


def test_hostile_cells_are_read_as_text(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "study", sites={"mimic": 12}, stages=("tokenize",))
    path = folder / "sites/mimic/stays.parquet"
    words = [word for word in WORDS if "\ud800" not in word][:12]
    pl.read_parquet(path).with_columns(race=pl.Series(words)).write_parquet(path)
    reseal(folder)
    assert open_study(folder).site_table("mimic", "stays")["race"].to_list() == words
