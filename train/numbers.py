"""Whole numbers on the command line, for argparse."""

from __future__ import annotations

import argparse


def positive_number(value: str) -> int:
    """A whole number from 1, for argparse."""
    if not value.isdecimal() or int(value) < 1:
        raise argparse.ArgumentTypeError(f"{value!r} is not a whole number from 1")
    return int(value)


def seed_number(value: str) -> int:
    """A whole number from 0 to 2³² − 1, what every library takes as a seed, for argparse."""
    if not value.isdecimal() or int(value) >= 2**32:
        raise argparse.ArgumentTypeError(f"{value!r} is not a whole number from 0 to {2**32 - 1}")
    return int(value)


def share_number(value: str) -> float:
    """A share from 0 up to but not including 1, for argparse."""
    try:
        share = float(value)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"{value!r} is not a share from 0 to below 1")
    return share
