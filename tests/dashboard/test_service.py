"""Options, sign-in and audit log: a server that is set up wrongly shows nothing and says why."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from dashboard import audit, options, patient_level, sign_in
from ehrfm_core.errors import UserError
from ehrfm_core.study import open_study
from tests.dashboard.test_pages import fine, text
from tests.make_study import make_study

Open = Callable[..., AppTest]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    make_study(folder / "two", sites={"mimic": 60, "ucmc": 50}, seed=1)
    make_study(folder / "one", sites={"mimic": 60}, seed=2, synthetic=False)
    return folder


@pytest.fixture
def setting() -> Iterator[Callable[[str, Any], None]]:
    before: dict[str, Any] = {}

    def change(name: str, value: Any) -> None:
        before.setdefault(name, st.get_option(name))
        st.config.set_option(name, value)

    yield change
    for name, value in before.items():
        st.config.set_option(name, value)


@pytest.fixture
def shipped(setting: Callable[[str, Any], None]) -> None:
    setting("client.disableDataExport", True)


def closed(app: AppTest, said: str) -> None:
    assert not app.exception, app.exception
    assert said in text(app).replace("\\", "")
    assert "not set up rightly" in text(app)
    assert not app.selectbox
    assert not app.get("plotly_chart")
    assert "two" not in text(app)


def lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_help_tells_every_option() -> None:
    run = [sys.executable, "dashboard/app.py", "--help"]
    told = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for option in ("--studies", "--sign-in", "--audit-log", "--id-key", "--view-only", "--export-stays"):
        assert option in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--veiw-only",), "Unrecognized arguments: --veiw-only"),
        (("--view", "x"), "Unrecognized arguments: --view x"),
        (("--sign-in", "none"), "invalid choice"),
        (("--help",), "is for the terminal"),
        (("--view-only", "--export-stays"), "leave one of them out"),
        (("--sign-in", "proxy"), "server.trustedUserHeaders"),
        (("--sign-in", "oidc"), "secrets.toml"),
        (("--audit-log", "/nowhere/at/all/log"), "cannot be written (No such file or directory)"),
    ],
)
def test_what_is_wrongly_asked_for_shows_nothing(
    studies: Path, open_page: Open, shipped: None, words: tuple[str, ...], said: str
) -> None:
    closed(open_page(studies, "map", options=words), said)


def test_sign_in_that_is_half_set_up_shows_nothing(
    studies: Path,
    open_page: Open,
    setting: Callable[[str, Any], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    setting("server.trustedUserHeaders", {"X-User": "user"})
    closed(open_page(studies), "give --sign-in proxy")
    setting("server.address", "0.0.0.0")
    closed(open_page(studies, options=("--sign-in", "proxy")), "bind to the proxy's own machine")
    setting("server.trustedUserHeaders", {})
    monkeypatch.setattr(sign_in, "get_secrets_auth_section", lambda: {"client_id": "x"})
    closed(open_page(studies), "give --sign-in oidc")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"cookie_secret": "short"}, "shorter than 32 characters"),
        ({"redirect_uri": "http://dash.hospital.example/oauth2callback"}, "redirect_uri .* must begin with"),
        ({"server_metadata_url": "http://sso.hospital.example/x"}, "server_metadata_url .* must begin with"),
        ({"redirect_uri": "https://dash.hospital.example/"}, "must end with /oauth2callback"),
    ],
)
def test_a_provider_over_an_open_line_is_refused(
    monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], said: str
) -> None:
    right = {
        "cookie_secret": "s" * 32,
        "redirect_uri": "https://dash.hospital.example/oauth2callback",
        "server_metadata_url": "https://sso.hospital.example/.well-known/openid-configuration",
    }
    monkeypatch.setattr(sign_in, "is_authlib_installed", lambda: True)
    monkeypatch.setattr(sign_in, "validate_auth_credentials", lambda provider: None)
    started = options.Options(sign_in=options.OIDC)
    monkeypatch.setattr(sign_in, "get_secrets_auth_section", lambda: right)
    sign_in.check(started)
    monkeypatch.setattr(sign_in, "get_secrets_auth_section", lambda: right | changed)
    with pytest.raises(UserError, match=said):
        sign_in.check(started)


def test_every_configured_header_must_be_there() -> None:
    headers = {"X-User": "user", "X-Department": "department"}
    assert sign_in.by_header({"user": "ada", "department": "icu"}, headers) == sign_in.Visitor("ada")
    assert sign_in.by_header({"user": "ada", "department": " "}, headers) is None
    assert sign_in.by_header({}, headers) is None


@pytest.mark.parametrize("user", [{}, {"is_logged_in": "yes"}, {"sub": ""}, {"iat": None}, {"iat": "1"}])
def test_half_a_token_is_none(user: dict[str, Any]) -> None:
    whole = {"is_logged_in": True, "sub": "7", "iat": 1000}
    assert sign_in.by_token(whole, now=1500) == sign_in.Visitor("7", "7")
    assert sign_in.by_token(whole | user if user else {}, now=1500) is None


def test_the_log_has_a_line_a_view_and_no_stay(
    tmp_path: Path, studies: Path, open_page: Open, shipped: None
) -> None:
    log = tmp_path / "audit.jsonl"
    app = open_page(studies, "patient", options=("--audit-log", str(log)), b="two")
    fine(app)
    stays = open_study(studies / "two").site_table("mimic", "stays")["hospitalization_id"]
    app.text_input(key="find").set_value(str(stays[2])).run()
    app.switch_page("app_pages/map.py").run()
    assert [(line["action"], line["who"], line["study"], line["page"]) for line in lines(log)] == [
        ("view", None, "two", "patient"),
        ("view", None, "two", "map"),
    ]
    assert not [stay for stay in stays if stay in log.read_text()]
    assert log.stat().st_mode & 0o077 == 0


def test_an_export_is_logged_before_it_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shipped: None
) -> None:
    log = tmp_path / "audit.jsonl"
    monkeypatch.setattr(sys, "argv", ["app.py", "--audit-log", str(log)])
    leave = audit.exporting(lambda: b"rows", study="two", file="two_stays_all.parquet")
    assert not log.exists(), "offered is not taken"
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: leave(), range(40))) == {b"rows"}
    assert len(lines(log)) == 40
    assert {line["file"] for line in lines(log)} == {"two_stays_all.parquet"}
    log.unlink()
    log.mkdir()
    with pytest.raises(UserError, match="cannot be written"):
        leave()


def test_a_log_that_would_not_be_complete_or_lies_among_the_studies_shows_nothing(
    tmp_path: Path, studies: Path, open_page: Open, setting: Callable[[str, Any], None]
) -> None:
    setting("client.disableDataExport", True)
    inside = studies / "audit.jsonl"
    closed(open_page(studies, options=("--audit-log", str(inside))), "lies inside the folder of studies")
    assert not inside.exists()
    setting("client.disableDataExport", False)
    log = tmp_path / "audit.jsonl"
    closed(open_page(studies, options=("--audit-log", str(log))), "Give --export-stays in its place")
    assert not log.exists()


@pytest.mark.parametrize(
    ("words", "real", "synthetic"),
    [((), False, True), (("--export-stays",), True, True), (("--view-only",), False, False)],
)
def test_who_may_take_single_stays_away(
    studies: Path,
    monkeypatch: pytest.MonkeyPatch,
    shipped: None,
    words: tuple[str, ...],
    real: bool,
    synthetic: bool,
) -> None:
    monkeypatch.setattr(sys, "argv", ["app.py", *words])
    assert patient_level.allowed_of(open_study(studies / "one")) is real
    assert patient_level.allowed_of(open_study(studies / "two")) is synthetic


@pytest.mark.parametrize("page", ["overview", "map", "patient", "methods", "transfer"])
def test_viewing_alone_offers_nothing_to_take(
    studies: Path, open_page: Open, shipped: None, page: str
) -> None:
    app = open_page(studies, page, options=("--view-only",), b="two")
    fine(app)
    assert not app.get("download_button")
    assert not app.get("file_uploader")
    for chart in app.get("plotly_chart"):
        assert "toImage" in json.loads(chart.proto.config)["modeBarButtonsToRemove"]
