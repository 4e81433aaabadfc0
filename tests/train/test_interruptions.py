"""The short form of `python -m train bench interruptions`, and that it sees what it is to see."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.make_study import make_study
from train.bench.interruptions import Survived, contents, look


@pytest.mark.slow
def test_a_study_that_is_killed_ends_as_one_that_is_not() -> None:
    command = [sys.executable, "-m", "train", "bench", "interruptions", "--kills", "3", "--stays", "40"]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = [Survived(**one) for one in json.loads(done.stdout)]
    assert [one.command for one in found] == ["study", "tokenize", "pretrain"]
    assert [one.kills for one in found] == [1, 1, 1]
    assert all(one.same == one.finished >= 1 and one.torn == 0 for one in found)


def test_what_is_torn_or_ended_otherwise_is_seen(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", sites={"mimic": 10})
    other = Path(shutil.copytree(study, tmp_path / "other"))
    found = Survived("study", 1.0)
    look(study, found)
    (other / "training").mkdir()
    (other / "training" / "run.json").write_text("of the hour")
    assert contents(study) == contents(other)
    assert (found.torn, found.refused) == (0, 0)
    path = other / "sites" / "mimic" / "stays.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    look(other, found)
    assert (found.torn, found.refused) == (1, 0)
    assert contents(study) != contents(other)
    (other / ".embed.partial").mkdir()
    shutil.copy(study / "study.json", other / ".embed.partial")
    look(other, found)
    assert (found.torn, found.refused) == (1, 1)
