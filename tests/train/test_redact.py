from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

from ehrfm_core.study import open_study
from ehrfm_core.study.verify import verify
from train.__main__ import main

DEMO = Path(__file__).parents[2] / "data_samples" / "studies" / "mimic-iv-demo"
COMMAND = ["redact", "--shares", "0.5", "0.9", "--bootstrap", "200", "--device", "cpu"]


@pytest.fixture(scope="module")
def redacted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("redact") / "study"
    shutil.copytree(DEMO, folder)
    assert main([*COMMAND, str(folder)]) == 0
    return folder


def test_nothing_dropped_is_the_study_itself(redacted: Path) -> None:
    study = open_study(redacted)
    table = study.result("redaction")
    whole = table.filter(pl.col("dropped") == "none")
    known = study.result("metrics").filter(
        (pl.col("model") == "probe") & (pl.col("metric") == "roc_auc") & (pl.col("subgroup") == "all")
    )
    both = whole.join(known, on="outcome")
    assert both.height == 4
    assert both["roc_auc"].to_list() == pytest.approx(both["estimate"].to_list(), abs=0.02)
    assert both["n"].to_list() == both["n_right"].to_list()
    assert whole["change"].null_count() == whole.height


def test_every_way_of_dropping_is_there(redacted: Path) -> None:
    table = open_study(redacted).result("redaction")
    assert table.height == 4 * (1 + 3 * 2)
    some = table.filter((pl.col("dropped") != "none") & (pl.col("outcome") == "long_los"))
    assert some["change"].null_count() == 0
    assert ((some["ci_low"] <= some["change"]) & (some["change"] <= some["ci_high"])).mean() > 0.5
    assert some["change"].abs().max() > 0, "without nine in ten events something changes"


def test_the_study_stays_whole_and_is_not_redacted_twice(
    redacted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify(open_study(redacted)) == []
    assert main([*COMMAND, str(redacted)]) == 0
    assert "redact: nothing to do" in capsys.readouterr().out


def test_a_share_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["redact", "study", "--shares", "1.5"])
    assert "'1.5' is not a share" in capsys.readouterr().err
