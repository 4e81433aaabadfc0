"""A study of any number of stays for `python -m train bench dashboard`: the contract's files at full shape.

Nothing in it is computed by a model. Stays are drawn some thousands at a time, so that memory stays small;
the same number and seed give the same study. `hourly`, which no page reads, is left out.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ehrfm_core.outcomes import OUTCOMES
from ehrfm_core.study.files import fingerprint, sha256, write_json, write_parts, write_table
from ehrfm_core.study.layout import (
    MANIFEST,
    MAPS,
    RESULT_FILES,
    SITE_FILES,
    TOKENIZER,
    result_file,
    site_file,
)
from ehrfm_core.study.manifest import Manifest, Stage, write_manifest
from ehrfm_core.tokens import vocabulary as names
from ehrfm_core.tokens.settings import TokenSettings
from ehrfm_core.tokens.tokenizer import Tokenizer
from train.bench import dashboard_results as results
from train.bench.dashboard_results import HOURS

SITES = {"first": (0.62, 97), "second": (0.38, 405)}  # share of the stays and mean tokens, as in the paper
CHUNK = 4096  # stays drawn at a time
WIDTH = 128  # of a state, as `tiny` has it
PREFIX = 6  # static tokens of a stay
CODES = ("lab/potassium", "lab/lactate", "lab/creatinine", "vital/heart_rate", "vital/sbp", "vital/spo2")
STATIC = ("race/white", "ethnicity/unknown", "sex/female", "admission/ed")
STAGE = dict.fromkeys(("stays", "timelines", "windows", "earlier", "categories"), "tokenize")
WRITTEN = (
    "stays",
    "timelines",
    "windows",
    "earlier",
    "states",
    "dynamics",
    "anomaly",
    "paths",
    "jumps",
    "largest_jumps",
)


def cached_study(work: Path, *, stays: int, seed: int) -> Path:
    """The study of so many stays in `work`; made where it is not there yet."""
    folder = work / f"study-{stays}-{seed}"
    if (folder / MANIFEST).is_file():  # written last
        return folder
    print(f"making a study of {stays:,} stays in {folder} …", file=sys.stderr, flush=True)
    vocabulary = names.build({*CODES, *STATIC, "discharge/home"}, n_bins=10)
    files: dict[str, list[str]] = {"tokenize": [TOKENIZER], "pretrain": [], "embed": [MAPS], "evaluate": []}
    tested = {}
    for number, (site, (share, mean)) in enumerate(SITES.items()):
        n = max(40, round(stays * share))
        for name in WRITTEN:
            schema = SITE_FILES[name] | ({"state": pl.Array(pl.Float32(), WIDTH)} if name == "states" else {})
            parts = (part[name] for part in _parts(n, mean, number, seed, vocabulary, only=name))
            if name in ("stays", "dynamics"):  # also needed below
                frame = pl.concat(parts)
                write_table(folder / site_file(site, name), frame, schema)
                tested[site, name] = frame
            else:
                write_parts(folder / site_file(site, name), (_cast(part, schema) for part in parts), schema)
            stage = STAGE.get(name, "evaluate" if name in ("paths", "largest_jumps") else "embed")
            files[stage].append(site_file(site, name))
    cut_points = {token: [float(k) for k in range(1, 10)] for token in ("age", *CODES)}
    write_json(
        folder / TOKENIZER, Tokenizer(TokenSettings(window_hours=HOURS), cut_points, vocabulary).to_json()
    )
    write_json(folder / MAPS, results.maps(list(SITES), stays * (HOURS + 1)))
    joined = {
        site: tested[site, "stays"].join(tested[site, "dynamics"], on="hospitalization_id") for site in SITES
    }
    for name, frame in results.tables(joined, seed=seed).items():
        write_table(folder / result_file(name), frame, RESULT_FILES[name])
        files["evaluate"].append(result_file(name))
    stages = {
        stage: Stage(
            fingerprint=fingerprint([stage, stays, seed]),
            settings={"seed": seed},
            files={path: sha256(folder / path) for path in paths},
            summary=results.summary(stage, joined),
        )
        for stage, paths in files.items()
    }
    write_manifest(folder, Manifest("first", list(SITES), synthetic=True, stages=stages))
    return folder


def _cast(frame: pl.DataFrame, schema: dict[str, pl.DataType]) -> pl.DataFrame:
    return frame.select(pl.col(column).cast(dtype) for column, dtype in schema.items())


def _parts(
    n: int, mean: int, site: int, seed: int, vocabulary: dict[str, int], *, only: str
) -> Iterator[dict[str, pl.DataFrame]]:
    """The tables of some thousands of stays at a time; whatever is asked for, the stays are the same."""
    for begin in range(0, n, CHUNK):
        rng = np.random.default_rng([seed, site, begin])
        yield _draw(min(CHUNK, n - begin), begin, mean, site, rng, vocabulary, only=only)


def _draw(
    n: int,
    begin: int,
    mean: int,
    site: int,
    rng: np.random.Generator,
    vocabulary: dict[str, int],
    *,
    only: str,
) -> dict[str, pl.DataFrame]:
    """Tables of stays `begin` … `begin + n`; severity ties tokens, movement and outcomes together."""
    ids = pl.Series("hospitalization_id", [f"{'ab'[site]}{10_000_000 + begin + i}" for i in range(n)])
    severity = rng.normal(size=n)
    events = np.clip(rng.poisson((mean - PREFIX) / 2 * np.exp(0.4 * severity - 0.08)), 1, 500)
    lengths = PREFIX + 2 * events
    flags = {
        name: rng.random(n) < 1 / (1 + np.exp(-(base + 1.1 * severity)))
        for name, base in zip(OUTCOMES, (-4.4, -1.5, -1.9, -3.1), strict=True)
    }
    early = {f"{name}_24h": flags[name] & (rng.random(n) < 0.6) for name in ("icu", "imv")}
    stays = pl.DataFrame(
        {
            "hospitalization_id": ids,
            "patient_id": [f"p{site}{(begin + i) * 2 // 3}" for i in range(n)],
            "split": rng.choice(["train", "tuning", "test"], n, p=[0.3, 0.1, 0.6]),
            "age": np.clip(rng.normal(61, 16, n), 18, 95).round(1),
            "sex": rng.choice(["female", "male"], n),
            "race": rng.choice(["white", "black or african american", "asian"], n, p=[0.6, 0.3, 0.1]),
            "ethnicity": rng.choice(["non-hispanic", "hispanic"], n, p=[0.85, 0.15]),
            "los_hours": np.round(24 + rng.gamma(1.5, 70, n), 1),
            "n_tokens": lengths,
            **flags,
            **early,
        }
    )
    if only == "stays":
        return {"stays": stays}
    if only == "states":
        states = rng.normal(size=(n, WIDTH), scale=2.0).astype(np.float32) + severity[:, None].astype(
            np.float32
        )
        return {"states": pl.DataFrame({"hospitalization_id": ids, "state": states})}
    score = 1 / (1 + np.exp(-(-0.6 + 0.3 * severity + 0.6 * site + rng.normal(scale=0.2, size=n))))
    moved = rng.gamma(6, 3, n)
    largest = rng.gamma(9, 2, n)
    minute = np.round(rng.uniform(0, HOURS * 60, n))
    total = 5.0 * lengths
    if only in ("dynamics", "anomaly"):
        frame = pl.DataFrame({"hospitalization_id": ids})
        values: dict[str, Any] = {
            column: moved for column in SITE_FILES["dynamics"] if column != "hospitalization_id"
        }
        values |= {"path_length": total, "event_path_length": total - 60, "max_jump": largest + 20}
        values |= {"event_max_jump": largest, "max_jump_minute": minute, "anomaly_score": score}
        values |= {"mean_jump": total / lengths, "outlier": score > 0.5}
        scores: dict[str, Any] = {
            column: score if dtype == pl.Float32 else score > 0.5
            for column, dtype in SITE_FILES["anomaly"].items()
            if column != "hospitalization_id"
        }
        return {"dynamics": frame.with_columns(**values), "anomaly": frame.with_columns(**scores)}
    if only == "paths":
        return {"paths": results.paths(ids, severity, site, rng, stays)}
    if only in ("windows", "earlier"):
        return {
            "windows": pl.DataFrame({"hospitalization_id": ids, "n_tokens": lengths}).with_columns(
                window_hours=pl.lit(float(HOURS)), truncated=pl.lit(value=False)
            ),
            "earlier": pl.DataFrame({"hospitalization_id": ids}).with_columns(
                place=pl.lit(0), earlier_id=pl.lit(None, pl.String), gap_hours=pl.lit(None, pl.Float64)
            ),
        }
    return _tokens(ids, lengths, minute, largest, rng, vocabulary, only)


def _tokens(
    ids: pl.Series,
    lengths: np.ndarray,
    minute: np.ndarray,
    largest: np.ndarray,
    rng: np.random.Generator,
    vocabulary: dict[str, int],
    only: str,
) -> dict[str, pl.DataFrame]:
    """Timelines, what was measured at each token, and the largest jump."""
    n, total = len(ids), int(lengths.sum())
    stay = np.repeat(np.arange(n), lengths)
    place = np.arange(total) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    bins = vocabulary["Q0"] + rng.integers(0, 10, total)
    codes = np.array([vocabulary[code] for code in CODES])[rng.integers(0, len(CODES), total)]
    static = np.array([vocabulary[t] for t in (names.START, *STATIC[:3], "Q0", STATIC[3])])
    tokens = np.where(place < PREFIX, static[np.minimum(place, PREFIX - 1)], np.where(place % 2, bins, codes))
    share = (place - PREFIX) // 2 * 2 / np.maximum(1, np.repeat(lengths, lengths) - PREFIX)
    minutes = np.where(place < PREFIX, 0, np.round(share * HOURS * 60))
    table = pl.DataFrame({"stay": stay, "tokens": tokens, "minutes": minutes})
    if only == "jumps":
        jump = np.where(place == 0, 0, rng.integers(1, 64, total) / 8)
        table = table.with_columns(jump=jump, information=jump / 2).with_columns(
            pl.Series(rng.integers(0, 64, total) / 256).alias(f"risk_{name}") for name in OUTCOMES
        )
    lists = table.group_by("stay", maintain_order=True).agg(pl.exclude("stay")).drop("stay")
    lists = lists.with_columns(ids)
    if only != "largest_jumps":
        return {"timelines": lists, "jumps": lists}
    frame = pl.DataFrame({"hospitalization_id": ids, "minute": minute, "jump": largest})
    frame = frame.with_columns(rank=pl.lit(1), position=pl.lit(PREFIX), token=pl.lit(CODES[0]), bin=pl.lit(0))
    family, _, name = CODES[0].partition("/")
    return {
        "largest_jumps": frame.with_columns(
            family=pl.lit(family),
            name=pl.lit(name),
            answer=pl.lit(None, pl.String),
            information=pl.lit(1.0),
            **{f"change_{name}": pl.lit(0.01) for name in OUTCOMES},
        )
    }
