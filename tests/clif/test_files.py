from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest

from ehrfm_core.clif.files import find_tables, scan_part, schema_of
from ehrfm_core.errors import UserError
from tests.make_clif import ID

TABLE = pl.DataFrame({ID: ["007", "8"], "lab_category": ["a", "b"]})


def test_a_table_is_found_in_every_form_it_can_have(tmp_path: Path) -> None:
    TABLE.write_parquet(tmp_path / "CLIF_Labs.parquet")
    TABLE.write_csv(tmp_path / "clif_vitals.csv")
    (tmp_path / "clif_adt.csv.gz").write_bytes(gzip.compress(TABLE.write_csv().encode()))
    for folder in ("clif_position", "clif_crrt_therapy.parquet"):
        (tmp_path / folder / "year=2020").mkdir(parents=True)
        TABLE.write_parquet(tmp_path / folder / "b.parquet")
        TABLE.write_parquet(tmp_path / folder / "year=2020" / "a.parquet")
        (tmp_path / folder / "_SUCCESS").touch()
        (tmp_path / folder / "_metadata.parquet").touch()
        (tmp_path / folder / ".hidden.parquet").touch()
    (tmp_path / "readme.csv").touch()
    (tmp_path / "clif_notes.txt").touch()
    found = find_tables(tmp_path)
    assert sorted(found) == ["adt", "crrt_therapy", "labs", "position", "vitals"]
    assert all(name == table.name for name, table in found.items())
    names = [[str(part.relative_to(tmp_path)) for part in found[name].parts] for name in ("labs", "position")]
    assert names == [["CLIF_Labs.parquet"], ["clif_position/b.parquet", "clif_position/year=2020/a.parquet"]]
    for table in found.values():
        for part in table.parts:
            assert scan_part(part).collect().equals(TABLE)
        assert list(schema_of(table)) == TABLE.columns


def test_a_folder_that_is_missing_or_a_file(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match="nowhere does not exist or is not a folder; give the folder of a site"
    ):
        find_tables(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file does not exist or is not a folder"):
        find_tables(tmp_path / "file")


@pytest.mark.parametrize("other", ["clif_labs.csv", "clif_labs.csv.gz", "CLIF_LABS.parquet", "clif_labs"])
def test_a_table_that_lies_there_twice(tmp_path: Path, other: str) -> None:
    TABLE.write_parquet(tmp_path / "clif_labs.parquet")
    if other == "clif_labs":
        (tmp_path / other).mkdir()
    TABLE.write_parquet(tmp_path / other / "part.parquet" if other == "clif_labs" else tmp_path / other)
    with pytest.raises(
        UserError, match="holds the table labs twice, as .* and as .*; leave one of them"
    ) as caught:
        find_tables(tmp_path)
    assert other in str(caught.value)
    assert "clif_labs.parquet" in str(caught.value)


def test_a_folder_of_parts_that_is_empty_or_mixed(tmp_path: Path) -> None:
    folder = tmp_path / "clif_labs"
    folder.mkdir()
    (folder / "readme.txt").touch()
    with pytest.raises(
        UserError, match="clif_labs is a folder without a parquet or csv file; export the table"
    ):
        find_tables(tmp_path)
    TABLE.write_parquet(folder / "a.parquet")
    TABLE.write_csv(folder / "b.csv")
    with pytest.raises(UserError, match="clif_labs mixes parquet and csv parts; keep the parts of one kind"):
        find_tables(tmp_path)


def test_a_folder_of_something_else_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "clif_figures").mkdir()
    (tmp_path / "clif_figures" / "flow.png").touch()
    assert find_tables(tmp_path) == {}


def test_columns_of_all_parts_count(tmp_path: Path) -> None:
    folder = tmp_path / "clif_labs"
    folder.mkdir()
    TABLE.write_parquet(folder / "a.parquet")
    TABLE.with_columns(more=pl.lit(1.0)).write_parquet(folder / "b.parquet")
    assert list(schema_of(find_tables(tmp_path)["labs"])) == [*TABLE.columns, "more"]


def test_a_part_without_types_decides_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "clif_labs"
    folder.mkdir()
    nothing = TABLE.clear().select(pl.lit(None).alias(column) for column in TABLE.columns).clear()
    nothing.write_parquet(folder / "a.parquet")
    TABLE.write_parquet(folder / "b.parquet")
    assert schema_of(find_tables(tmp_path)["labs"]) == dict(TABLE.schema)


@pytest.mark.parametrize("content", [b"", b"hospitalization_id,lab_category\n", b"PAR1" + b"x" * 40])
def test_a_file_that_is_no_parquet(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clif_labs.parquet"
    path.write_bytes(content)
    with pytest.raises(
        UserError, match=r"clif_labs.parquet is not readable as parquet \(.+\); export"
    ) as caught:
        scan_part(path)
    assert "\n" not in str(caught.value)


def test_half_a_parquet_file(tmp_path: Path) -> None:
    path = tmp_path / "clif_labs.parquet"
    TABLE.write_parquet(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match="clif_labs.parquet is not readable as parquet"):
        scan_part(path)


def test_a_csv_without_a_line(tmp_path: Path) -> None:
    path = tmp_path / "clif_labs.csv"
    path.touch()
    with pytest.raises(UserError, match="clif_labs.csv is not readable as csv"):
        scan_part(path)


def test_csv_is_text_and_keeps_its_zeros(tmp_path: Path) -> None:
    path = tmp_path / "clif_labs.csv"
    path.write_text(f"{ID},lab_category\n007,1\n8,Jos\u00e9\n", encoding="latin-1")
    frame = scan_part(path).collect()
    assert frame.dtypes == [pl.String, pl.String]
    assert frame[ID].to_list() == ["007", "8"]
