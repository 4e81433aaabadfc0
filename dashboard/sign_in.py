"""Who may see anything: people whom an OIDC provider or the hospital's proxy has signed in.

Without `--sign-in` everyone who reaches the server may. Where sign-in is half set up, nobody may.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import streamlit as st
from streamlit.auth_util import get_secrets_auth_section, is_authlib_installed, validate_auth_credentials
from streamlit.errors import StreamlitAuthError

from dashboard.options import OIDC, PROXY, Options
from ehrfm_core.errors import UserError

HOURS = 12  # a signed-in browser signs in again after a shift; Streamlit's cookie alone holds 30 days
_SECRET = 32
_NAMES = ("email", "preferred_username", "name", "sub")


@dataclass(frozen=True)
class Visitor:
    """Who is before the screen: a name for the log, and the provider's own where there is one."""

    name: str
    subject: str | None = None


def check(started: Options) -> None:
    """Raise UserError where sign-in would not keep out those it should."""
    headers, secrets = st.get_option("server.trustedUserHeaders"), get_secrets_auth_section()
    if started.sign_in == PROXY:
        _check_proxy(headers)
    elif headers:
        raise UserError("server.trustedUserHeaders is set, but nobody is asked for it: give --sign-in proxy.")
    if started.sign_in == OIDC:
        _check_oidc(secrets)
    elif secrets:
        raise UserError("secrets.toml has a section [auth], but nobody is asked to: give --sign-in oidc.")


def visitor(started: Options) -> Visitor | None:
    """Who has signed in, None where nobody has."""
    if started.sign_in == PROXY:
        return by_header(st.user.to_dict(), st.get_option("server.trustedUserHeaders"))
    return by_token(st.user.to_dict(), now=time.time())


def by_header(user: Mapping[str, Any], headers: Mapping[str, str]) -> Visitor | None:
    """The visitor whom the proxy names; every header that is configured must be there.

    >>> by_header({"user": "ada"}, {"X-Forwarded-User": "user"})
    Visitor(name='ada', subject=None)
    >>> by_header({"user": None}, {"X-Forwarded-User": "user"})
    """
    values = [str(user.get(key) or "").strip() for key in headers.values()]
    return Visitor(values[0]) if values and all(values) else None


def by_token(user: Mapping[str, Any], *, now: float) -> Visitor | None:
    """The visitor of an OIDC identity token that is at most `HOURS` old; `now` in seconds of the epoch.

    >>> by_token({"is_logged_in": True, "sub": "7", "email": "ada@h.example", "iat": 1000}, now=2000)
    Visitor(name='ada@h.example', subject='7')
    >>> by_token({"is_logged_in": True, "sub": "7", "iat": 1000}, now=90_000)
    """
    issued = user.get("iat")
    if user.get("is_logged_in") is not True or not user.get("sub") or not isinstance(issued, int | float):
        return None
    if now - issued > HOURS * 3600:
        return None
    name = next(str(user[key]) for key in _NAMES if user.get(key))
    return Visitor(name, str(user["sub"]))


def draw(started: Options) -> None:
    """The page of those who have not signed in."""
    with (
        st.container(horizontal_alignment="center"),
        st.container(border=True, key="sign-in", width=480),
    ):
        if started.sign_in == PROXY:
            st.header("Not signed in", anchor=False)
            st.markdown(
                "This dashboard is opened through the hospital's sign-in, which has not named you. Open it "
                "by the address that the hospital gives for it."
            )
            return
        st.header("Sign in to see the studies", anchor=False)
        st.markdown(
            "Your hospital's sign-in opens, and brings you back to the first page. If you came by a link, "
            "open it again then."
        )
        st.button(
            "Sign in",
            type="primary",
            icon=":material/login:",
            on_click=st.login,
            key="login",
            width="stretch",
        )


def status(started: Options, who: Visitor) -> None:
    """In the sidebar: who is signed in, and the way out."""
    st.text(f"Signed in as {who.name[:80]}")  # no Markdown: a name is not a link
    if started.sign_in == OIDC:
        st.button("Sign out", icon=":material/logout:", type="tertiary", on_click=st.logout, key="logout")


def _check_proxy(headers: Any) -> None:
    if not isinstance(headers, dict) or not headers:
        raise UserError(
            "--sign-in proxy needs the header that names the visitor: "
            """--server.trustedUserHeaders '{"X-Forwarded-User": "user"}'."""
        )
    address = st.get_option("server.address")
    if not address or not _is_loopback(address):
        raise UserError(
            f"--sign-in proxy believes a header that anyone who reaches {address or 'every address'} could "
            "send: bind to the proxy's own machine, --server.address 127.0.0.1."
        )


def _check_oidc(secrets: Mapping[str, Any]) -> None:
    if not is_authlib_installed():
        raise UserError("--sign-in oidc needs Authlib: `pip install -r requirements.txt`.")
    try:
        validate_auth_credentials("default")
    except StreamlitAuthError as error:
        raise UserError(f"--sign-in oidc: {' '.join(str(error).split())}") from None
    if len(str(secrets["cookie_secret"])) < _SECRET:
        raise UserError(
            f"--sign-in oidc: cookie_secret in secrets.toml is shorter than {_SECRET} characters: "
            "`openssl rand -hex 32` makes one."
        )
    for name in ("redirect_uri", "server_metadata_url"):
        found = urlsplit(str(secrets[name]))
        if found.scheme != "https" and not (found.scheme == "http" and _is_loopback(found.hostname or "")):
            raise UserError(f"--sign-in oidc: {name} in secrets.toml must begin with https://.")
    if not str(secrets["redirect_uri"]).endswith("/oauth2callback"):
        raise UserError("--sign-in oidc: redirect_uri in secrets.toml must end with /oauth2callback.")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
