"""CLIF and MEDS directories whose files are broken, odd or mean."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from ehrfm_core.clif.event_map import load_map
from ehrfm_core.clif.tables import open_directory
from ehrfm_core.clif.validation.check import check_directory
from ehrfm_core.errors import UserError
from ehrfm_core.sources.meds import open_meds, read_meds
from tests.hostile.nasty import NUMBERS, SPECIAL, WORDS, examples, sentence
from tests.make_clif import make_tables, write_tables
from tests.make_site import tokenize

CELLS = tuple(word for word in WORDS if "\ud800" not in word)
TABLES = ("patient", "hospitalization", "vitals", "labs", "adt", "respiratory_support")


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tables(make_tables(patients=8), tmp_path_factory.mktemp("clif") / "site")


def one_sentence_or_tokens(folder: Path, scratch: Path) -> None:
    """What `validate` and `tokenize` make of a folder: findings, and tokens or one sentence."""
    event_map = load_map("paper")
    for finding in check_directory(folder, event_map).findings:
        sentence(finding.message)
    try:
        tokenize(folder, scratch)
    except UserError as error:
        sentence(error)


ODD = (
    *(pl.lit(word) for word in CELLS),
    *(pl.lit(number, dtype=pl.Float64) for number in (0.0, -1e308, 5e-324, *SPECIAL)),
    *(pl.lit(number) for number in NUMBERS if abs(number) < 2**62),
    pl.lit(None),
    pl.lit(value=True),
    pl.lit(b"\xff\x00"),
    pl.lit(1).cast(pl.Duration("us")),
    pl.lit(2**62).cast(pl.Datetime("us", "UTC")),
    pl.lit(-(2**62)).cast(pl.Datetime("us", "UTC")),
    pl.lit(2**55).cast(pl.Datetime("ms", "UTC")),
    pl.lit(5).cast(pl.Date),
    pl.lit(5).cast(pl.Time),
    pl.concat_list(pl.lit(1), pl.lit(2)),
    pl.struct(pl.lit(1).alias("a")),
    pl.lit("a").cast(pl.Categorical),
    pl.lit(2**63, dtype=pl.UInt64),
)


def copied(clean: Path, folder: Path) -> Path:
    """The tables anew, in place of what the example before has left."""
    shutil.rmtree(folder, ignore_errors=True)
    return Path(shutil.copytree(clean, folder))


def test_columns_of_any_kind(clean: Path, tmp_path: Path) -> None:
    @examples(12)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        folder = copied(clean, tmp_path / "site")
        for _ in range(data.draw(st.integers(1, 3))):
            path = data.draw(st.sampled_from(sorted(folder.glob("clif_*"))))
            frame = pl.read_parquet(path)
            column = data.draw(st.sampled_from(frame.columns))
            odd = data.draw(st.sampled_from(ODD))
            how = data.draw(st.sampled_from(["all", "some", "lose", "rename", "double", "empty"]))
            if how == "all":
                frame = frame.with_columns(odd.alias(column))
            elif how == "some" and frame.height:
                word = data.draw(st.sampled_from(CELLS))
                few = pl.int_range(pl.len()) % 3 == 0
                text = pl.when(few).then(pl.lit(word)).otherwise(pl.col(column).cast(pl.String, strict=False))
                frame = frame.with_columns(text.alias(column))
            elif how == "lose":
                frame = frame.drop(column)
            elif how == "rename":
                free = [word for word in CELLS if word not in frame.columns]
                frame = frame.rename({column: data.draw(st.sampled_from(free))})
            elif how == "double":
                frame = pl.concat([frame, frame])
            else:
                frame = frame.clear()
            if frame.width:
                frame.write_parquet(path)
        one_sentence_or_tokens(folder, tmp_path / "scratch")

    (tmp_path / "scratch").mkdir()
    check()


def test_bytes_that_are_broken(clean: Path, tmp_path: Path) -> None:
    files = {path.name: path.read_bytes() for path in sorted(clean.glob("clif_*"))}

    @examples(12)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        folder = copied(clean, tmp_path / "site")
        name = data.draw(st.sampled_from(sorted(files)))
        content = bytearray(files[name])
        for _ in range(data.draw(st.integers(1, 8))):
            at = data.draw(st.integers(0, len(content) - 1) | st.integers(1, 600).map(lambda n: -n))
            content[max(at, -len(content))] = data.draw(st.integers(0, 255))
        cut = data.draw(st.none() | st.integers(0, len(content)))
        (folder / name).write_bytes(bytes(content[:cut]))
        one_sentence_or_tokens(folder, tmp_path / "scratch")

    (tmp_path / "scratch").mkdir()
    check()


def test_csv_of_any_text(clean: Path, tmp_path: Path) -> None:
    pieces = st.sampled_from([*CELLS, '"', ",", "\n", "\r", ";", "\0", "é", '""', '"\n'])

    @examples(12)
    @given(st.sampled_from(TABLES), st.lists(pieces, max_size=12), st.booleans(), st.booleans())
    def check(table: str, junk: list[str], header: bool, packed: bool) -> None:
        folder = copied(clean, tmp_path / "site")
        path = folder / f"clif_{table}.parquet"
        if not path.is_file():
            return
        text = pl.read_parquet(path).head(0).write_csv() if header else ""
        path.unlink()
        content = (text + "".join(junk)).encode()
        other = folder / (f"clif_{table}.csv.gz" if packed else f"clif_{table}.csv")
        other.write_bytes(gzip.compress(content) if packed else content)
        one_sentence_or_tokens(folder, tmp_path / "scratch")

    (tmp_path / "scratch").mkdir()
    check()


def test_a_table_that_would_fill_the_memory_is_refused(clean: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(clean, tmp_path / "site"))
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(10**7, np.int8)), pa.array(["s0-0"]))
    path = folder / "clif_vitals.parquet"
    table = pa.table(dict.fromkeys(pl.read_parquet_schema(path), pa.chunked_array([column] * 4)))
    parquet.write_table(table, path, row_group_size=10**8)
    with pytest.raises(UserError, match=r"clif_vitals.parquet has .* would become \d GB in memory"):
        open_directory(folder, load_map("paper"))
    assert any(
        "GB in memory" in found.message for found in check_directory(folder, load_map("paper")).findings
    )


def test_meds_files_of_any_kind(tmp_path: Path) -> None:
    @examples(15)
    @given(st.fixed_dictionaries({}, optional={
        name: st.sampled_from(ODD) for name in ("subject_id", "time", "code", "numeric_value")
    }))  # fmt: skip
    def check(odd: dict[str, pl.Expr]) -> None:
        frame = pl.DataFrame({"n": range(5)}).select(
            expression.alias(name) for name, expression in odd.items()
        )
        (tmp_path / "data").mkdir(exist_ok=True)
        frame.write_parquet(tmp_path / "data/0.parquet")
        try:
            read_meds(open_meds(tmp_path), load_map("paper"), tmp_path, window_hours=24)
        except UserError as error:
            sentence(error)

    check()
