"""A small OpenID Connect provider on loopback: discovery, keys, authorization with PKCE, tokens (RS256).

What OpenID Connect Core 1.0, sections 3.1.2 and 3.1.3, asks of the code flow, for one person and one client.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "dashboard", "a secret between provider and dashboard"


@dataclass
class Provider:
    """The provider's address and what it says of the person who signs in."""

    address: str
    claims: dict[str, Any] = field(default_factory=lambda: {"sub": "7", "email": "ada@hospital.example"})
    age: float = 0.0  # seconds since the token's `iat`
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "1", "use": "sig"}))
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.address,
            "authorization_endpoint": f"{self.address}/authorize",
            "token_endpoint": f"{self.address}/token",
            "jwks_uri": f"{self.address}/jwks",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
        }

    def token(self, asked: dict[str, str], authorization: str | None) -> dict[str, Any] | None:
        """Tokens for a code, once; None for a wrong client, code or verifier."""
        basic = base64.b64encode(f"{CLIENT}:{SECRET}".replace(" ", "+").encode()).decode()
        plain = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        granted = self.codes.pop(asked.get("code", ""), None)
        if granted is None or authorization not in (f"Basic {basic}", f"Basic {plain}"):
            return None
        digest = hashlib.sha256(asked.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if granted["code_challenge"] != challenge or granted["redirect_uri"] != asked.get("redirect_uri"):
            return None
        issued = int(time.time() - self.age)
        claims = {
            "iss": self.address,
            "aud": CLIENT,
            "iat": issued,
            "exp": int(time.time()) + 300,
            "nonce": granted["nonce"],
        }
        signed = jwt.encode({"alg": "RS256", "kid": "1"}, claims | self.claims, self.key)
        return {"access_token": secrets.token_hex(8), "token_type": "Bearer", "id_token": signed}


@contextmanager
def run() -> Iterator[Provider]:
    """A provider on a free port of loopback, for as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
            if parts.path == "/.well-known/openid-configuration":
                self._json(provider.discovery())
            elif parts.path == "/jwks":
                self._json({"keys": [provider.key.as_dict(private=False) | {"alg": "RS256"}]})
            elif parts.path == "/authorize" and asked.get("client_id") == CLIENT:
                code = secrets.token_hex(8)
                provider.codes[code] = asked
                back = f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"
                page = f"<h1>The hospital's sign-in</h1><a href='{escape(back)}'>Continue as Ada</a>"
                self._send(200, "text/html", page.encode())
            else:
                self._send(404, "text/plain", b"")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            asked = {name: values[0] for name, values in parse_qs(body).items()}
            made = provider.token(asked, self.headers.get("Authorization"))
            self._json(made or {"error": "invalid_grant"}, 200 if made else 400)

        def _json(self, content: Any, status: int = 200) -> None:
            self._send(status, "application/json", json.dumps(content).encode())

        def _send(self, status: int, kind: str, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Keep the tests' output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider = Provider(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
