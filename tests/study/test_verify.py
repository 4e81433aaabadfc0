from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from ehrfm_core.evaluation.recompute import recompute
from ehrfm_core.study import open_study
from ehrfm_core.study.layout import result_file, site_file
from ehrfm_core.study.verify import verify
from tests.make_clif import make_tables, write_tables
from tests.reseal import reseal
from train.__main__ import main

ID = "hospitalization_id"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verify")
    for name, seed in (("a", 0), ("b", 1)):
        write_tables(make_tables(patients=30, seed=seed), folder / name)
    arguments = [
        "--site",
        f"a={folder / 'a'}",
        "--site",
        f"b={folder / 'b'}",
        "--steps",
        "2",
        "--bootstrap",
        "20",
    ]
    assert main(["study", str(folder / "study"), *arguments]) == 0
    return folder / "study"


@pytest.fixture
def study(finished: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    import shutil

    return Path(shutil.copytree(finished, tmp_path / "study"))


def rewrite(study: Path, relative: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    """Change a table and its hash, as someone would who means to mislead."""
    path = study / relative
    change(pl.read_parquet(path)).write_parquet(path)
    reseal(study)


def test_a_study_as_it_was_made(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(open_study(finished)) == []
    assert main(["verify", str(finished)]) == 0
    assert "agree with each other" in capsys.readouterr().out


def test_every_file_that_was_touched_is_named(finished: Path, study: Path) -> None:
    files = [study / path for stage in open_study(study).manifest.stages.values() for path in stage.files]
    assert len(files) > 15
    for path in files:
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert verify(open_study(study)) == [
            f"{path} is not as it was written: its hash differs from study.json."
        ]
        path.unlink()
        assert verify(open_study(study)) == [f"{path} is missing."]
        path.write_bytes(content)


def test_a_stranger_among_the_files(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (study / "sites" / "c").mkdir()
    (study / "sites" / "c" / "stays.parquet").write_text("")
    assert main(["verify", str(study)]) == 1
    assert "belongs to no stage" in capsys.readouterr().err


def test_numbers_that_do_not_follow_from_each_other(study: Path) -> None:
    lies: list[tuple[str, Callable[[pl.DataFrame], pl.DataFrame], str]] = [
        (site_file("a", "dynamics"), lambda f: f.with_columns(pl.col("path_length") + 1), "path_length of"),
        (site_file("b", "dynamics"), lambda f: f.with_columns(pl.col("max_jump") * 2), "max_jump of"),
        (site_file("a", "states"), lambda f: f.head(3), "its stays are not those of the site"),
        (
            site_file("a", "stays"),
            lambda f: f.with_columns(pl.Series("split", ["test", "train"] * f.height).head(f.height)),
            "patients are in more than one split",
        ),
        (site_file("b", "stays"), lambda f: f.with_columns(pl.col("n_tokens") + 1), "n_tokens of"),
        (result_file("predictions"), lambda f: f.with_columns(~pl.col("label")), "another label"),
        (result_file("predictions"), lambda f: f.tail(f.height - 3), "has not one prediction of"),
        (result_file("metrics"), lambda f: f.with_columns(pl.col("estimate") / 2), "does not follow from"),
        (result_file("metrics"), lambda f: f.with_columns(pl.col("n") + 1), "does not follow from"),
    ]
    for relative, change, message in lies:
        before = (study / relative).read_bytes(), (study / "study.json").read_bytes()
        rewrite(study, relative, change)
        findings = verify(open_study(study))
        assert any(message in finding and str(study) in finding for finding in findings), (message, findings)
        (study / relative).write_bytes(before[0])
        (study / "study.json").write_bytes(before[1])
    assert verify(open_study(study)) == []


def test_every_metric_and_curve_is_measured_again(study: Path) -> None:
    metrics = open_study(study).result("metrics").drop_nulls("estimate")["metric"].unique()
    assert {"average_precision", "brier", "observed_expected", "carried_specificity"} <= set(metrics)
    known = pl.col("estimate").is_not_null()
    first = known & (known.cum_sum().over("metric") == 1)
    another = pl.when(first).then(pl.col("estimate") + 0.01).otherwise("estimate")
    lies: list[tuple[str, Callable[[pl.DataFrame], pl.DataFrame], tuple[str, ...]]] = [
        (
            result_file("metrics"),
            lambda f: pl.concat([f.with_columns(estimate=another), f.head(1)]).head(f.height),
            (f"estimate of {len(metrics)} rows",),
        ),
        (
            result_file("metrics"),
            lambda f: pl.concat([f.tail(f.height - 1), f.tail(1)]),
            ("1 rows are missing", "more than once"),
        ),
        (
            result_file("decision_curves"),
            lambda f: f.with_columns(pl.col("net_benefit") + 0.01),
            ("net_benefit of",),
        ),
        (
            result_file("calibration_curves"),
            lambda f: f.with_columns(pl.col("observed") * 0.9),
            ("observed of",),
        ),
    ]
    for relative, change, words in lies:
        before = (study / relative).read_bytes(), (study / "study.json").read_bytes()
        rewrite(study, relative, change)
        found = recompute(open_study(study))
        assert all(any(word in one and relative in one for one in found) for word in words), (words, found)
        (study / relative).write_bytes(before[0])
        (study / "study.json").write_bytes(before[1])
