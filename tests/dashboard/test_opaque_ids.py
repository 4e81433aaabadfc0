"""Opaque ids: with a key no id of the hospital is behind the screen, and stays are found by the ids shown."""

from __future__ import annotations

import base64
import hmac
import io
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from dashboard import atlas_export, data, live, neighbours, opaque_ids, options
from dashboard.atlas_export import ID
from dashboard.opaque_ids import KINDS, OpaqueStudy, opaque
from ehrfm_core.errors import UserError
from ehrfm_core.study import Study, open_study
from ehrfm_core.study.files import sha256
from ehrfm_core.study.layout import MORE_SITE_FILES, RESULT_FILES, SITE_FILES, site_file
from tests.dashboard.test_pages import fine, text
from tests.make_study import make_study

ROOT = Path(__file__).parents[2]
BUNDLED = ROOT / "data_samples/studies"
KEY = b"a key of the tests alone, 32 and more"
DATE = re.compile(r"\b(19|20|21)\d\d-[01]\d-[0-3]\d|\b[0-3]?\d[./][01]?\d[./](19|20|21)\d\d")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of its own: caches know a study by folder and version, and a server has one key."""
    made = tmp_path_factory.mktemp("keyed")
    make_study(made / "studies/two", sites={"mimic": 90, "ucmc": 70}, seed=7, synthetic=False)
    (made / "key").write_bytes(KEY)
    (made / "key").chmod(0o600)
    return made


@pytest.fixture(scope="module")
def studies(folder: Path) -> Path:
    return folder / "studies"


@pytest.fixture
def keyed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    words = ["--studies", str(folder / "studies"), "--id-key", str(folder / "key")]
    monkeypatch.setattr(sys, "argv", ["app.py", *words])
    return data.studies(folder / "studies")["two"]  # type: ignore[return-value]


def tables(study: Study) -> Iterator[pl.DataFrame]:
    held = {file for stage in study.manifest.stages.values() for file in stage.files}
    for site in study.sites:
        for name in (*SITE_FILES, *MORE_SITE_FILES):
            if f"sites/{site}/{name}.parquet" in held:
                yield study.site_table(site, name)
    for name in RESULT_FILES:
        if f"results/{name}.parquet" in held:
            yield study.result(name)


def own_ids(study: Study) -> set[str]:
    raw = open_study(study.folder)
    frames = [raw.site_table(site, "stays").select("hospitalization_id", "patient_id") for site in raw.sites]
    return {value for frame in frames for column in frame for value in column}


def test_an_id_is_the_hmac_of_kind_site_and_id() -> None:
    digest = hmac.new(KEY, b"patient\0ucmc\0\xc3\xa9-17", "sha256").digest()
    wanted = base64.b32encode(digest).decode().lower()[:12]
    assert opaque(KEY, "patient", "ucmc", pl.Series(["x", "é-17"])).to_list()[1] == wanted
    assert opaque(KEY, "stay", "ucmc", pl.Series([], dtype=pl.String)).to_list() == []


def test_no_table_holds_an_id_of_the_hospital_and_all_still_join(keyed: Study) -> None:
    known, raw = own_ids(keyed), open_study(keyed.folder)
    n = 0
    for hidden, plain in zip(tables(keyed), tables(raw), strict=True):
        for column in hidden.select(pl.col(pl.String)):
            assert not known & set(column), column.name
        for column in set(KINDS) & set(hidden.columns):
            assert hidden[column].n_unique() == plain[column].n_unique()
            n += 1
        assert hidden.drop(KINDS, strict=False).equals(plain.drop(KINDS, strict=False))
    assert n >= 15
    for site in keyed.sites:
        stays = data.stays(keyed, site)
        assert (
            stays["path_length"].null_count() == raw.site_table(site, "dynamics")["path_length"].null_count()
        )
        predictions = keyed.result("predictions").filter(test_site=site)
        assert predictions.join(stays, on="hospitalization_id", how="anti").is_empty()
    taken = pl.read_parquet(io.BytesIO(atlas_export.parquet(keyed, None)))
    assert set(taken["hospitalization_id"]) == {
        s for site in keyed.sites for s in data.stays(keyed, site)[ID]
    }


def test_neighbours_are_those_of_the_same_stays(keyed: Study) -> None:
    plain = open_study(keyed.folder).site_table("mimic", "stays")["hospitalization_id"]
    stay = keyed.site_table("mimic", "stays")["hospitalization_id"]
    names = dict(zip(stay, plain, strict=True))
    found = neighbours.neighbours(keyed, "mimic", stay[3]).table
    states = open_study(keyed.folder).site_table("mimic", "states")
    own = states.filter(hospitalization_id=plain[3])["state"][0]
    first = found.filter(site="mimic").row(0, named=True)
    other = states.filter(hospitalization_id=names[first["hospitalization_id"]])["state"][0]
    assert first["distance"] == pytest.approx(((own - other) ** 2).sum() ** 0.5, rel=1e-5)


def test_the_hours_after_the_window_are_found_by_the_opaque_id(keyed: Study) -> None:
    name = site_file("mimic", "later")
    paths = pl.read_parquet(keyed.folder / site_file("mimic", "paths"))
    paths.with_columns(step=pl.col("hour") / 7).write_parquet(keyed.folder / name)
    own = open_study(keyed.folder).site_table("mimic", "stays")["hospitalization_id"]
    shown = data.site_table(keyed, "mimic", "stays")["hospitalization_id"]
    stages = {"embed": replace(keyed.manifest.stages["embed"], files={name: sha256(keyed.folder / name)})}
    with_later = replace(keyed, manifest=replace(keyed.manifest, stages=keyed.manifest.stages | stages))
    found = data.later(with_later, "mimic", shown[8])
    wanted = paths.filter(hospitalization_id=own[8]).sort("hour")
    assert found is not None
    assert found["risk_death"].equals(wanted["risk_death"])


def test_the_model_reads_a_stay_by_its_opaque_id(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = tmp_path / "shown"  # under a name of its own: caches know it by that
    shown.symlink_to(BUNDLED / "mimic-iv-demo")
    monkeypatch.setattr(sys, "argv", ["app.py", "--studies", str(tmp_path), "--id-key", str(folder / "key")])
    study = data.open_study(shown)
    stay = data.stays(study, study.source).sort("n_tokens").row(20, named=True)
    opened = live.opened(study, study.source, str(stay["hospitalization_id"]))
    assert len(opened.reading.tokens) == stay["n_tokens"]
    assert opened.reading.measures["path_length"][0] == pytest.approx(stay["path_length"], rel=0.01)
    assert opened.reading.measures["anomaly_score"][0] == pytest.approx(stay["anomaly_score"], abs=0.01)


def test_two_ids_with_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opaque_ids, "opaque", lambda key, kind, site, own: pl.Series(["same"] * len(own)))
    with pytest.raises(UserError, match="make another key"):
        opaque_ids.names(KEY, "stay", "mimic", pl.Series(["1", "2"]))


def test_the_page_shows_finds_and_links_opaque_ids(
    folder: Path, keyed: Study, open_page: Callable[..., AppTest]
) -> None:
    stay = str(keyed.site_table("ucmc", "stays")["hospitalization_id"][5])
    own = str(open_study(keyed.folder).site_table("ucmc", "stays")["hospitalization_id"][5])
    key = ("--id-key", str(folder / "key"))
    app = open_page(folder / "studies", "patient", options=key, f=f"ucmc/{stay}")
    fine(app)
    assert f"Stay {stay}" in text(app)
    assert own not in text(app)
    app.text_input(key="find").set_value(own).run()
    assert "No stay" in app.toast[0].value, "the hospital's own id finds nothing"
    first = str(keyed.site_table("mimic", "stays")["hospitalization_id"][0])
    app.text_input(key="find").set_value(first).run()
    assert f"Stay {first}" in text(app)


@pytest.mark.parametrize(
    ("content", "mode", "place", "said"),
    [
        (b"short", 0o600, "key", "32 or more are needed"),
        (KEY, 0o604, "key", "open to everyone"),
        (KEY, 0o600, "studies/key", "lies inside the folder of studies"),
        (None, 0o600, "key", "cannot be read"),
    ],
)
def test_a_key_that_is_none_shows_nothing(
    tmp_path: Path,
    studies: Path,
    open_page: Callable[..., AppTest],
    content: bytes | None,
    mode: int,
    place: str,
    said: str,
) -> None:
    shown, key = studies, tmp_path / place
    if place.startswith("studies"):
        shown = key.parent
        shown.mkdir()
    if content is not None:
        key.write_bytes(content)
        key.chmod(mode)
    app = open_page(shown, options=("--id-key", str(key)))
    assert said in text(app).replace("\\", "")
    assert not app.selectbox, "no study can be chosen"
    assert not app.get("plotly_chart")


@pytest.mark.parametrize("name", sorted(path.name for path in BUNDLED.iterdir() if path.is_dir()))
def test_no_table_of_a_study_holds_a_calendar_date(name: str) -> None:
    study = open_study(BUNDLED / name)
    for frame in tables(study):
        for column in frame:
            assert not column.dtype.is_temporal(), column.name
            if column.dtype == pl.String:
                assert not [value for value in column.unique().drop_nulls() if DATE.search(value)], (
                    column.name
                )
    assert not DATE.search(str(study.tokenizer()["vocabulary"]))


def test_the_dashboard_opens_studies_in_one_place() -> None:
    """Who opened a study or its files elsewhere would pass the opaque ids by."""
    opens = re.compile(r"\b(read_parquet|scan_parquet|read_csv|import .*\b(open_study|list_studies)\b)")
    found = {path.name for path in (ROOT / "dashboard").rglob("*.py") if opens.search(path.read_text())}
    assert found == {"data.py", "live.py"}, "live.py loads a model with it, and no id comes out"


def test_a_server_without_a_key_shows_the_study_as_it_is(studies: Path) -> None:
    study = open_study(studies / "two")
    assert opaque_ids.hidden(study, options.current()) is study
    secret = replace(options.current(), id_key=studies.parent / "nowhere")
    with pytest.raises(UserError, match="cannot be read"):
        opaque_ids.hidden(study, secret)
    assert isinstance(OpaqueStudy(study.folder, study.manifest, KEY), Study)
    assert "tests alone" not in repr(OpaqueStudy(study.folder, study.manifest, KEY))
