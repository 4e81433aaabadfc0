"""Published figures to compare with: every one of them stands in `published.json`, with its source.

Names are the project's own (sites, outcomes, models and arms as in `metrics.parquet`, columns as in
`stays.parquet`), so that a published figure is found by what one has at hand. No interval was published.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import polars as pl

FILE = Path(__file__).with_name("published.json")
SITES = ("mimic", "ucmc")  # MIMIC-IV 3.1 and the University of Chicago Medical Center

Name = Literal["cohort", "splits", "associations", "roc_auc", "adaptation", "schemes"]


@dataclass(frozen=True)
class Published:
    """One published table.

    `frame` holds the figures, one row a figure or a few that belong together; `citation` and `url` say whose
    they are, `where` in that work they stand, `about` how they were made and what the columns mean.
    """

    frame: pl.DataFrame
    citation: str
    url: str
    where: str
    about: str

    def value(self, column: str, **keys: str | float) -> float:
        """The one figure in `column` where every key column has the given value.

        Raises KeyError where no row or several fit, or nothing is printed there.
        """
        found = self.frame.filter(**keys)
        if found.height != 1 or found[column].null_count():
            raise KeyError(f"{found.height} published figures fit {column!r} with {keys}")
        return float(found[column].item())


@cache
def published(name: Name) -> Published:
    """A published table by name.

    cohort: who was in the test splits (site, characteristic; inliers, outliers, all). splits: stays by
    site and split. associations: coefficients by site, outcome and feature. roc_auc: by model, arm,
    train_site, test_site, adapt_fraction and outcome. adaptation: the same by share of local data.
    schemes: by token scheme.

    >>> table = published("roc_auc")
    >>> table.value("roc_auc", model="probe", arm="zero_shot", outcome="icu")
    0.529
    >>> published("cohort").value("all", site="ucmc", characteristic="death")
    0.027
    >>> table.url
    'https://arxiv.org/abs/2504.10422'
    """
    content = json.loads(FILE.read_text(encoding="utf-8"))
    table = content["tables"][name]
    source = content["sources"][table["source"]]
    frame = pl.DataFrame(table["rows"], schema=table["columns"], orient="row", infer_schema_length=None)
    return Published(frame, source["citation"], source["url"], table["where"], table["about"])
