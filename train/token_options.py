"""Options of the command line that say how stays become tokens."""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ehrfm_core.errors import UserError
from ehrfm_core.tokens.settings import BINS, LABS, LONGEST_HOURS, PRESETS, SCHEMES, TokenSettings

if TYPE_CHECKING:
    from ehrfm_core.clif.event_map import EventMap
    from ehrfm_core.clif.outcome_file import OwnOutcome
    from ehrfm_core.study.manifest import Manifest


def add_token_arguments(command: argparse.ArgumentParser) -> None:
    """Add them; everything left out is as in the preset, or as the study was made."""
    group = command.add_argument_group(
        "tokens", "What is left out is as the study was made before, or else the paper's scheme."
    )
    group.add_argument("--preset", choices=PRESETS, help="a scheme by name; the options below change it")
    group.add_argument(
        "--scheme", choices=SCHEMES, help="category and value as two tokens (paper) or one (fused)"
    )
    group.add_argument("--n-bins", type=int, metavar="N", help="quantile bins a category (10)")
    group.add_argument("--bins", choices=BINS, help="reference: labs with a known range as LOW, NORMAL, HIGH")
    group.add_argument(
        "--spacing", action="store_true", default=None, help="a token for gaps of 5 minutes or more"
    )
    group.add_argument("--labs", choices=LABS, help="fine: specimen and order of a lab kept apart (coarse)")
    group.add_argument(
        "--window",
        nargs="+",
        type=window_hours,
        metavar="HOURS",
        help="what the model sees of a stay (24), then further windows to count beside it; `all` is the "
        "whole stay",
    )
    group.add_argument(
        "--max-tokens", type=int, metavar="N", help="what the model reads at once, in tokens (1024)"
    )
    group.add_argument(
        "--history",
        action=argparse.BooleanOptionalAction,
        help="the patient's earlier stays stand before each window and take up to half of --max-tokens; "
        "in training they follow each other (no)",
    )
    group.add_argument(
        "--events",
        metavar="MAP",
        help="which tables become events: paper, all, or a YAML file of your own (a copy of "
        "ehrfm_core/clif/maps/all.yaml, which explains itself)",
    )
    group.add_argument(
        "--outcomes",
        metavar="FILE",
        help="outcomes of your own beside the paper's four: a YAML file that says from which events or table "
        "they are read (ehrfm_core/clif/outcome_file.py shows one), or `none` to leave out those of before",
    )
    group.add_argument(
        "--meds-map",
        type=Path,
        metavar="FILE",
        help="for sites in MEDS: which codes are admission, discharge, death … (as in "
        "ehrfm_core/clif/maps/meds.yaml)",
    )


def window_hours(value: str) -> float | None:
    """Hours of a window, None for `all`, for argparse."""
    if value == "all":
        return None
    try:
        hours = float(value)
    except ValueError:
        hours = 0.0
    if not 0 < hours < LONGEST_HOURS:
        raise argparse.ArgumentTypeError(f"{value!r} is neither a number of hours nor `all`")
    return hours


def token_settings(manifest: Manifest, options: argparse.Namespace) -> tuple[TokenSettings, EventMap]:
    """Settings and event map: as given, else as the study was made, else the paper's."""
    from ehrfm_core.clif.event_map import EventMap, load_map

    done = manifest.stages.get("tokenize")
    before: dict[str, Any] = done.settings if done else {}
    try:
        settings = TokenSettings.from_json(before)
    except KeyError:
        settings = TokenSettings()
    event_map = EventMap.from_json(before["events"]) if "events" in before else load_map("paper")
    return changed(settings, event_map, options)


def own_outcomes(manifest: Manifest, given: str | None) -> tuple[OwnOutcome, ...]:
    """Outcomes of the user's own: of the file that is given, else as the study was made; none for `none`."""
    from ehrfm_core.clif.outcome_file import OwnOutcome, load_outcomes

    if given == "none":
        return ()
    if given is not None:
        return load_outcomes(Path(given))
    done = manifest.stages.get("tokenize")
    return tuple(OwnOutcome.from_json(value) for value in (done.settings.get("outcomes", []) if done else []))


def changed(
    settings: TokenSettings, event_map: EventMap, options: argparse.Namespace
) -> tuple[TokenSettings, EventMap]:
    """Settings and event map with what the options change; a preset brings the paper's map."""
    from ehrfm_core.clif.event_map import load_map

    if options.preset:
        settings = PRESETS[options.preset]
    given = {f.name: getattr(options, f.name, None) for f in fields(TokenSettings)}
    if options.window:
        if options.window[0] is None:
            raise UserError(
                "--window all: the first window is the model's and must end; give its hours first."
            )
        given |= {"window_hours": options.window[0], "more_windows": tuple(options.window[1:])}
    settings = replace(settings, **{name: value for name, value in given.items() if value is not None})
    if options.events or options.preset:
        event_map = load_map(options.events or "paper")
    return settings, event_map
