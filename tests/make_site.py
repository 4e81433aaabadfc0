"""From tables to timelines in one call, as `python -m train tokenize` goes about it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl

from ehrfm_core.clif.event_map import EventMap, load_map
from ehrfm_core.clif.site import Site, read_site
from ehrfm_core.clif.tables import open_directory
from ehrfm_core.cohort import SOURCE_SPLIT, TARGET_SPLIT, add_split
from ehrfm_core.tokens.categories import CategoryCounts
from ehrfm_core.tokens.fit import fit_tokenizer
from ehrfm_core.tokens.kinds import Kinds
from ehrfm_core.tokens.settings import TokenSettings
from ehrfm_core.tokens.timelines import build_timelines
from ehrfm_core.tokens.tokenizer import Tokenizer
from ehrfm_core.tokens.window import cut_window, to_series
from tests.make_clif import ID, Tables, make_all_tables, write_tables

Events = list[tuple[float, str]]  # minute and tokens of an event, joined by a space


@dataclass
class Tokenized:
    """A site made into timelines: `frame` has hospitalization_id, tokens and minutes."""

    site: Site
    tokenizer: Tokenizer
    frame: pl.DataFrame
    counts: CategoryCounts
    kinds: Kinds

    @property
    def json(self) -> str:
        return json.dumps(self.tokenizer.to_json(), allow_nan=False)

    def names(self, stay: str) -> list[str]:
        """The tokens of a stay by name."""
        names = {i: token for token, i in self.tokenizer.vocabulary.items()}
        return [names[i] for i in self.frame.filter(pl.col(ID) == stay)["tokens"].item()]

    def minutes(self, stay: str) -> list[float]:
        return self.frame.filter(pl.col(ID) == stay)["minutes"].item().to_list()

    def between(self, stay: str) -> list[tuple[float, str]]:
        """Minute and name of the tokens between the static prefix and the discharge."""
        head = 1 + len(self.tokenizer.prefix)
        return list(zip(self.minutes(stay), self.names(stay), strict=True))[head:-2]

    def window(self, *, hours: float = 24, max_tokens: int = 10**6) -> pl.DataFrame:
        return cut_window(self.frame, self.tokenizer.vocabulary, hours=hours, max_tokens=max_tokens)

    def categories(self) -> pl.DataFrame:
        """The table of categories as it is written for the source."""
        trained = self.counts.bins(train=True)
        n_stays = self.site.stays.height
        return self.counts.frame(self.tokenizer, trained, self.site.not_numbers, n_stays=n_stays)


def read(
    tables: Tables | Path,
    folder: Path,
    *,
    events: str | EventMap = "paper",
    fine: bool = False,
    target: bool = False,
    window_hours: float = 24,
) -> Site:
    """Read a site from tables (written to `folder` first) or from a CLIF directory, with its split."""
    if isinstance(tables, dict):
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("clif_*"):
            old.unlink()
        tables = write_tables(tables, folder)
    event_map = load_map(events) if isinstance(events, str) else events
    site = read_site(
        open_directory(tables, event_map), event_map, folder, fine=fine, window_hours=window_hours
    )
    site.stays = add_split(site.stays, TARGET_SPLIT if target else SOURCE_SPLIT)
    return site


def tokenize(
    tables: Tables | Path | Site,
    folder: Path,
    tokenizer: Tokenizer | None = None,
    *,
    events: str | EventMap = "paper",
    settings: TokenSettings | None = None,
) -> Tokenized:
    """Timelines of a site. Without a tokenizer it is the source, and a tokenizer is learnt from it."""
    settings = tokenizer.settings if tokenizer else settings or TokenSettings()
    event_map = tokenizer.events if tokenizer else load_map(events) if isinstance(events, str) else events
    site = (
        tables
        if isinstance(tables, Site)
        else read(
            tables, folder, events=event_map, fine=settings.labs == "fine", target=tokenizer is not None
        )
    )
    train = (site.stays["split"] == "train").to_numpy() & (tokenizer is None)
    tokenizer = tokenizer or fit_tokenizer(site, settings, event_map)
    kinds = Kinds(tokenizer, site.store.items)
    counts = CategoryCounts(kinds, train, window_hours=settings.window_hours)
    frames = []
    for block in build_timelines(site, tokenizer, kinds):
        counts.add(block)
        ids = site.stays[ID][block.first : block.last]
        frames.append(
            pl.DataFrame({ID: ids, "tokens": to_series(block.tokens), "minutes": to_series(block.minutes)})
        )
    return Tokenized(site, tokenizer, pl.concat(frames), counts, kinds)


def values_of(site: Site, code: str, *, split: str | None = "train") -> np.ndarray:
    """Values of a code within the stays of a split (None: of all), computed straight from the store."""
    places = [place for place, item in enumerate(site.store.items) if item.code == code]
    parts = [site.store.partition(part) for part in range(site.store.n_partitions)]
    stay, item, micros, value = (np.concatenate(column) for column in zip(*parts, strict=True))
    since = micros - site.start[stay]
    day = 86_400_000_000
    inside = (since >= -day) & (since <= (site.end - site.start)[stay]) & ~np.isnan(value)
    inside &= np.isin(item, places)
    if split:
        inside &= (site.stays["split"] == split).to_numpy()[stay]
    return value[inside]


def quiet(*, patients: int = 3) -> Tables:
    """Tables of `patients` patients to whom nothing happens: every table of events is there and empty."""
    keep = ("patient", "hospitalization")
    return {n: t if n in keep else t.clear() for n, t in make_all_tables(patients=patients).items()}


def happen(tables: Tables, table: str, rows: list[dict[str, object]], *, stay: int = 0) -> None:
    """Add rows to a table: of the stay in this row of hospitalization, times as hours since its admission."""
    own = tables["hospitalization"].row(stay, named=True)
    frame = tables[table]
    filled = []
    for row in rows:
        row = {"patient_id": own["patient_id"], ID: own[ID]} | row
        times = {k: own["admission_dttm"] + timedelta(hours=v) for k, v in row.items() if k.endswith("_dttm")}  # type: ignore[arg-type]
        filled.append({name: (row | times).get(name) for name in frame.columns})
    more = pl.DataFrame(filled, schema=frame.schema, strict=False)
    tables[table] = pl.concat([frame, more])
