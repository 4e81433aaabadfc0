"""Stage 1: CLIF tables → stays, timelines and tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from ehrfm_core import __version__
from ehrfm_core.clif.events import scan_events
from ehrfm_core.clif.tables import ID, TABLES, check_directory, check_ids, scan
from ehrfm_core.cohort import EDGE_HOURS, SOURCE_SPLIT, TARGET_SPLIT, add_split, read_stays
from ehrfm_core.errors import UserError
from ehrfm_core.study.files import sha256, write_json, write_table
from ehrfm_core.study.layout import SITE_FILES, TOKENIZER, site_file
from ehrfm_core.study.manifest import Manifest
from ehrfm_core.study.writer import StageResult
from ehrfm_core.tokens.decode import tokens_by_family
from ehrfm_core.tokens.timelines import build_timelines
from ehrfm_core.tokens.tokenizer import Tokenizer, TokenSettings, fit_tokenizer
from ehrfm_core.tokens.vocabulary import TRUNC
from ehrfm_core.tokens.window import cut_window
from train.progress import say
from train.stages import run_stage


def tokenize(folder: Path, manifest: Manifest, sites: Mapping[str, Path]) -> bool:
    """Run the stage: the tokenizer is fitted on the source, then used for every site."""
    token_settings = TokenSettings()
    settings = asdict(token_settings) | {
        "source": manifest.source,
        "source_split": asdict(SOURCE_SPLIT),
        "target_split": asdict(TARGET_SPLIT),
        "version": __version__,
    }
    tables = {site: check_directory(path) for site, path in sites.items()}
    inputs = {
        site: {name: sha256(path / TABLES[name].file) for name in tables[site]}
        for site, path in sites.items()
    }
    _refuse_the_same_hospital_twice(inputs)

    def work() -> StageResult:
        result = StageResult(files=[TOKENIZER], summary={"sites": {}})
        tokenizer: Tokenizer | None = None
        ordered = sorted(sites, key=lambda name: name != manifest.source)
        # all sites are read before anything is written: a bad one costs a finished study nothing
        read = {site: _read(sites[site], tables[site], source=site == manifest.source) for site in ordered}
        for site in ordered:
            stays, events, notes = read[site]
            try:
                if tokenizer is None:
                    tokenizer = fit_tokenizer(stays, events, token_settings)
                built = build_timelines(stays, events, tokenizer)
            except pl.exceptions.PolarsError as error:
                raise UserError(_unreadable(sites[site], tables[site], error)) from None
            window = cut_window(
                built.frame,
                tokenizer.vocabulary,
                hours=token_settings.window_hours,
                max_tokens=token_settings.max_tokens,
            )
            stays = stays.join(
                window.select(ID, pl.col("tokens").list.len().cast(pl.Int64).alias("n_tokens")), on=ID
            ).sort(ID)
            columns = list(SITE_FILES["stays"])
            write_table(folder / site_file(site, "stays"), stays.select(columns), SITE_FILES["stays"])
            write_table(folder / site_file(site, "timelines"), built.frame, SITE_FILES["timelines"])
            result.files += [site_file(site, "stays"), site_file(site, "timelines")]
            summary = _summary(stays, window, tokenizer) | {
                "n_events": built.n_events,
                "unknown_events": int(built.unknown["n"].sum()),
                "unknown_codes": dict(built.unknown.head(20).iter_rows()),
                "events_outside": built.n_outside,
            }
            result.summary["sites"][site] = summary
            say(
                f"  {site}: {stays.height:,} stays, {built.n_events:,} events, on average "
                f"{summary['mean_tokens']:g} tokens a stay in the first {token_settings.window_hours:g} h"
            )
            result.notes += [f"{site}: {note}" for note in notes + _token_notes(summary, token_settings)]
        assert tokenizer is not None
        write_json(folder / TOKENIZER, tokenizer.to_json())
        result.summary["vocabulary_size"] = len(tokenizer.vocabulary)
        return result

    return run_stage(folder, manifest, "tokenize", settings=settings, inputs=inputs, work=work)


def _read(folder: Path, tables: list[str], *, source: bool) -> tuple[pl.DataFrame, pl.LazyFrame, list[str]]:
    """Stays with their split, events (not read yet), and notes of one site."""
    try:
        notes = check_ids(folder, tables)
        stays, cohort_notes = read_stays(folder, tables)
        events, event_notes = scan_events(folder, tables)
    except pl.exceptions.PolarsError as error:
        raise UserError(_unreadable(folder, tables, error)) from None
    stays = add_split(stays, SOURCE_SPLIT if source else TARGET_SPLIT)
    return stays, events, cohort_notes + notes + event_notes


def _unreadable(folder: Path, tables: list[str], error: Exception) -> str:
    """Which table it was that could not be read, and why, on one line."""
    reason = str(error).splitlines()[0][:120]
    for name in tables:
        try:
            scan(folder, name).collect()
        except pl.exceptions.PolarsError:
            return (
                f"{folder / TABLES[name].file} cannot be read to its end ({reason}); export the table again."
            )
    return f"{folder}: a table cannot be read ({reason}); export the tables again."


def _refuse_the_same_hospital_twice(inputs: dict[str, dict[str, str]]) -> None:
    seen: dict[str, str] = {}
    for site, hashes in inputs.items():
        other = seen.setdefault(hashes["hospitalization"], site)
        if other != site:
            raise UserError(
                f"{other} and {site} hold the same clif_hospitalization: one hospital under two names would "
                "test a model on the patients it was trained on."
            )


def _summary(stays: pl.DataFrame, window: pl.DataFrame, tokenizer: Tokenizer) -> dict[str, Any]:
    families = tokens_by_family(window, tokenizer.vocabulary)
    n_tokens = stays["n_tokens"]
    return {
        "n_stays": stays.height,
        "n_patients": stays["patient_id"].n_unique(),
        "splits": dict(stays["split"].value_counts().sort("split").iter_rows()),
        "mean_tokens": round(float(n_tokens.mean()), 1),  # type: ignore[arg-type]
        "median_tokens": float(n_tokens.median()),  # type: ignore[arg-type]
        "max_tokens": int(n_tokens.max()),  # type: ignore[arg-type]
        "truncated_stays": int((window["tokens"].list.last() == tokenizer.vocabulary[TRUNC]).sum()),
        "families": dict(families.iter_rows()),
    }


def _token_notes(summary: dict[str, Any], settings: TokenSettings) -> list[str]:
    notes = []
    if summary["events_outside"]:
        notes.append(
            f"{summary['events_outside']:,} events lie more than {EDGE_HOURS} h before their stay or after "
            "its end; they are left out."
        )
    if summary["truncated_stays"]:
        notes.append(
            f"{summary['truncated_stays']} stays have more than {settings.max_tokens} tokens in the first "
            f"{settings.window_hours:g} h; theirs end in TRUNC."
        )
    if summary["unknown_events"]:
        share = summary["unknown_events"] / summary["n_events"]
        codes = ", ".join(list(summary["unknown_codes"])[:3])
        notes.append(
            f"{summary['unknown_events']} events ({share:.1%}) have codes that the source's training split "
            f"lacks; they became UNK (most often {codes})."
        )
    return notes
