"""What a study knows about itself, read so that what is not there is None or empty."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from ehrfm_core.cell_words import UNTOLD, number, parts
from ehrfm_core.cohort import SPLITS
from ehrfm_core.errors import UserError
from ehrfm_core.outcomes import Outcome
from ehrfm_core.small_cells import small, unsafe
from ehrfm_core.study.reader import Study
from ehrfm_core.tokens import vocabulary as names

DEMOGRAPHICS = ("sex", "race", "ethnicity")
FOUNDATION = {"probe": "Probe", "probe_pooled": "Pooled probe", "finetuned": "Fine-tuned model"}


@dataclass(frozen=True)
class Facts:
    """A study, its tables read once. Raises UserError where a table that was asked for is not readable."""

    study: Study

    @cached_property
    def outcomes(self) -> dict[str, Outcome]:
        """The outcomes that the study predicts, by name."""
        return self.study.outcomes

    @cached_property
    def stays(self) -> dict[str, pl.DataFrame]:
        """`stays.parquet` of every site, source first."""
        return {site: self.study.site_table(site, "stays") for site in self.study.sites}

    @cached_property
    def tokenizer(self) -> dict[str, Any]:
        """The content of `tokenizer.json`."""
        return self.study.tokenizer()

    @cached_property
    def metrics(self) -> pl.DataFrame:
        """Metrics of the foundation models fitted at the source; where an arm was repeated, the first."""
        return self.study.result("metrics").filter(
            pl.col("model").is_in(list(FOUNDATION)),
            pl.col("train_site") == self.study.source,
            pl.col("repeat") == 0,
        )

    @property
    def targets(self) -> list[str]:
        """The sites other than the source."""
        return self.study.sites[1:]

    @property
    def window(self) -> str:
        """What the model sees of a stay, e.g. `24 h`."""
        return f"{self.tokenizer.get('window_hours', 24):g} h"

    @property
    def seeds(self) -> str:
        """Seeds of the stages that have one; empty where none is told."""
        stages = self.study.manifest.stages.items()
        return ", ".join(
            f"{name} {stage.settings['seed']}" for name, stage in stages if "seed" in stage.settings
        )

    @property
    def prefix(self) -> list[str]:
        """Families of what is known of a patient before the first event."""
        return [item["family"] for item in self.tokenizer.get("events", {}).get("prefix", [])]

    def settings(self, stage: str) -> dict[str, Any]:
        """Settings of a stage; empty where it has not run."""
        return self.study.manifest.stages[stage].settings if self.study.has(stage) else {}

    def summary(self, stage: str) -> dict[str, Any]:
        """Key figures of a stage; empty where it has not run."""
        return self.study.manifest.stages[stage].summary if self.study.has(stage) else {}

    def site_summary(self, site: str) -> dict[str, Any]:
        """Key figures of tokenizing a site; empty where they are not told."""
        return self.summary("tokenize").get("sites", {}).get(site, {})

    def notes(self, stage: str, *words: str) -> list[str]:
        """Notes of a stage that hold all of these words."""
        notes = self.study.manifest.stages[stage].notes if self.study.has(stage) else []
        return [note for note in notes if all(word in note for word in words)]

    def result(self, name: str) -> pl.DataFrame | None:
        """A result table; None where the study has none, or one of an earlier version."""
        try:
            return self.study.result(name)
        except UserError:
            return None

    def codes(self) -> dict[str, int]:
        """How many codes of each family the vocabulary knows, without the value each may carry."""
        known = {
            token.partition(names.FUSED)[0] for token in self.tokenizer.get("vocabulary", {}) if "/" in token
        }
        families = pl.Series([names.family(code) for code in sorted(known)], dtype=pl.String)
        counted = families.value_counts(sort=True, name="n")
        return dict(counted.iter_rows())

    def events(self, site: str, outcome: Outcome, split: str | None = None) -> tuple[int, int]:
        """Stays of a site that count for an outcome, and those of them that have it."""
        stays = self.stays[site].filter(outcome.counts())
        if split is not None:
            stays = stays.filter(pl.col("split") == split)
        return stays.height, int(stays[outcome.name].sum())

    def event_line(self, site: str, split: str | None = None) -> str:
        """`In-hospital death 9 of 306, …` for all outcomes."""
        cells = []
        for outcome in self.outcomes.values():
            n, events = self.events(site, outcome, split)
            apart = {None: ("test",), "train": ("train", "test")}.get(split, (split,))
            taken = np.array([self.events(site, outcome, part) for part in apart]).sum(axis=0)
            left = np.array(self.events(site, outcome)) - taken if split in (None, "train") else (0, 0)
            few = small(n) or unsafe(events, n) or unsafe(left[1], left[0])
            cells.append(f"{outcome.label} {UNTOLD if few else f'{events:,}'} of {number(n)}")
        return ", ".join(cells)

    def split_line(self, site: str) -> str:
        """`1,485 train, 209 tuning, 306 test`."""
        found = self.stays[site]["split"]
        told = parts({split: int((found == split).sum()) for split in SPLITS})
        return ", ".join(f"{n} {split}" for split, n in told.items())


def figure(row: dict[str, Any], digits: int = 3) -> str:
    """An estimate with its interval.

    >>> figure({"estimate": 0.7, "ci_low": -0.1, "ci_high": 0.84}, 2)
    '0.70 [-0.10 to 0.84]'
    """
    estimate, low, high = row["estimate"], row["ci_low"], row["ci_high"]
    if estimate is None:
        return "not to be told"
    if low is None or high is None:
        return f"{estimate:.{digits}f} [no interval]"
    between = " to " if low < 0 else "–"
    return f"{estimate:.{digits}f} [{low:.{digits}f}{between}{high:.{digits}f}]"


def average(values: pl.Series, digits: int = 0) -> str:
    """The mean of numbers, or that it is not known.

    >>> average(pl.Series([1.0, 2.0]), 1), average(pl.Series([None], dtype=pl.Float64))
    ('1.5', 'unknown')
    """
    known = values.drop_nulls().cast(pl.Float64).to_numpy()
    return f"{known.mean():,.{digits}f}" if len(known) else "unknown"


def listed(parts: list[str]) -> str:
    """Words in a row.

    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1] if parts else "none"
