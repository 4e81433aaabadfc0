"""Stage 1: tables of the sites → stays, timelines and tokenizer."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ehrfm_core import __version__
from ehrfm_core.clif.event_map import EventMap
from ehrfm_core.clif.files import TableFiles
from ehrfm_core.clif.outcome_file import OwnOutcome
from ehrfm_core.clif.own_outcomes import add_own_outcomes, outcome_tables
from ehrfm_core.clif.site import Progress, Site, read_site
from ehrfm_core.clif.tables import ID, ClifDirectory
from ehrfm_core.cohort import SOURCE_SPLIT, TARGET_SPLIT, add_split
from ehrfm_core.errors import UserError
from ehrfm_core.outcomes import Outcome, with_own
from ehrfm_core.sources.meds import MedsDirectory, read_meds
from ehrfm_core.study.files import write_json, write_parts, write_table
from ehrfm_core.study.layout import SITE_FILES, TOKENIZER, Schema, site_file, site_schema
from ehrfm_core.study.manifest import Manifest
from ehrfm_core.study.writer import StageResult
from ehrfm_core.tokens.categories import Bins, CategoryCounts
from ehrfm_core.tokens.fit import fit_tokenizer
from ehrfm_core.tokens.history import earlier_stays
from ehrfm_core.tokens.kinds import Kinds
from ehrfm_core.tokens.settings import TokenSettings
from ehrfm_core.tokens.timelines import Block, build_timelines, n_in_window
from ehrfm_core.tokens.tokenizer import Tokenizer
from ehrfm_core.tokens.window import to_series
from train.continued import Start, refuse_trained_patients, tell
from train.inputs import hashes_of
from train.progress import bar_if_long, say
from train.stages import run_stage
from train.token_summary import notes_of, summary_of

Directory = ClifDirectory | MedsDirectory


@dataclass(frozen=True, eq=False)
class _Outcomes:
    """The user's own outcomes and each site's tables of them."""

    own: tuple[OwnOutcome, ...]
    listed: Mapping[str, Mapping[str, TableFiles]]

    @property
    def all(self) -> dict[str, Outcome]:
        return with_own(outcome.to_json() for outcome in self.own)

    def add(self, name: str, site: Site, directory: Directory, settings: TokenSettings) -> None:
        """Add their columns to the stays of a site that has been read, and what is said to its notes."""
        clif = directory if isinstance(directory, ClifDirectory) else None
        site.stays, notes = add_own_outcomes(
            site.stays, clif, self.listed[name], self.own, window_hours=settings.window_hours
        )
        site.notes += notes


FILES = ("stays", "timelines", "windows", "earlier", "categories")
SOURCE_LACKS = "the source's training split lacks"


def tokenize(
    folder: Path,
    manifest: Manifest,
    opened: Mapping[str, Directory],
    settings: TokenSettings,
    event_map: EventMap,
    own: Sequence[OwnOutcome] = (),
    start: Start | None = None,
) -> bool:
    """Run the stage: the tokenizer is fitted on the source or that of `start`, then used for every site.

    `own` are outcomes of the user's own.
    """
    recorded = asdict(settings) | {
        "more_windows": list(settings.more_windows),
        "events": event_map.to_json(),
        "source": manifest.source,
        "source_split": asdict(SOURCE_SPLIT),
        "target_split": asdict(TARGET_SPLIT),
        "version": __version__,
    }
    if start:
        recorded["from"] = start.recorded
    if own:
        recorded["outcomes"] = [outcome.to_json() for outcome in own]
    listed = {site: outcome_tables(directory.folder, own) for site, directory in opened.items()}
    inputs = {site: hashes_of(directory, listed[site]) for site, directory in opened.items()}
    _refuse_the_source_as_a_target(inputs, manifest.source)

    def work(staged: Path) -> StageResult:
        with tempfile.TemporaryDirectory(prefix="events-", dir=staged) as scratch:
            outcomes = _Outcomes(tuple(own), listed)
            return _work(staged, manifest.source, opened, settings, event_map, outcomes, start, Path(scratch))

    return run_stage(folder, manifest, "tokenize", settings=recorded, inputs=inputs, work=work)


def _work(
    folder: Path,
    source: str,
    opened: Mapping[str, Directory],
    settings: TokenSettings,
    event_map: EventMap,
    outcomes: _Outcomes,
    start: Start | None,
    scratch: Path,
) -> StageResult:
    result = StageResult(files=[TOKENIZER], summary={"sites": {}})
    ordered = sorted(opened, key=lambda name: name != source)
    read: dict[str, Site] = {}
    for name in ordered:
        (scratch / name).mkdir()
        with bar_if_long(f"{name}: reading", " events") as progress:
            read[name] = _read(
                opened[name], event_map, scratch / name, settings, source=name == source, progress=progress
            )
        outcomes.add(name, read[name], opened[name], settings)
        say(f"  {name}: {read[name].stays.height:,} stays, {read[name].store.n_events:,} events read")
    if start:
        refuse_trained_patients(start, read)
        tokenizer, lacking = start.tokens_for(read[source], settings), start.lacking
    else:
        tokenizer, lacking = fit_tokenizer(read[source], settings, event_map), SOURCE_LACKS
    expected: Bins = {}
    for name in ordered:
        site = read.pop(name)
        schema = site_schema("stays", outcomes.all)
        summary, notes, bins = _write_site(folder, name, site, tokenizer, expected or None, lacking, schema)
        expected = expected or bins
        result.files += [site_file(name, file) for file in FILES]
        result.summary["sites"][name] = summary
        result.notes += [f"{name}: {note}" for note in notes]
        say(
            f"  {name}: {summary['n_events']:,} events, on average {summary['mean_tokens']:g} tokens a stay "
            f"in the first {settings.window_hours:g} h"
        )
    write_json(folder / TOKENIZER, tokenizer.to_json())
    result.summary["vocabulary_size"] = len(tokenizer.vocabulary)
    if start:
        categories = pl.read_parquet(folder / site_file(source, "categories"), glob=False)
        notes, figures = tell(start, tokenizer, source, result.summary["sites"][source], categories)
        result.notes += notes
        result.summary |= figures
    return result


def _read(
    directory: Directory,
    event_map: EventMap,
    scratch: Path,
    settings: TokenSettings,
    *,
    source: bool,
    progress: Progress,
) -> Site:
    """One site with the split of its patients."""
    fine = settings.labs == "fine"
    if isinstance(directory, MedsDirectory):
        site = read_meds(directory, event_map, scratch, window_hours=settings.window_hours, progress=progress)
    else:
        site = read_site(
            directory,
            event_map,
            scratch,
            fine=fine,
            window_hours=settings.window_hours,
            progress=progress,
        )
    site.stays = add_split(site.stays, SOURCE_SPLIT if source else TARGET_SPLIT)
    return site


def _write_site(
    folder: Path,
    name: str,
    site: Site,
    tokenizer: Tokenizer,
    expected: Bins | None,
    lacking: str,
    schema: Schema,
) -> tuple[dict[str, Any], list[str], Bins]:
    """Write one site's tables; its key figures, notes, and the bins of its training stays.

    `expected` are the bins of the source's training stays; None where this is the source. `lacking` says who
    does not know a code that becomes UNK; `schema` has the columns of stays.parquet.
    """
    settings, stays = tokenizer.settings, site.stays
    kinds = Kinds(tokenizer, site.store.items)
    train = (stays["split"] == "train").to_numpy() & (expected is None)
    counts = CategoryCounts(kinds, train, window_hours=settings.window_hours)
    lengths = np.zeros((len(settings.windows), stays.height), dtype=np.int64)
    ids = stays[ID]

    def frames(progress: Progress) -> Iterator[pl.DataFrame]:
        for block in build_timelines(site, tokenizer, kinds):
            counts.add(block)
            for row, hours in enumerate(settings.windows):
                lengths[row, block.first : block.last] = n_in_window(block, tokenizer, hours)
            yield _frame(ids, block)
            progress(block.last, len(ids))

    with bar_if_long(f"{name}: writing", " stays") as progress:
        write_parts(folder / site_file(name, "timelines"), frames(progress), SITE_FILES["timelines"])
    stays = stays.with_columns(pl.Series("n_tokens", np.minimum(lengths[0], settings.window_tokens)))
    write_table(folder / site_file(name, "stays"), stays.select(*schema), schema)
    windows = pl.concat(
        pl.DataFrame(
            {
                ID: ids,
                "window_hours": pl.Series([hours], dtype=pl.Float64).new_from_index(0, len(ids)),
                "n_tokens": row,
                "truncated": row > settings.window_tokens,
            }
        )
        for hours, row in zip(settings.windows, lengths, strict=True)
    )
    write_table(folder / site_file(name, "windows"), windows, SITE_FILES["windows"])
    earlier = earlier_stays(stays)
    write_table(folder / site_file(name, "earlier"), earlier, SITE_FILES["earlier"])
    trained = counts.bins(train=True)
    categories = counts.frame(tokenizer, expected or trained, site.not_numbers, n_stays=len(ids))
    write_table(
        folder / site_file(name, "categories"),
        categories.select(*SITE_FILES["categories"]),
        SITE_FILES["categories"],
    )
    counts.n_outside += site.n_far
    summary = summary_of(stays, lengths, counts, tokenizer, kinds)
    summary["with_earlier_stay"] = earlier["earlier_id"].count()
    return summary, site.notes + notes_of(summary, settings, lacking=lacking), trained


def _frame(ids: pl.Series, block: Block) -> pl.DataFrame:
    return pl.DataFrame(
        {
            ID: ids[block.first : block.last],
            "tokens": to_series(block.tokens),
            "minutes": to_series(block.minutes),
        }
    )


def _refuse_the_source_as_a_target(inputs: Mapping[str, Mapping[str, Any]], source: str) -> None:
    """Two targets may hold the same patients, charted in two ways; the source's may be in no other site."""

    def stays(site: str) -> object:
        return inputs[site].get("hospitalization", inputs[site].get("data"))

    for site in inputs:
        if site != source and stays(site) == stays(source):
            raise UserError(
                f"{source} and {site} hold the same stays: one hospital under two names would "
                "test a model on the patients it was trained on."
            )
