"""The same tables in other forms give the same report; real data; and nothing is a traceback."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ehrfm_core.clif.event_map import load_map
from ehrfm_core.clif.validation.check import check_directory
from ehrfm_core.clif.validation.report import Finding, Report
from tests.clif.test_validation import N_STAYS, check, edit, first, found, repeat
from tests.make_clif import ID, Tables, make_tables, write_tables
from train.validate import lines, validate

PAPER = load_map("paper")
IDS = (ID, "patient_id")


def troubled() -> Tables:
    """Tables with something to tell of every sort."""
    tables = make_tables()
    edit("labs", first(3, ID, "unknown"), pl.lit("mg/L").alias("reference_unit"))(tables)
    edit("labs", (pl.col("lab_result_dttm") + timedelta(hours=1)).alias("lab_collect_dttm"))(tables)
    edit("adt", first(5, "location_category", "moon"))(tables)
    edit("vitals", first(6, "vital_value", 5000.0))(tables)
    edit("hospitalization", first(2, "discharge_dttm", pl.col("admission_dttm") - timedelta(hours=1)))(tables)
    repeat("vitals", 4)(tables)
    repeat("hospitalization", 1, (pl.col("age_at_admission") + 1).alias("age_at_admission"))(tables)
    return tables


def told(report: Report) -> set[tuple[object, ...]]:
    """What the findings say, whatever the file is called."""
    return {(f.level, f.table, f.column, f.check, f.count, f.total) for f in report.findings}


def numbered(tables: Tables) -> Tables:
    """The same tables with whole numbers for ids."""
    numbers: dict[str, int] = {}
    for table in tables.values():
        for column in set(IDS) & set(table.columns):
            for value in table[column].to_list():
                numbers.setdefault(value, 1000 + len(numbers))
    return {
        name: table.with_columns(
            pl.col(c).replace_strict(numbers, return_dtype=pl.Int64) for c in IDS if c in table.columns
        )
        for name, table in tables.items()
    }


def as_csv(tables: Tables, folder: Path) -> None:
    for name, table in tables.items():
        table.write_csv(folder / f"clif_{name}.csv", datetime_format="%Y-%m-%dT%H:%M:%S%:z")


def as_gzip(tables: Tables, folder: Path) -> None:
    as_csv(tables, folder)
    for path in list(folder.iterdir()):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()


def as_parts(tables: Tables, folder: Path) -> None:
    """Parts of differing types: ids are text here and numbers there, and so are values."""
    for name, table in numbered(tables).items():
        place = folder / f"clif_{name}"
        place.mkdir()
        cut = table.height // 2
        halves = table.head(cut), table.tail(table.height - cut)
        texts = [pl.col(c).cast(pl.String) for c in (*IDS, "vital_value") if c in table.columns]
        halves[0].with_columns(texts).write_parquet(place / "a.parquet")
        times = pl.selectors.datetime().dt.convert_time_zone("America/Chicago").dt.cast_time_unit("ms")
        halves[1].with_columns(times, pl.selectors.matches("age").cast(pl.Float32)).write_parquet(
            place / "b.parquet"
        )


def as_shouted(tables: Tables, folder: Path) -> None:
    for name, table in tables.items():
        table.write_parquet(folder / f"CLIF_{name.upper()}.PARQUET")


def as_floats(tables: Tables, folder: Path) -> None:
    tables = {
        name: table.with_columns(pl.col(c).cast(pl.Float64) for c in IDS if c in table.columns)
        for name, table in numbered(tables).items()
    }
    write_tables(tables, folder)


FORMS: dict[str, Callable[[Tables, Path], object]] = {
    "csv": as_csv,
    "csv.gz": as_gzip,
    "parts": as_parts,
    "upper case": as_shouted,
    "integer ids": lambda tables, folder: write_tables(numbered(tables), folder),
    "float ids": as_floats,
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return check(troubled(), tmp_path_factory.mktemp("plain"))


@pytest.mark.parametrize("form", FORMS)
def test_the_form_of_files_does_not_matter(form: str, plain: Report, tmp_path: Path) -> None:
    assert {"repeated_id", "unknown_category", "orphans", "other_unit", "duplicate_rows"} <= {
        f.check for f in plain.findings
    }
    FORMS[form](troubled(), tmp_path)
    report = check_directory(tmp_path, PAPER)
    assert told(report) == told(plain)
    assert report.survival == plain.survival
    assert report.clif_version == plain.clif_version
    assert [(t.table, t.rows) for t in report.tables] == [(t.table, t.rows) for t in plain.tables]


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_order_of_rows_does_not_matter(plain: Report, seed: int) -> None:
    with TemporaryDirectory() as folder:
        shuffled = {name: t.sample(fraction=1, shuffle=True, seed=seed) for name, t in troubled().items()}
        report = check(shuffled, Path(folder))
    assert report.findings == plain.findings
    assert (report.survival, report.clif_version) == (plain.survival, plain.clif_version)


STRANGE = [
    pl.lit(None),
    pl.lit(value=True),
    pl.lit(7, dtype=pl.Int8),
    pl.lit(2.5, dtype=pl.Float32),
    pl.lit("   "),
    pl.lit("12,5"),
    pl.lit("x", dtype=pl.Categorical),
    pl.lit(b"7"),
    pl.lit(3).cast(pl.Date),
    pl.lit(3).cast(pl.Time),
    pl.lit(3).cast(pl.Duration("ns")),
    pl.lit(3).cast(pl.Decimal(10, 2)),
    pl.lit(3).cast(pl.Datetime("ns")),
    pl.lit(3).cast(pl.Datetime("ms", "Europe/Berlin")),
    pl.concat_list(pl.lit(1)),
    pl.struct(a=pl.lit(1)),
]


@pytest.mark.parametrize("strange", STRANGE, ids=str)
def test_no_column_of_any_type_is_a_traceback(strange: pl.Expr, tmp_path: Path) -> None:
    """Every column in turn would be slow: each table gets the type in all columns of one kind at a time."""
    for kind in (IDS, ("_dttm",), ("_category", "_value", "_numeric", "dose", "age_at_admission")):
        tables = {
            name: table.with_columns(strange.alias(c) for c in table.columns if c.endswith(kind))
            for name, table in make_tables(patients=3).items()
        }
        report = check(tables, tmp_path, "all")
        assert "unreadable" not in {f.check for f in report.findings}
        assert lines(report)


def test_bytes_that_are_no_text_are_no_traceback(tmp_path: Path) -> None:
    tables = make_tables(patients=3)
    edit("adt", pl.lit(b"\xff\xfe").alias(ID))(tables)
    assert found(check(tables, tmp_path), "unreadable", "adt").level == "error"


def test_no_rows_and_one_stay_are_no_traceback(tmp_path: Path) -> None:
    tables = make_tables()
    report = check({name: table.clear() for name, table in tables.items()}, tmp_path / "none")
    assert report.count("error") == 2  # no stays, no patients
    assert all(entry.share is None for entry in report.survival)
    one = tables["hospitalization"].head(1)
    single = {
        name: table.join(one.select(ID), on=ID) if ID in table.columns else table.head(1)
        for name, table in tables.items()
    }
    assert check(single, tmp_path / "one").count("error") == 0


def test_the_json_is_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = check(troubled(), tmp_path)
    capsys.readouterr()
    assert validate(tmp_path, as_json=True) == 1
    value = json.loads(capsys.readouterr().out)
    assert value == json.loads(json.dumps(report.to_json()))
    assert [Finding(**finding) for finding in value["findings"]] == list(report.findings)
    assert value["counts"]["error"] == report.count("error") > 0


def test_the_terminal_shows_every_finding_within_120_columns(plain: Report) -> None:
    text = lines(plain)
    assert max(len(line) for line in text) <= 120
    flat = " ".join(" ".join(text).split())
    for finding in plain.findings:
        assert " ".join(finding.message.split()) in flat
    assert text[-1].startswith(f"{plain.count('error')} error")
    levels = [line.split()[0] for line in text if line.startswith(("error ", "warning ", "info "))]
    assert levels == sorted(levels, key=["error", "warning", "info"].index)


def test_another_event_map_reads_more(tmp_path: Path) -> None:
    tables = make_tables()
    report = check(tables, tmp_path, "all")
    assert found(report, "missing_table", "crrt_therapy").level == "warning"
    assert found(report, "missing_column", "adt", "out_dttm").level == "warning"
    assert report.events == "all"


def test_the_demo_has_no_error(shared_data: Path) -> None:
    report = check_directory(shared_data / "mimic-iv-demo-clif", PAPER)
    assert report.count("error") == 0
    assert report.clif_version == "2.1"
    assert (
        found(report, "cohort", "hospitalization").count,
        found(report, "cohort", "hospitalization").total,
    ) == (
        245,
        275,
    )
    assert found(report, "impossible_value", "vitals", "vital_value").count == 31
    survival = {entry.table: entry for entry in report.survival}
    assert survival["vitals"].rows == 89_085
    assert survival["position"].events == 1


def test_a_foreign_hospital_has_no_result_times(shared_data: Path) -> None:
    report = check_directory(shared_data / "clifforge-hospital", PAPER)
    assert report.count("error") == 0
    finding = found(report, "time_stands_in", "labs", "lab_result_dttm")
    assert "lab_order_dttm stands in" in finding.message
    assert found(report, "cohort", "hospitalization").total == 8000 > N_STAYS
