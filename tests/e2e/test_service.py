"""The dashboard as a hospital's service, in a browser: sign-in, audit log, opaque ids, viewing alone."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import polars as pl
import pytest

from dashboard.opaque_ids import opaque
from tests import loopback_only, naming_proxy, oidc_provider
from tests.e2e.conftest import PAGES, free_port, look, serve, settle, visit
from tests.e2e.test_browser import Watcher, focus_of, shoot
from tests.make_study import make_study
from tests.oidc_provider import CLIENT, SECRET, Provider
from tests.reseal import reseal

pytestmark = pytest.mark.browser

STUDY = "cardiology"


def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A folder with one study of real patients, as it says, and one for what lies outside it."""
    studies, outside = tmp_path / "studies", tmp_path / "outside"
    make_study(studies / STUDY, sites={"mimic": 120, "ucmc": 90}, seed=4, synthetic=False)
    for site in ("mimic", "ucmc"):  # ids long enough not to stand somewhere by chance
        table = studies / STUDY / f"sites/{site}/stays.parquet"
        pl.read_parquet(table).with_columns(patient_id="person-" + pl.col("patient_id")).write_parquet(table)
    reseal(studies / STUDY)
    outside.mkdir()
    return studies, outside


def lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def secrets(file: Path, provider: Provider, port: int) -> Path:
    content = {
        "redirect_uri": f"http://127.0.0.1:{port}/oauth2callback",
        "cookie_secret": "of the tests alone " * 2,
        "client_id": CLIENT,
        "client_secret": SECRET,
        "server_metadata_url": f"{provider.address}/.well-known/openid-configuration",
    }
    file.write_text(
        "[auth]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in content.items())
    )
    return file


def handshake(url: str, *, host: str) -> int:
    """The status by which the server answers a websocket that is opened under a name for it."""
    port = urlsplit(url).port
    asked = {
        "Host": f"{host}:{port}",
        "Origin": f"http://{host}:{port}",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in asked.items())
    with socket.create_connection(("127.0.0.1", port or 0), timeout=10) as line:
        line.sendall(f"GET /_stcore/stream HTTP/1.1\r\n{head}\r\n".encode())
        return int(line.recv(4096).split()[1])


def test_sign_in_goes_to_the_provider_and_back(browser: Any, tmp_path: Path) -> None:
    studies, outside = folders(tmp_path)
    port, log = free_port(), outside / "audit.jsonl"
    with oidc_provider.run() as provider:
        file = secrets(outside / "secrets.toml", provider, port)
        own = ("--sign-in", "oidc", "--audit-log", str(log))
        with serve(studies, "--secrets.files", str(file), own=own, port=port) as url:
            page = look(browser, width=1280)
            page.goto(f"{url}/patient?b={STUDY}")
            page.get_by_role("button", name="Sign in").wait_for(timeout=30_000)
            page.wait_for_timeout(1000)
            shoot(page, "sign-in")
            shown = page.locator("body").inner_text()
            assert STUDY not in shown
            assert "Map" not in shown, "the pages are not listed either"
            page.get_by_role("button", name="Sign in").click()
            page.wait_for_selector("text=The hospital's sign-in")
            page.click("text=Continue as Ada")
            page.wait_for_selector("text=Signed in as", timeout=30_000)
            settle(page)
            assert page.get_by_text("Signed in as ada@hospital.example").is_visible()
            assert page.get_by_text(STUDY).first.is_visible()
            page.set_viewport_size({"width": 1280, "height": 1000})
            page.screenshot(path="screenshots/signed-in.png")
            page.get_by_role("button", name="Sign out").click()
            page.get_by_role("button", name="Sign in").wait_for(timeout=30_000)
            assert STUDY not in page.locator("body").inner_text()

            provider.age = 13 * 3600
            page.get_by_role("button", name="Sign in").click()
            page.click("text=Continue as Ada")
            page.wait_for_url(f"{url}/", timeout=30_000)
            page.get_by_role("button", name="Sign in").wait_for(timeout=30_000)
            assert STUDY not in page.locator("body").inner_text(), "a sign-in of yesterday is none"
            page.context.close()
    who = [(line["action"], line["who"], line.get("study"), line.get("page")) for line in lines(log)]
    assert ("open", "ada@hospital.example", None, None) in who
    assert ("view", "ada@hospital.example", STUDY, "overview") in who
    assert not [line for line in who if line[0] == "view" and line[1] != "ada@hospital.example"]


def test_behind_a_proxy_the_header_is_asked_for(browser: Any, tmp_path: Path) -> None:
    studies, outside = folders(tmp_path)
    log = outside / "audit.jsonl"
    header = ("--server.trustedUserHeaders", '{"X-Forwarded-User": "user"}')
    with serve(studies, *header, own=("--sign-in", "proxy", "--audit-log", str(log))) as url:
        page = look(browser)
        page.goto(f"{url}/map?b={STUDY}")
        page.wait_for_selector("text=Not signed in", timeout=30_000)
        assert STUDY not in page.locator("body").inner_text()
        page.context.close()
        with naming_proxy.run(urlsplit(url).port or 0, "X-Forwarded-User", "grace") as front:
            page = look(browser)
            page.goto(f"{front}/training?b={STUDY}")
            page.wait_for_selector("text=Signed in as grace", timeout=30_000)
            settle(page)
            assert page.get_by_role("button", name="Sign out").count() == 0
            page.context.close()
        assert handshake(url, host="127.0.0.1") == 101
        assert handshake(url, host="rebound.attacker.example") == 403, "its own origin, but not our name"
    told = [(line["action"], line["who"]) for line in lines(log)]
    assert told == [("refused", None), ("open", "grace"), ("view", "grace")]


@pytest.mark.slow
def test_viewing_alone_with_opaque_ids_and_nothing_leaves(browser: Any, tmp_path: Path) -> None:
    studies, outside = folders(tmp_path)
    log, key, reached = outside / "audit.jsonl", outside / "key", outside / "outside.txt"
    key.write_bytes(b"a key of the tests alone, 32 and more")
    key.chmod(0o600)
    (outside / "sitecustomize.py").write_text(Path(loopback_only.__file__).read_text())
    stays = pl.read_parquet(studies / STUDY / "sites/mimic/stays.parquet")
    known = [
        identity.encode()
        for site in ("mimic", "ucmc")
        for column in ("hospitalization_id", "patient_id")
        for identity in pl.read_parquet(studies / STUDY / f"sites/{site}/stays.parquet")[column]
    ]
    received: list[bytes] = []

    def listen(opened: Any) -> None:
        opened.on("framereceived", lambda data: received.append(data if isinstance(data, bytes) else b""))

    own = ("--id-key", str(key), "--audit-log", str(log), "--view-only")
    paths = filter(None, [str(outside), os.environ.get("PYTHONPATH")])
    environment = {"PYTHONPATH": os.pathsep.join(paths), "OUTSIDE": str(reached)}
    asks = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)"  # a network of nobody
    subprocess.run(
        [sys.executable, "-c", asks], env=os.environ | environment, capture_output=True, check=False
    )
    assert "192.0.2.1" in reached.read_text(), "the guard stands"
    reached.unlink()
    with serve(studies, own=own, environment=environment) as url:
        page = look(browser)
        watcher = Watcher(page, url)
        page.on("websocket", listen)
        for name in PAGES:
            visit(page, f"{url}/{name}?b={STUDY}", milliseconds=100)
            assert page.locator("[data-testid=stDownloadButton], [data-testid=stFileUploader]").count() == 0
            assert page.locator('.modebar-btn[data-title^="Download"]').count() == 0
        visit(page, f"{url}/patient?b={STUDY}")
        own_id = stays["hospitalization_id"][17]
        wanted = opaque(key.read_bytes(), "stay", "mimic", pl.Series([own_id])).item()
        page.get_by_label("Find a stay").fill(wanted)
        page.keyboard.press("Enter")
        page.locator("h2", has_text=f"Stay {wanted}").wait_for(timeout=20_000)
        settle(page)
        assert focus_of(page) == wanted
        link = page.url
        shoot(page, "patient-opaque")
        watcher.assert_clean(page)
        page.context.close()
        again = look(browser)
        again.on("websocket", listen)
        again.goto(link)
        again.locator("h2", has_text=f"Stay {wanted}").wait_for(timeout=60_000)
        again.context.close()
    said = b"".join(received)
    assert len(received) > 100
    assert wanted.encode() in said
    assert not [identity for identity in known if identity in said]
    assert "streamlit run" in (outside / "outside.txt.watched").read_text()
    assert not reached.exists(), reached.read_text()
    text = log.read_text()
    assert not [identity for identity in known if identity.decode() in text]
    assert wanted not in text
    views = [line["page"] for line in lines(log)]
    assert set(views) == {name or "overview" for name in PAGES}
    assert all(line["study"] == STUDY and line["who"] is None for line in lines(log))
