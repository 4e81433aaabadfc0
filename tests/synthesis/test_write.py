from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

from ehrfm_core import parallel
from ehrfm_core.clif.event_map import load_map
from ehrfm_core.clif.validation.check import check_directory
from ehrfm_core.errors import UserError
from ehrfm_core.study.files import read_json, write_json
from ehrfm_core.synthesis import write as module
from ehrfm_core.synthesis.charted import MAKERS
from ehrfm_core.synthesis.hospital import PARTS, SITES
from ehrfm_core.synthesis.mark import MARK, is_synthetic
from ehrfm_core.synthesis.write import MANIFEST, synthesize
from tests.synthesis.make_hospital import ID, NOTHING, Written, hashes, tables_of, write

STAYS = 50
LOT = 20


@pytest.fixture(scope="module", autouse=True)
def small_lots() -> Iterator[None]:
    """Fifty stays are then three lots."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LOT", LOT)
        yield


@pytest.fixture(scope="module")
def original(small_lots: None, tmp_path_factory: pytest.TempPathFactory) -> Written:
    return write(tmp_path_factory.mktemp("original") / "out", stays=STAYS)


@pytest.fixture
def made(original: Written, tmp_path: Path) -> Written:
    """Hospitals of one's own, to do with as one likes."""
    shutil.copytree(original.folder, tmp_path / "made")
    return Written(tmp_path / "made")


def again(folder: Path, **options: Any) -> bool:
    return synthesize(folder, **{"stays": STAYS, "parts": NOTHING, "draws": 2} | options)


def test_what_there_is(made: Written) -> None:
    tables = {f"clif_{name}.parquet" for name in MAKERS}
    expected = {f"{site}/{name}" for site in SITES for name in tables | {MARK}}
    expected |= {f"truth/{site}/{name}.parquet" for site in SITES for name in ("stays", "hours")}
    assert set(hashes(made.folder)) == expected | {MANIFEST}
    for site in SITES:
        assert is_synthetic(made.folder / site)
        assert made.stays(site).height == STAYS
    assert not is_synthetic(made.folder)
    assert not is_synthetic(made.folder / "truth")


def test_the_seed_tells_every_byte(made: Written, tmp_path: Path) -> None:
    same = write(tmp_path / "same", stays=STAYS)
    assert hashes(same.folder) == hashes(made.folder)
    other = write(tmp_path / "other", stays=STAYS, seed=1)
    different = {
        name for name, digest in tables_of(other.folder).items() if tables_of(made.folder)[name] != digest
    }
    assert {"mimic/clif_labs.parquet", "ucmc/clif_patient.parquet", "truth/mimic/stays.parquet"} <= different


def test_the_number_of_cores_changes_nothing(
    made: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "MOST_WORKERS", 1)
    alone = write(tmp_path / "alone", stays=STAYS)
    assert hashes(alone.folder) == hashes(made.folder)


def test_whole_lots_of_a_bigger_synthesis_are_those_of_a_smaller(made: Written, tmp_path: Path) -> None:
    smaller = write(tmp_path / "smaller", stays=2 * LOT)
    for site in SITES:
        ids = smaller.stays(site)[ID]
        for name in MAKERS:
            key = "patient_id" if name in ("patient", "code_status") else ID
            known = ids if key == ID else smaller.table(site, "patient")[key]
            part = made.table(site, name).filter(pl.col(key).is_in(known.implode()))
            assert part.equals(smaller.table(site, name)), name
        for name in ("stays", "hours"):
            part = made.truth(site, name).filter(pl.col(ID).is_in(ids.implode()))
            assert part.equals(smaller.truth(site, name))


def test_lots_hold_other_people(made: Written) -> None:
    for site in SITES:
        stays = made.table(site, "hospitalization")
        assert stays[ID].n_unique() == STAYS
        lots = (stays[ID].cast(pl.Int64) - stays[ID].cast(pl.Int64).min()) // LOT
        assert lots.to_list() == [i // LOT for i in range(STAYS)]
        by_lot = stays.with_columns(lots.alias("lot")).group_by("patient_id").agg(pl.col("lot").n_unique())
        assert by_lot["lot"].max() == 1
        hours = [part["discharge_dttm"].to_list() for _, part in stays.group_by(lots, maintain_order=True)]
        assert hours[0] != hours[1]


def test_few_lots_are_held_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has been made is written, a row group a lot, before all are made."""
    begun: list[int] = []
    written: list[tuple[int, int]] = []
    ahead: list[int] = []
    real = module._lot

    def lot(hospital: Any, index: int, settings: Any, number: int, size: int) -> Any:
        begun.append(number)
        return real(hospital, index, settings, number, size)

    def progress(done: int, total: int) -> None:
        written.append((done, total))
        ahead.append(len(begun) - len(written))

    monkeypatch.setattr(module, "_lot", lot)
    monkeypatch.setattr(module, "LOT", 5)
    monkeypatch.setattr(parallel, "MOST_WORKERS", 1)
    assert again(tmp_path / "out", sites=("mimic",), progress=progress)
    assert written == [(n, STAYS) for n in range(5, STAYS + 1, 5)]
    assert max(ahead) <= 2
    file = pq.ParquetFile(tmp_path / "out" / "mimic" / "clif_hospitalization.parquet")
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [5] * 10


def test_the_record_says_how_it_was_made(made: Written) -> None:
    record = read_json(made.folder / MANIFEST)
    assert record["stays"] == dict.fromkeys(SITES, STAYS)
    assert (record["seed"], record["shift"], record["draws"]) == (0, [], 2)
    for site in SITES:
        assert read_json(made.folder / site / MARK) == record | {"site": site}
    assert str(made.folder) not in (made.folder / MANIFEST).read_text()


@pytest.mark.parametrize("stop_at", [20, 50, 70])
def test_an_interrupted_run_looks_unfinished_and_goes_on(made: Written, tmp_path: Path, stop_at: int) -> None:
    def stop(done: int, total: int) -> None:
        if done >= stop_at:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        again(out, progress=stop)
    assert not (out / MANIFEST).exists()
    assert not (out / "ucmc").exists()
    finished = {path.name for path in out.iterdir() if not path.name.startswith(".")}
    assert finished == (set() if stop_at <= 50 else {"mimic", "truth"})
    assert again(out)
    assert hashes(out) == hashes(made.folder)
    assert not list(out.glob(".*")), "nothing is left of the work"


def test_a_site_that_was_finished_by_other_options_is_made_anew(made: Written, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(write(tmp_path / "other", stays=STAYS, seed=3).folder, out)
    (out / MANIFEST).unlink()  # as if the run had been interrupted just before its end
    assert again(out)
    assert hashes(out) == hashes(made.folder)


def test_a_finished_one_is_not_run_again(made: Written) -> None:
    files = [path for path in made.folder.rglob("*") if path.is_file()]
    before = {path: path.stat().st_mtime_ns for path in files}
    assert not again(made.folder)
    assert {path: path.stat().st_mtime_ns for path in files} == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seed": 4}, "seed 0, not 4"),
        ({"stays": 7}, "stays {'mimic': 50, 'ucmc': 50}, not {'mimic': 7, 'ucmc': 7}"),
        ({"parts": frozenset({"time"})}, "shift [], not ['time']"),
        ({"draws": 3}, "draws 2, not 3"),
        ({"sites": ("mimic",)}, "stays {'mimic': 50, 'ucmc': 50}, not {'mimic': 50}"),
    ],
)
def test_other_options_are_refused_by_name(made: Written, options: dict[str, Any], said: str) -> None:
    before = hashes(made.folder)
    with pytest.raises(UserError) as caught:
        again(made.folder, **options)
    assert f"made with other options ({said})" in str(caught.value)
    assert str(caught.value).count("\n") == 0
    assert hashes(made.folder) == before


def test_a_record_of_another_version_or_none_is_refused(made: Written) -> None:
    record = read_json(made.folder / MANIFEST)
    write_json(made.folder / MANIFEST, record | {"version": "0.0.1"})
    with pytest.raises(UserError, match=r"\(version 0.0.1, not"):
        again(made.folder)
    write_json(made.folder / MANIFEST, [])
    with pytest.raises(UserError, match="its record cannot be read"):
        again(made.folder)
    (made.folder / MANIFEST).write_text("{")
    with pytest.raises(UserError, match=MANIFEST):
        again(made.folder)


def test_a_hospital_that_was_lost_is_made_again(made: Written) -> None:
    shutil.rmtree(made.folder / "ucmc")
    assert again(made.folder)
    assert (made.folder / "ucmc" / "clif_labs.parquet").is_file()


@pytest.mark.parametrize("strange", ["notes.txt", "mimic/clif_labs.parquet", "study.json", "MIMIC/x"])
def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, strange: str) -> None:
    out = tmp_path / "out"
    (out / strange).parent.mkdir(parents=True)
    (out / strange).write_text("precious")
    with pytest.raises(UserError, match="which is not from this command"):
        again(out)
    assert hashes(out).keys() == {strange}
    assert (out / strange).read_text() == "precious"


def test_nor_what_somebody_else_calls_truth(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "truth" / "mimic").mkdir(parents=True)
    (out / "truth" / "mimic" / "notes.txt").write_text("precious")
    with pytest.raises(UserError, match="which is not from this command"):
        again(out)
    assert (out / "truth" / "mimic" / "notes.txt").read_text() == "precious"


@pytest.mark.parametrize("lost", ["mimic/clif_labs.parquet", "truth/ucmc/stays.parquet"])
def test_a_table_that_was_lost_is_not_nothing_to_do(made: Written, lost: str) -> None:
    (made.folder / lost).unlink()
    try:
        assert again(made.folder)
    except UserError:
        return
    assert (made.folder / lost).is_file()


def test_a_file_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("precious")
    with pytest.raises(UserError, match="is not a folder"):
        again(tmp_path / "out")
    assert (tmp_path / "out").read_text() == "precious"


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    out.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(OSError, match="ermission"):
        again(out)
    out.chmod(stat.S_IRWXU)
    assert not list(out.iterdir())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"stays": 0}, "--stays 0: give a number from 1"),
        ({"stays": -3}, "--stays -3"),
        ({"stays": 5_000_001}, "--stays 5000001"),
        ({"draws": 1}, "at least 2 simulated futures"),
        ({"stays": {"mimic": 5, "ucmc": 0}}, "--stays 0"),
    ],
)
def test_numbers_that_cannot_be(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        again(tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("parts", [NOTHING, frozenset(PARTS)], ids=["none", "all"])
@pytest.mark.parametrize("seed", range(2))
def test_one_stay_alone(tmp_path: Path, seed: int, parts: frozenset[str]) -> None:
    made = write(tmp_path / "out", stays=1, parts=parts, seed=seed)
    for site in SITES:
        for name in ("patient", "hospitalization"):
            assert made.table(site, name).height == 1
        assert set(made.table(site, "adt")[ID]) == set(made.stays(site)[ID])
        report = check_directory(made.folder / site, load_map("all"))
        assert report.count("error") == 0


def test_one_site_alone_is_as_beside_the_other(made: Written, tmp_path: Path) -> None:
    alone = write(tmp_path / "alone", stays=STAYS, sites=("ucmc",))
    assert {path.name for path in alone.folder.iterdir()} == {"ucmc", "truth", MANIFEST}
    both = tables_of(made.folder)
    assert tables_of(alone.folder) == {name: digest for name, digest in both.items() if "ucmc" in name}
    assert not again(alone.folder, sites=("ucmc",))


def test_a_number_of_stays_for_each_site(tmp_path: Path) -> None:
    made = write(tmp_path / "out", stays={"mimic": 5, "ucmc": 25})  # type: ignore[arg-type]
    assert [made.stays(site).height for site in SITES] == [5, 25]


def test_empty_tables_keep_their_columns(made: Written, tmp_path: Path) -> None:
    """A lot without CRRT or a prone patient has the columns of one with."""
    one = write(tmp_path / "one", stays=1, seed=1)
    for site in SITES:
        for name in MAKERS:
            assert one.table(site, name).schema == made.table(site, name).schema, name


def test_a_hospital_that_is_none_of_the_two(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'mgh' is none of the synthetic hospitals mimic, ucmc"):
        again(tmp_path / "out", sites=("mgh",))
    assert not (tmp_path / "out").exists()
