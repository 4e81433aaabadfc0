from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

import pytest

from ehrfm_core.errors import UserError
from ehrfm_core.study.manifest import Manifest
from ehrfm_core.tokens.settings import PRESETS, TokenSettings
from train.token_options import add_token_arguments, token_settings


def parsed(*arguments: str) -> TokenSettings:
    parser = argparse.ArgumentParser()
    add_token_arguments(parser)
    return token_settings(Manifest("a", ["a"]), parser.parse_args(arguments))[0]


def test_the_defaults_are_the_paper_s() -> None:
    assert asdict(TokenSettings()) == {
        "scheme": "paper",
        "n_bins": 10,
        "bins": "quantile",
        "spacing": False,
        "labs": "coarse",
        "window_hours": 24,
        "more_windows": (),
        "max_tokens": 1024,
        "history": False,
    }


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scheme": "other"}, "scheme 'other' is none of paper, fused"),
        ({"bins": "other"}, "bins 'other' is none of quantile, reference"),
        ({"labs": "other"}, "labs 'other' is none of coarse, fine"),
        ({"n_bins": 1}, "1 bins cannot be made; give 2 to 100"),
        ({"n_bins": 101}, "101 bins cannot be made"),
        ({"window_hours": 0}, "A window must be longer than 0 hours and shorter than 360 days"),
        ({"window_hours": 24 * 366}, "A window must be longer"),
        ({"more_windows": (None, -1.0)}, "A window must be longer"),
        ({"window_hours": float("nan")}, "A window must be longer"),
        ({"max_tokens": 7}, "7 tokens cannot hold a window; give 8 or more"),
    ],
)
def test_settings_that_cannot_be(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        TokenSettings(**values)


def test_windows_are_told_once_the_model_s_first() -> None:
    settings = TokenSettings(window_hours=24, more_windows=[48.0, 24.0, None, 48.0])  # type: ignore[arg-type]
    assert settings.windows == (24, 48.0, None)
    assert hash(settings), "a list would not do"


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_what_its_name_says(name: str) -> None:
    changed = {k: v for k, v in asdict(PRESETS[name]).items() if v != asdict(TokenSettings())[k]}
    assert (
        changed
        == {
            "paper": {},
            "fused": {"scheme": "fused"},
            "ventiles": {"n_bins": 20},
            "spacing": {"spacing": True},
            "reference": {"bins": "reference"},
            "fine-labs": {"labs": "fine"},
        }[name]
    )
    assert parsed("--preset", name) == PRESETS[name]


def test_options_change_a_preset() -> None:
    found = parsed("--preset", "ventiles", "--scheme", "fused", "--spacing", "--window", "12", "all")
    assert found == TokenSettings(
        scheme="fused", n_bins=20, spacing=True, window_hours=12, more_windows=(None,)
    )
    with pytest.raises(UserError, match="--window all: the first window is the model's and must end"):
        parsed("--window", "all")


def test_what_is_left_out_is_as_the_study_was_made() -> None:
    from ehrfm_core.clif.event_map import load_map
    from ehrfm_core.study.manifest import Stage

    before = TokenSettings(n_bins=5, more_windows=(48.0, None))
    manifest = Manifest("a", ["a"])
    settings = asdict(before) | {
        "more_windows": list(before.more_windows),
        "events": load_map("all").to_json(),
    }
    names = Stage.__dataclass_fields__
    empty = {"settings": settings} | {name: {} for name in names if name != "settings"}
    manifest.stages["tokenize"] = Stage(**empty)  # type: ignore[arg-type]
    parser = argparse.ArgumentParser()
    add_token_arguments(parser)
    found, events = token_settings(manifest, parser.parse_args(["--scheme", "fused"]))
    assert found == TokenSettings(scheme="fused", n_bins=5, more_windows=(48.0, None))
    assert events == load_map("all")
    found, events = token_settings(manifest, parser.parse_args(["--preset", "paper"]))
    assert (found, events) == (TokenSettings(), load_map("paper"))
