"""The model on demand: loaded once a version of a study, and what it makes of one stay's events.

Nothing here imports torch before `instrument` is called: the pages that are only read do without it.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import streamlit as st
from threadpoolctl import threadpool_limits

from dashboard import data, timeline
from dashboard.charts.patient import Other
from ehrfm_core.errors import UserError
from ehrfm_core.study import Study, open_study
from ehrfm_core.study.layout import FITTED_MAPS, MODEL, PROBES, WEIGHTS
from ehrfm_core.tokens import vocabulary as names
from ehrfm_core.tokens.edit import EVENTS
from ehrfm_core.tokens.tokenizer import Tokenizer

if TYPE_CHECKING:
    from ehrfm_core.live import Instrument, Reading

_LIBRARIES_GB = 0.6  # measured: PyTorch and what it needs, before any model
_SMALL_BYTES = 100_000_000  # of weights


@dataclass(frozen=True, eq=False)
class Opened:
    """A stay as it is: its static prefix (ids), events, earlier stays (ids), and how it is read."""

    prefix: np.ndarray
    events: pl.DataFrame
    context: np.ndarray
    reading: Reading


def why_not(study: Study) -> str | None:
    """Why the model of a study cannot be opened, in one sentence; None where it can."""
    if not study.has("pretrain") or not study.has("embed"):
        return f"{study.name} has no model that has read its stays yet."
    for name in (WEIGHTS, f"{MODEL}/config.json", PROBES, FITTED_MAPS):
        if not (study.folder / name).is_file():
            return f"{name} is not here: copy it to {study.folder} from where the study was made."
    if find_spec("torch") is None or find_spec("transformers") is None:
        return "PyTorch and transformers are not installed where the dashboard runs."
    return None


def memory_gb(study: Study) -> float:
    """About how much memory it takes to open the model: the libraries, and four bytes a parameter."""
    return _LIBRARIES_GB + 2 * (study.folder / WEIGHTS).stat().st_size / 1e9


def instrument(study: Study) -> Instrument:
    """The study's model with all that reads it; UserError where a file does not fit."""
    return _instrument(str(study.folder), study.digest)


@st.cache_resource(max_entries=2, show_spinner="Loading PyTorch and the model …")
def _instrument(folder: str, digest: str) -> Instrument:
    from ehrfm_core.live import Instrument

    # as it is on disk: the forest is fitted on rows in the order of their own ids, and none of them leaves it
    return Instrument.of(open_study(folder))


def opened(study: Study, site: str, stay: str) -> Opened:
    """A stay as it is, read by the model."""
    return _opened(str(study.folder), study.digest, site, stay)


@st.cache_resource(max_entries=32, show_spinner="Reading the stay …")
def _opened(folder: str, digest: str, site: str, stay: str) -> Opened:
    study = data.open_study(folder)
    live = instrument(study)
    prefix, events = live.open(study, site, stay)
    context = live.context(study, site, stay)
    with _threads(study):
        return Opened(prefix, events, context, live.read(prefix, events, context))


def read(study: Study, stay: Opened, events: pl.DataFrame) -> tuple[Reading, float]:
    """What the model makes of other events, and the seconds it took; UserError where one cannot be."""
    live, begun = instrument(study), time.perf_counter()
    with _threads(study):
        reading = live.read(stay.prefix, events, stay.context)
    return reading, time.perf_counter() - begun


def _threads(study: Study) -> AbstractContextManager[object]:
    """One thread for a small model: on a shared server a second one waits more than it works."""
    small = (study.folder / WEIGHTS).stat().st_size < _SMALL_BYTES
    return threadpool_limits(limits=1) if small else nullcontext()


def codes(tokenizer: dict[str, Any]) -> list[str]:
    """The codes that an event can have: nothing static, no answer, no end of a stay."""
    hidden = {
        *names.PREFIX_FAMILIES,
        names.SUFFIX_FAMILY,
        names.ANSWER_FAMILY,
        names.SPACING_FAMILY,
        "special",
    }
    every = {
        token.partition(names.FUSED)[0] for token in (*tokenizer["vocabulary"], *tokenizer["cut_points"])
    }
    return sorted(code for code in every if names.family(code) not in hidden)


def values(tokenizer: dict[str, Any]) -> list[str]:
    """The values that an event can have: bins, then answers."""
    parts = [token.partition(names.FUSED) for token in tokenizer["vocabulary"]]
    # in a fused vocabulary the value is the token's second half
    found = dict.fromkeys(value or token for token, _, value in parts)
    fused = {value for _, _, value in parts if value}
    bins = [value for value in found if names.is_bin(value)]
    answers = [
        v for v in found if names.family(v) == names.ANSWER_FAMILY or (v in fused and not names.is_bin(v))
    ]
    return [*sorted(bins, key=lambda value: names.bin_index(value) or 0), *sorted(answers)]


def complete(edited: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Rows with a time and a code, and how many lack one still.

    Raises UserError where a time is not within the stay.
    """
    events = edited.select(pl.col(name).cast(dtype, strict=False) for name, dtype in EVENTS.items())
    events = events.with_columns(pl.col("value").replace("", None))
    known = events.filter(pl.col("minute").is_not_null() & pl.col("code").is_not_null())
    if known.select((~pl.col("minute").is_finite() | (pl.col("minute") < 0)).any()).item():
        raise UserError("An event lies before the stay's start: give minutes of 0 or more.")
    return known, len(events) - len(known)


def check(events: pl.DataFrame, original: pl.DataFrame, tokenizer: Tokenizer) -> None:
    """Raise UserError where a changed or added event pairs a code with a value that no tokenizer gives it."""
    new = events.join(original, on=list(EVENTS), how="anti", nulls_equal=True)
    if tokenizer.settings.scheme == "fused":
        return  # both are one token: it is in the vocabulary or it is not
    for code, value in new.select("code", "value").drop_nulls().unique(maintain_order=True).iter_rows():
        bins = tokenizer.value_tokens(code)
        if code not in tokenizer.vocabulary:
            continue  # the reading says so
        if (value not in bins) if names.is_bin(value) else bool(bins):
            having = f"it has {len(bins)} bins" if bins else "it has none"
            raise UserError(f"{code} does not take the value {value}: {having}.")


def as_day(study: Study, reading: Reading, name: str, counting: set[str]) -> Other:
    """A reading as the charts take a stay; without risks that the stay does not count for."""
    tokens = timeline.read_tokens(
        reading.tokens, reading.minutes, reading.jumps, reading.information, data.tokenizer(study)
    )
    nothing = [
        pl.lit(None, pl.Float32).alias(f"risk_{outcome}")
        for outcome in study.outcomes
        if outcome not in counting or f"risk_{outcome}" not in reading.hourly.columns
    ]
    return Other(name, tokens, reading.hourly.with_columns(nothing))
