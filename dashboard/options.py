"""What stands after `--` when the dashboard is started: `streamlit run dashboard/app.py -- --studies DIR`."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from ehrfm_core.errors import UserError

DEFAULT_FOLDER = Path(__file__).resolve().parents[1] / "data_samples/studies"
OIDC, PROXY = "oidc", "proxy"
_ABOUT = (
    "The dashboard. Streamlit's own options stand before the two dashes, those of the hospital's service "
    "after them; SECURITY.md tells what each protects and what it does not."
)


@dataclass(frozen=True)
class Options:
    """How this server was started."""

    studies: Path = DEFAULT_FOLDER
    sign_in: str | None = None
    audit_log: Path | None = None
    id_key: Path | None = None
    view_only: bool = False
    export_stays: bool = False


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message[:1].upper()}{message[1:]}: see `python dashboard/app.py --help`.")


def parser() -> argparse.ArgumentParser:
    """The options with their help; a mistake raises UserError, so that none is passed over."""
    made = _Parser(
        prog="streamlit run dashboard/app.py [Streamlit's options] --", description=_ABOUT, allow_abbrev=False
    )
    made.add_argument(
        "--studies", type=Path, default=DEFAULT_FOLDER, metavar="DIR", help="a folder of studies, or a study"
    )
    made.add_argument(
        "--sign-in",
        choices=(OIDC, PROXY),
        help="show nothing to whoever has not signed in: `oidc` asks the provider in secrets.toml (section "
        "[auth]), `proxy` believes the header that server.trustedUserHeaders names",
    )
    made.add_argument(
        "--audit-log",
        type=Path,
        metavar="FILE",
        help="append a line of JSON for every view and export: who, when, which; no patient's data. "
        "The file lies outside the studies",
    )
    made.add_argument(
        "--id-key",
        type=Path,
        metavar="FILE",
        help="show opaque ids (HMAC-SHA256 with this key) in place of those of stays and patients. The file "
        "lies outside the studies and holds 32 bytes or more: `openssl rand -hex 32`",
    )
    made.add_argument(
        "--view-only",
        action="store_true",
        help="no button that saves, downloads or uploads anything",
    )
    made.add_argument(
        "--export-stays",
        action="store_true",
        help="let rows of single stays leave by the dashboard's own buttons, which the audit log records; "
        "those of synthetic studies always may",
    )
    return made


def current() -> Options:
    """The options of this server; UserError where there is one that is not known or incomplete."""
    return read(sys.argv[1:])


def read(arguments: list[str]) -> Options:
    """Options from the words of a command line.

    >>> read(["--view-only"]).view_only
    True
    """
    return Options(**vars(parser().parse_args(arguments)))


def outside_studies(path: Path, options: Options, *, option: str) -> Path:
    """The path, made absolute; UserError where it lies among the studies, which are copied and passed on."""
    path = path.expanduser().resolve()
    if path.is_relative_to(options.studies.expanduser().resolve()):
        raise UserError(f"{option} {path} lies inside the folder of studies: put it outside.")
    return path
