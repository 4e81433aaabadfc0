from __future__ import annotations

from pathlib import Path

import pytest

from ehrfm_core.clif.event_map import load_map
from ehrfm_core.clif.validation.check import check_directory
from ehrfm_core.errors import UserError
from ehrfm_core.synthesis.charted import MAKERS
from ehrfm_core.synthesis.excerpt import excerpt
from ehrfm_core.synthesis.mark import MARK, is_synthetic
from tests.synthesis.make_hospital import ID, Written


def test_the_first_stays_with_all_their_rows(written: Written, tmp_path: Path) -> None:
    rows = excerpt(written.folder / "mimic", tmp_path / "mimic", stays=30)
    part = Written(tmp_path)
    everybody = written.table("mimic", "hospitalization").sort("patient_id", ID)
    for name in MAKERS:
        key = ID if ID in part.table("mimic", name).columns else "patient_id"
        whole = written.table("mimic", name)
        kept = whole.filter(whole[key].is_in(everybody.head(30)[key].unique().implode()))
        assert part.table("mimic", name).equals(kept), name
        assert rows[name] == kept.height
    assert rows["hospitalization"] == 30
    assert check_directory(tmp_path / "mimic", load_map("all")).count("error") == 0


def test_it_is_as_synthetic_as_its_source(written: Written, tmp_path: Path) -> None:
    excerpt(written.folder / "mimic", tmp_path / "one", stays=2)
    assert is_synthetic(tmp_path / "one")
    (tmp_path / "one" / MARK).unlink()
    excerpt(tmp_path / "one", tmp_path / "two", stays=1)
    assert not is_synthetic(tmp_path / "two")


def test_a_folder_that_holds_something_is_left_alone(written: Written, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("precious")
    for target in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(UserError, match="is not empty"):
            excerpt(written.folder / "mimic", target, stays=2)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
