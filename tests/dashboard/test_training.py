"""The Training page: which runs it shows, what it says of them, and that no file of a run breaks it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from dashboard import runs_compared
from ehrfm_core.study import open_study
from ehrfm_core.study.layout import RUN, RUN_CURVE
from ehrfm_core.study.runs import Run, read_run
from tests.make_run import make_run
from tests.make_study import make_study
from tests.reseal import reseal

Open = Callable[..., AppTest]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthetic: a and b of the same stays, one without files; real: one with a tokenizer of its own."""
    folder = tmp_path_factory.mktemp("runs")
    make_study(folder / "a", sites={"mimic": 30})
    for name in ("b", "kept"):
        shutil.copytree(folder / "a", folder / name)
    make_study(folder / "real", sites={"mimic": 30}, seed=9, synthetic=False)
    manifest = json.loads((folder / "real/study.json").read_text())
    manifest["stages"]["tokenize"]["summary"]["vocabulary_size"] = 999
    (folder / "real/study.json").write_text(json.dumps(manifest))
    with (folder / "real/tokenizer.json").open("a") as tokenizer:  # another one
        tokenizer.write(" ")
    reseal(folder / "real")
    make_study(folder / "untrained", sites={"mimic": 30}, stages=("tokenize",))
    make_run(folder / "a")
    make_run(folder / "b", floor=1.4, settings={"seed": 1, "weight_decay": 0.0}, reason="Stopped early")
    make_run(folder / "real")
    return folder


@pytest.fixture
def folder(base: Path, tmp_path: Path) -> Path:
    return shutil.copytree(base, tmp_path / "studies")


def text(app: AppTest) -> str:
    kinds = (app.title, app.header, app.markdown, app.caption, app.warning, app.code)
    return "\n".join(str(element.value) for kind in kinds for element in kind).replace("\\", "")


def figures(app: AppTest) -> list[dict[str, Any]]:
    return [json.loads(element.proto.spec) for element in app.get("plotly_chart")]


def legend(app: AppTest) -> list[str]:
    names = [trace["name"] for trace in figures(app)[0]["data"] if trace.get("showlegend") is not False]
    return [name for name in names if not name.startswith("<i>")]


def run_of(folder: Path) -> Run:
    run = read_run(open_study(folder))
    assert run is not None
    return run


def test_it_begins_with_the_current_run_and_those_that_can_be_compared(folder: Path, open_page: Open) -> None:
    app = open_page(folder, "training", b="b")
    assert not app.exception
    assert app.multiselect(key="runs").value[0] == "b"
    assert sorted(legend(app)) == ["a", "b", "kept"]
    assert "cannot be compared" not in text(app)
    assert "Not trained yet: untrained." in text(app)
    assert len(figures(app)) == 2


def test_a_link_brings_back_runs_axis_and_scale(folder: Path, open_page: Open) -> None:
    app = open_page(folder, "training", b="a", runs=["kept", "a"], axis="seconds", scale="loglog")
    assert app.multiselect(key="runs").value == ["kept", "a"]
    assert legend(app) == ["a"]
    assert "Not drawn, as not known over training time: kept." in text(app)
    figure = figures(app)[0]
    assert figure["layout"]["yaxis"]["type"] == figure["layout"]["xaxis"]["type"] == "log"
    assert "seconds" in figure["layout"]["xaxis"]["title"]["text"]
    assert not app.toast


def test_an_unknown_run_in_a_link_is_told_and_left_out(folder: Path, open_page: Open) -> None:
    app = open_page(folder, "training", b="a", runs=["a", "<b>nobody</b>"])
    assert [toast.value for toast in app.toast] == [
        "This link names a run that is not in this folder: showing the default."
    ]
    assert app.multiselect(key="runs").value == ["a"]


def test_another_study_in_the_sidebar_brings_its_run(folder: Path, open_page: Open) -> None:
    app = open_page(folder, "training", b="a")
    app.selectbox(key="b").select("real").run()
    assert app.multiselect(key="runs").value == ["real"], "nothing was chosen by hand"
    app.multiselect(key="runs").set_value(["real", "b"]).run()
    app.selectbox(key="b").select("kept").run()
    assert app.multiselect(key="runs").value == ["real", "b", "kept"]
    app.multiselect(key="runs").set_value([]).run()
    assert not app.exception
    assert "No run is chosen" in text(app)


def test_other_tokens_and_other_patients_are_told(folder: Path, open_page: Open) -> None:
    app = open_page(folder, "training", b="a", runs=["a", "real"])
    assert "cannot be compared: the runs read different tokens" in text(app)
    assert "real: vocabulary of 999" in text(app)
    assert "Synthetic and real patients side by side" in text(app)
    assert legend(app) == ["a · synthetic", "real · real"]
    for figure in figures(app):
        assert [n["text"] for n in figure["layout"]["annotations"]].count("<b>PARTLY SYNTHETIC</b>") == 1
    for table in app.dataframe:
        assert table.value["SYNTHETIC"].to_list() == ["synthetic", "real"]


def test_differences_and_reasons_are_in_words(folder: Path, open_page: Open) -> None:
    told = text(open_page(folder, "training", b="a", runs=["a", "b"]))
    assert "The runs differ in** seed (in the second table); weight decay: 0.1 (a), 0 (b)." in told
    assert "b: Stopped early." in told
    same = [Run("a", False, settings={"seed": 0}), Run("b", False)]
    assert not runs_compared.differences(same), "what a run does not know is no difference"


def test_the_tables_hold_what_follows_from_the_files(folder: Path, open_page: Open) -> None:
    app = open_page(folder, "training", b="a", runs=["a"])
    results, set_up = (table.value.iloc[0].to_dict() for table in app.dataframe)
    run = run_of(folder / "a")
    assert results["below_bigram"] == pytest.approx(2.8 - run.best_tuning_loss)
    assert results["below_unigram"] == pytest.approx(3.7 - run.best_tuning_loss)
    assert (results["step"], results["tokens"], results["time"]) == (200, 819_200, "54 s")
    assert set_up["peak"] == "0.2 TFLOP/s, measured matrix product"
    assert (set_up["mfu"], set_up["learning_rate"], set_up["seed"]) == (0.41, 0.002, 0)


def test_a_run_that_goes_on_is_followed_until_it_ends(folder: Path, open_page: Open) -> None:
    make_run(folder / "b", taken=100, status="running")
    app = open_page(folder, "training", b="a")
    assert "step 100 of 200 (50%)" in str(app.get("progress")[0].proto)
    assert app.toggle(key="follow").value is True
    assert "b · running" in legend(app)
    make_run(folder / "b")
    app.run()
    assert not app.exception
    assert not app.get("progress")
    assert not app.toggle


def test_a_run_not_heard_of_is_not_followed(folder: Path, open_page: Open) -> None:
    long_ago = (datetime.now(UTC) - timedelta(hours=3)).isoformat()
    make_run(folder / "b", taken=100, status="running", updated=long_ago)
    app = open_page(folder, "training", b="a")
    assert "nothing heard of it for 3 h" in str(app.get("progress")[0].proto)
    assert not app.toggle
    assert "b · silent" in legend(app)


@pytest.mark.parametrize(
    "content", [b"[]\n" * 5, b"\xff\xfe\n" * 5, b'{"status": "![x](http://x.y/z.png)"\n' * 5]
)
@pytest.mark.parametrize("file", [RUN, RUN_CURVE])
def test_a_broken_file_is_named_and_the_others_are_drawn(
    folder: Path, open_page: Open, file: str, content: bytes
) -> None:
    (folder / "b" / file).write_bytes(content)
    app = open_page(folder, "training", b="a")
    assert not app.exception
    assert {"a", "kept"} <= set(legend(app))
    (warning,) = app.warning
    assert str(folder / "b" / file) in warning.value.replace("\\", "")


def test_nothing_a_run_says_is_read_as_markup(folder: Path, open_page: Open) -> None:
    make_run(folder / "a", reason="![x](http://x.y/z.png) <img src=q> $x$", device="`rm`")
    app = open_page(folder, "training", b="a")
    (said,) = [m.value for m in app.markdown if "z.png" in m.value]
    assert re.search(r"!\[|\]\(|(?<!\\)[<$]", said) is None


def test_a_model_that_has_learnt_nothing_is_told(folder: Path, open_page: Open) -> None:
    make_run(folder / "a", floor=3.0)
    assert "a predicts no better than a guess from pairs of tokens" in text(
        open_page(folder, "training", b="a")
    )


def test_no_run_at_all_gives_the_command(tmp_path: Path, open_page: Open) -> None:
    make_study(tmp_path / "untrained", sites={"mimic": 30}, stages=("tokenize",))
    app = open_page(tmp_path, "training")
    assert not app.exception
    assert f"python -m train pretrain {tmp_path / 'untrained'}" in text(app)


def test_an_untrained_study_shows_the_others_and_its_command(folder: Path, open_page: Open) -> None:
    app = open_page(folder, "training", b="untrained")
    assert sorted(legend(app)) == ["a", "b", "kept"]
    assert f"python -m train pretrain {folder / 'untrained'}" in text(app)
