"""Opaque ids: what the screen calls a stay or a patient where the server has a key (`--id-key FILE`).

A study opened here hands over every table with its ids already replaced, so that nothing behind it (tables,
hover texts, links, cohorts, exports) can show the hospital's own. An id is the first 60 bits of HMAC-SHA256
(RFC 2104) over kind, site and id, as 12 characters of base32: the same stay has the same id in every study
with the same name of its site, and without the key none leads back.
"""

from __future__ import annotations

import hmac
import stat
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import polars as pl

from dashboard.options import Options, outside_studies
from ehrfm_core.errors import UserError
from ehrfm_core.study import Study

KINDS = {"hospitalization_id": "stay", "earlier_id": "stay", "patient_id": "patient"}
SITES = ("test_site", "site")  # the column of a result table that says whose ids it holds
LENGTH = 12
MIN_BYTES = 32
_BASE32 = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz234567", dtype="S1")  # RFC 4648, in small letters


@lru_cache(maxsize=4)
def key(options: Options) -> bytes | None:
    """The key, read once a process; None where none is configured. UserError where it is none."""
    if options.id_key is None:
        return None
    path = outside_studies(options.id_key, options, option="--id-key")
    try:
        content, mode = path.read_bytes().strip(), path.stat().st_mode
    except OSError as error:
        raise UserError(f"--id-key {path} cannot be read ({error.strerror}).") from None
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise UserError(f"--id-key {path} is open to everyone on this machine: `chmod o-rwx` it.")
    if len(content) < MIN_BYTES:
        raise UserError(
            f"--id-key {path} holds {len(content)} bytes, {MIN_BYTES} or more are needed: "
            "`openssl rand -hex 32` makes one."
        )
    return content


def opaque(key: bytes, kind: str, site: str, own: pl.Series) -> pl.Series:
    """The opaque ids of stays or patients (`kind`) of a site, in the order given.

    >>> [opaque(b"k" * 32, "stay", site, pl.Series(["10000067"])).item() for site in ("mimic", "ucmc")]
    ['2rkke5bperxb', '6mvbp2yv6wcr']
    """
    begun = hmac.new(key, f"{kind}\0{site}\0".encode(), "sha256")
    digests = bytearray()
    for one in own:
        hashed = begun.copy()
        hashed.update(one.encode())
        digests += hashed.digest()[:8]
    bits = np.frombuffer(digests, dtype=">u8")[:, None] >> np.arange(59, 3, -5, dtype=np.uint64)
    letters = _BASE32[(bits & np.uint64(31)).astype(np.intp)]
    return pl.Series("opaque", letters.view(f"S{LENGTH}")[:, 0].astype(str), dtype=pl.String)


def names(key: bytes, kind: str, site: str, own: pl.Series) -> pl.DataFrame:
    """Columns own and opaque, one row an id; UserError where two ids would get the same name."""
    own = own.drop_nulls().unique().alias("own")
    found = opaque(key, kind, site, own)
    if found.n_unique() < len(found):  # of a million ids with one key in two million
        raise UserError(f"Two ids of {site} would get the same opaque id: make another key for --id-key.")
    return pl.DataFrame([own, found])


def hide(frame: pl.DataFrame, key: bytes, site: str) -> pl.DataFrame:
    """A table of one site with opaque ids in its id columns."""
    return frame.with_columns(
        frame[column].replace_strict(*names(key, kind, site, frame[column]), return_dtype=pl.String)
        for column, kind in KINDS.items()
        if column in frame.columns
    )


@dataclass(frozen=True)
class OpaqueStudy(Study):
    """A study whose tables hold opaque ids only."""

    key: bytes = field(repr=False)

    def site_table(self, site: str, name: str) -> pl.DataFrame:
        """A site's table, ids replaced."""
        return hide(super().site_table(site, name), self.key, site)

    def result(self, name: str) -> pl.DataFrame:
        """A result table, ids replaced by the site they are of."""
        frame = super().result(name)
        if not KINDS.keys() & set(frame.columns):
            return frame
        column = next(column for column in SITES if column in frame.columns)
        parts = frame.partition_by(column, maintain_order=True, as_dict=True)
        hidden = [hide(part, self.key, str(site)) for (site,), part in parts.items()]
        return pl.concat(hidden) if hidden else frame

    def own_ids(self, site: str) -> pl.DataFrame:
        """Columns own and opaque, one row a stay: to find single rows in the files."""
        return names(self.key, "stay", site, super().site_table(site, "stays")["hospitalization_id"])


def hidden(study: Study, options: Options) -> Study:
    """The study as this server shows it: with opaque ids where there is a key."""
    secret = key(options)
    return study if secret is None else OpaqueStudy(study.folder, study.manifest, secret)
