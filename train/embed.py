"""Stage 3: checkpoint and windows → states, jumps, path measures, anomaly and maps."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.special import expit

from ehrfm_core import __version__
from ehrfm_core.clif.tables import ID
from ehrfm_core.dynamics.anomaly import THRESHOLD, anomaly_scores, fit_forest
from ehrfm_core.dynamics.describe_maps import PlacedSite, describe_maps, paths_to_check
from ehrfm_core.dynamics.detectors import fit_detectors
from ehrfm_core.dynamics.forward import Forward
from ehrfm_core.dynamics.map_file import save_maps
from ehrfm_core.dynamics.map_fitting import draw_states, fit_maps
from ehrfm_core.dynamics.maps import Maps, Points
from ehrfm_core.dynamics.measures import hourly_measures, path_measures
from ehrfm_core.dynamics.shards import read_out_in_shards
from ehrfm_core.dynamics.states import ReadOut, last_states
from ehrfm_core.evaluation.probes import Probe, fit_source_probes, readouts
from ehrfm_core.model.checkpoint import load
from ehrfm_core.model.hardware import bf16_pays
from ehrfm_core.ragged import Ragged
from ehrfm_core.study.files import fingerprint, write_json, write_table
from ehrfm_core.study.layout import FITTED_MAPS, MAPS, PROBES, SITE_FILES, site_file, site_schema
from ehrfm_core.study.manifest import Manifest
from ehrfm_core.study.reader import open_study
from ehrfm_core.study.windows import Windows, read_whole, read_windows
from ehrfm_core.study.writer import StageResult, inputs_of
from ehrfm_core.tokens.tokenizer import Tokenizer
from ehrfm_core.tokens.window import to_series
from train.evaluation_options import PAPERS, TUNED
from train.later import follow_stays
from train.progress import bar_options, progress_bar, say
from train.stages import run_stage

READING = 2  # what is read: goes up where states are read otherwise or more is kept
SHARDS = "embedding.partial"  # what a pass that was killed goes on from
LOGIT_STEPS = 32  # a unit of log-odds
NAT_STEPS = 128


def embed(
    folder: Path,
    manifest: Manifest,
    *,
    seed: int,
    device: str,
    whole_stay: bool = False,
    probe_c: str = PAPERS,
) -> bool:
    """Run the stage: the forest and both maps are fitted on the source's training split only.

    With `whole_stay` what comes after the window is read as well, and kept hour by hour. `probe_c` says
    whether the probes' C is the paper's or chosen on the tuning split.
    """
    settings: dict[str, Any] = {"seed": seed, "version": __version__, "reading": READING}
    settings |= {"whole_stay": True} if whole_stay else {}
    settings |= {"probe_c": probe_c} if probe_c != PAPERS else {}
    inputs = inputs_of(folder, manifest, "embed")
    bf16 = manifest.stages["pretrain"].summary.get("precision") == "bf16" and bf16_pays(device)

    def work(staged: Path) -> StageResult:
        study = open_study(folder)
        tokenizer = Tokenizer.from_json(study.tokenizer())
        model = load(study.model(), device=device)
        windows = {site: read_windows(study, site, tokenizer) for site in study.sites}
        result = StageResult(files=[MAPS, FITTED_MAPS, PROBES])
        result.summary["precision"] = "bf16" if bf16 else "fp32"
        probes, penalties = _probes(
            windows[study.source], Forward(model, device=device, bf16=bf16), choose=probe_c == TUNED
        )
        if probe_c == TUNED:
            result.summary["probe_c"] = penalties
        write_json(staged / PROBES, {name: probe.to_json() for name, probe in probes.items()})
        forward = Forward(model, device=device, bf16=bf16, readouts=readouts(probes))
        identity = fingerprint([settings, inputs, bf16, {name: probes[name].to_json() for name in probes}])
        placed: list[PlacedSite] = []
        maps, forest = None, None
        for site in study.sites:  # the source first: everything is fitted on it
            window = windows.pop(site)
            out = _read(window, forward, folder / SHARDS / site, identity)
            if maps is None or forest is None:
                in_train = window.split("train")
                forest = fit_forest(out.states[in_train], seed=seed)
                detectors = fit_detectors(out.states[in_train], seed=seed, forest=forest)
                result.notes += detectors.notes
                maps = _fit_maps(window, out, seed, result)
                checked = paths_to_check(window.stays, seed=seed)
                paths = out.hourly[checked].astype(np.float32)
            points = maps.place(out.hourly.reshape(-1, out.hourly.shape[2]))
            scores = anomaly_scores(forest, out.states)
            dynamics = path_measures(
                window.stays[ID].to_list(), out, window.minutes, prefix=window.prefix, hours=window.hours
            ).with_columns(pl.Series("anomaly_score", scores), pl.Series("outlier", scores > THRESHOLD))
            _write_site(staged, window, out, dynamics, points, tuple(probes), result)
            anomaly = detectors.table(window.stays[ID], out.states)
            write_table(staged / site_file(site, "anomaly"), anomaly, SITE_FILES["anomaly"])
            result.files.append(site_file(site, "anomaly"))
            result.summary[site] = {
                "outlier_share": round(float((scores > THRESHOLD).mean()), 4),
                "mean_information": round(float(np.nanmean(out.information.values)), 4),
            }
            placed.append(PlacedSite(site, window.stays, out.states, points))
            if whole_stay:
                whole = read_whole(study, site, tokenizer)
                follow_stays(
                    staged,
                    window,
                    whole,
                    forward,
                    maps,
                    tuple(probes),
                    max_tokens=tokenizer.settings.max_tokens,
                    shards=folder / SHARDS / f"{site}-later",
                    identity=identity,
                )
                result.files.append(site_file(site, "later"))
        assert maps is not None
        save_maps(staged, maps)
        write_json(staged / MAPS, describe_maps(maps, placed, paths, checked, seed=seed))
        return result

    ran = run_stage(folder, manifest, "embed", settings=settings, inputs=inputs, work=work)
    shutil.rmtree(folder / SHARDS, ignore_errors=True)  # not before the stage is on record
    return ran


def _probes(source: Windows, forward: Forward, *, choose: bool) -> tuple[dict[str, Probe], dict[str, float]]:
    """The source's probes and their C, from a first pass that reads the last states alone."""

    def read(split: str) -> tuple[pl.DataFrame, np.ndarray]:
        rows = np.flatnonzero(source.split(split))
        with progress_bar(f"embed {source.site}, {split} split for the probes", " tokens") as progress:
            states = last_states(
                forward, source.tokens.take(rows), context=source.context.take(rows), progress=progress
            )
        return source.stays[rows], states

    tuning = read("tuning") if choose else None
    return fit_source_probes(*read("train"), source.outcomes, tuning=tuning)


def _read(window: Windows, forward: Forward, shards: Path, identity: str) -> ReadOut:
    with progress_bar(f"embed {window.site}", " tokens") as progress:
        return read_out_in_shards(
            forward,
            window.tokens,
            window.minutes,
            folder=shards,
            identity=identity,
            hours=window.hours,
            prefix=window.prefix,
            context=window.context,
            progress=progress,
        )


def _fit_maps(window: Windows, out: ReadOut, seed: int, result: StageResult) -> Maps:
    train, tuning = (draw_states(out.hourly, window.split(name), seed=seed) for name in ("train", "tuning"))
    say(f"  fitting PCA and UMAP on {len(train):,} hourly states of {window.site}'s training split …")
    bar = bar_options("UMAP", " epochs") | {"disable": False}
    maps = fit_maps(train, held_out=tuning, seed=seed, bar=bar)
    if maps.placed is None:
        result.notes.append(
            f"{window.site}: only {len(maps.anchors)} distinct states in the training split, too few for a "
            "UMAP; no state is called off the map."
        )
    elif not len(tuning):
        result.notes.append(
            f"{window.site}: the tuning split is empty, so what is off the map was judged by the "
            "training states themselves, each against the others."
        )
    return maps


def _write_site(
    folder: Path,
    window: Windows,
    out: ReadOut,
    dynamics: pl.DataFrame,
    points: Points,
    outcomes: tuple[str, ...],
    result: StageResult,
) -> None:
    site, ids = window.site, window.stays[ID]
    n_hours, width = out.hourly.shape[1:]
    half = pl.Array(pl.Float16, width)
    frames = {
        "states": pl.DataFrame({ID: ids, "state": pl.Series(out.states, dtype=pl.Array(pl.Float32, width))}),
        "dynamics": dynamics,
        "jumps": pl.DataFrame(
            {
                ID: ids,
                "jump": to_series(out.jumps),
                "information": to_series(_rounded(out.information)).list.eval(pl.element().fill_nan(None)),
                **_risks(window, out, outcomes),
            }
        ),
        "hourly": pl.DataFrame(
            {
                ID: np.repeat(ids.to_numpy(), n_hours),
                "hour": np.tile(np.arange(n_hours, dtype=np.int32), len(ids)),
                **points.to_frame().to_dict(),
                **hourly_measures(out, window.minutes, prefix=window.prefix).to_dict(),
                # half the bytes; states after the final norm are of order 1
                "state": pl.Series(out.hourly.reshape(-1, width), dtype=half),
            }
        ),
    }
    few = ("information", *(f"risk_{name}" for name in window.outcomes))
    for name, frame in frames.items():
        file = folder / site_file(site, name)
        write_table(
            file, frame, site_schema(name, window.outcomes), few_values=few if name == "jumps" else ()
        )
        result.files.append(site_file(site, name))


def _risks(window: Windows, out: ReadOut, outcomes: tuple[str, ...]) -> dict[str, pl.Series]:
    """Risk of every outcome after every token; null for a stay that does not count, or without a probe."""
    risks = {}
    for name, outcome in window.outcomes.items():
        column = f"risk_{name}"
        if name not in outcomes:
            risks[column] = pl.Series(column, [None] * len(window.stays), dtype=pl.List(pl.Float32))
            continue
        logits: np.ndarray = out.risks[:, outcomes.index(name)].astype(np.float32)
        # steps of 1/32 of log-odds (under 0.4 points): few values, a quarter of the bytes
        logits = np.rint(logits * LOGIT_STEPS) / LOGIT_STEPS
        lists = to_series(Ragged(expit(logits), out.jumps.offsets))
        counts = window.stays.select(outcome.counts()).to_series()
        frame = pl.DataFrame({"risk": lists, "counts": counts})
        risks[column] = frame.select(pl.when("counts").then("risk").alias(column)).to_series()
    return risks


def _rounded(information: Ragged) -> Ragged:
    """To 1/128 nat: few values, a third of the bytes; means are taken before."""
    return Ragged(np.rint(information.values * NAT_STEPS) / NAT_STEPS, information.offsets)
