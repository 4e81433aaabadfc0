"""Stage 3: checkpoint and windows → states, jumps, path measures, anomaly and maps."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.special import expit

from ehrfm_core import __version__
from ehrfm_core.clif.tables import ID
from ehrfm_core.dynamics.anomaly import THRESHOLD, anomaly_scores, fit_forest
from ehrfm_core.dynamics.detectors import fit_detectors
from ehrfm_core.dynamics.forward import Forward
from ehrfm_core.dynamics.map_quality import neighborhood, site_auc, step_fidelity
from ehrfm_core.dynamics.maps import MIN_DIST, NEIGHBORS, Maps, fit_maps
from ehrfm_core.dynamics.measures import hourly_measures, path_measures
from ehrfm_core.dynamics.shards import read_out_in_shards
from ehrfm_core.dynamics.states import ReadOut, last_states
from ehrfm_core.evaluation.probes import Probe, fit_source_probes, readouts
from ehrfm_core.model.checkpoint import load
from ehrfm_core.model.hardware import bf16_pays
from ehrfm_core.outcomes import OUTCOMES
from ehrfm_core.ragged import Ragged
from ehrfm_core.study.files import fingerprint, write_json, write_table
from ehrfm_core.study.layout import MAPS, MODEL, PROBES, SITE_FILES, site_file
from ehrfm_core.study.manifest import Manifest
from ehrfm_core.study.reader import open_study
from ehrfm_core.study.windows import Windows, read_windows
from ehrfm_core.study.writer import StageResult, inputs_of
from ehrfm_core.tokens.tokenizer import Tokenizer
from ehrfm_core.tokens.window import to_series
from train.progress import bar_options, progress_bar, say
from train.stages import run_stage

READING = 2  # what is read: goes up where states are read otherwise or more is kept
SHARDS = "embedding.partial"  # what a pass that was killed goes on from
PLACED_AT_ONCE = 1 << 26  # numbers, 256 MB
LOGIT_STEPS = 32  # a unit of log-odds
NAT_STEPS = 128


def embed(folder: Path, manifest: Manifest, *, seed: int, device: str) -> bool:
    """Run the stage: the forest and both maps are fitted on the source's training split only."""
    settings = {"seed": seed, "version": __version__, "reading": READING}
    inputs = inputs_of(folder, manifest, "embed")
    bf16 = manifest.stages["pretrain"].summary.get("precision") == "bf16" and bf16_pays(device)

    def work() -> StageResult:
        study = open_study(folder)
        tokenizer = Tokenizer.from_json(study.tokenizer())
        model = load(folder / MODEL, device=device)
        windows = {site: read_windows(study, site, tokenizer) for site in study.sites}
        result = StageResult(files=[MAPS, PROBES])
        result.summary["precision"] = "bf16" if bf16 else "fp32"
        probes = _probes(windows[study.source], Forward(model, device=device, bf16=bf16))
        write_json(folder / PROBES, {name: probe.to_json() for name, probe in probes.items()})
        forward = Forward(model, device=device, bf16=bf16, readouts=readouts(probes))
        identity = fingerprint([settings, inputs, bf16, {name: probes[name].to_json() for name in probes}])
        placed: list[Placed] = []
        maps, forest, held_out = None, None, np.empty(0)
        for site in study.sites:  # the source first: everything is fitted on it
            window = windows.pop(site)
            out = _read(window, forward, folder / SHARDS / site, identity)
            if maps is None or forest is None:
                in_train = window.split("train")
                held_out = out.hourly[window.split("test")].astype(np.float32)
                forest = fit_forest(out.states[in_train], seed=seed)
                detectors = fit_detectors(out.states[in_train], seed=seed, forest=forest)
                result.notes += detectors.notes
                maps = _fit_maps(out.hourly[in_train].astype(np.float32), site, seed, result)
            points = _place(maps, out.hourly)
            scores = anomaly_scores(forest, out.states)
            dynamics = path_measures(
                window.stays[ID].to_list(), out, window.minutes, prefix=window.prefix, hours=window.hours
            ).with_columns(pl.Series("anomaly_score", scores), pl.Series("outlier", scores > THRESHOLD))
            _write_site(folder, window, out, dynamics, points, tuple(probes), result)
            anomaly = detectors.table(window.stays[ID], out.states)
            write_table(folder / site_file(site, "anomaly"), anomaly, SITE_FILES["anomaly"])
            result.files.append(site_file(site, "anomaly"))
            result.summary[site] = {
                "outlier_share": round(float((scores > THRESHOLD).mean()), 4),
                "mean_information": round(float(np.nanmean(out.information.values)), 4),
            }
            placed.append(Placed(site, window.stays, out.states, points))
        assert maps is not None
        write_json(folder / MAPS, _describe(maps, placed, held_out, seed=seed))
        return result

    ran = run_stage(folder, manifest, "embed", settings=settings, inputs=inputs, work=work)
    shutil.rmtree(folder / SHARDS, ignore_errors=True)  # not before the stage is on record
    return ran


@dataclass(frozen=True)
class Placed:
    """What is kept of a site once its files are written: 24 h states (n × D), map points (n · hours × 2)."""

    site: str
    stays: pl.DataFrame
    states: np.ndarray
    points: dict[str, np.ndarray]

    def last(self, kind: str) -> np.ndarray:
        """Map points at the end of the window (n × 2)."""
        return self.points[kind].reshape(len(self.states), -1, 2)[:, -1]


def _probes(source: Windows, forward: Forward) -> dict[str, Probe]:
    """The source's probes, from a first pass over its training split that reads the last state alone."""
    rows = np.flatnonzero(source.split("train"))
    with progress_bar(f"embed {source.site}, training split for the probes", " tokens") as progress:
        states = last_states(forward, source.tokens.take(rows), progress=progress)
    return fit_source_probes(source.stays[rows], states)


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
            progress=progress,
        )


def _place(maps: Maps, hourly: np.ndarray) -> dict[str, np.ndarray]:
    """Points of every hourly state (n × H + 1 × D) on both maps, in rows of hours (n · (H + 1) × 2)."""
    points: dict[str, list[np.ndarray]] = {"pca": [], "umap": []}
    for part in np.array_split(hourly.reshape(-1, hourly.shape[2]), max(1, hourly.size // PLACED_AT_ONCE)):
        states = part.astype(np.float32)
        points["pca"].append(maps.pca_points(states))
        points["umap"].append(maps.umap_points(states))
    return {name: np.concatenate(parts) for name, parts in points.items()}


def _fit_maps(hourly: np.ndarray, site: str, seed: int, result: StageResult) -> Maps:
    states = hourly.reshape(-1, hourly.shape[2])
    say(f"  fitting PCA and UMAP on {len(states):,} hourly states of {site}'s training split …")
    maps = fit_maps(states, seed=seed, bar=bar_options("UMAP", " epochs") | {"disable": False})
    if maps.placed is None:
        result.notes.append(
            f"{site}: only {len(maps.anchors)} distinct states in the training split, too few for a UMAP."
        )
    return maps


def _write_site(
    folder: Path,
    window: Windows,
    out: ReadOut,
    dynamics: pl.DataFrame,
    points: dict[str, np.ndarray],
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
                **{
                    f"{name}_{axis}": pl.Series(values[:, k]).fill_nan(None)
                    for name, values in points.items()
                    for k, axis in enumerate("xy")
                },
                **hourly_measures(out, window.minutes, prefix=window.prefix).to_dict(),
                # half the bytes; states after the final norm are of order 1
                "state": pl.Series(out.hourly.reshape(-1, width), dtype=half),
            }
        ),
    }
    few = ("information", *(f"risk_{name}" for name in OUTCOMES))
    for name, frame in frames.items():
        file = folder / site_file(site, name)
        write_table(file, frame, SITE_FILES[name], few_values=few if name == "jumps" else ())
        result.files.append(site_file(site, name))


def _risks(window: Windows, out: ReadOut, outcomes: tuple[str, ...]) -> dict[str, pl.Series]:
    """Risk of every outcome after every token; null for a stay that does not count, or without a probe."""
    risks = {}
    for name, outcome in OUTCOMES.items():
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


def _describe(maps: Maps, placed: list[Placed], held_out: np.ndarray, *, seed: int) -> dict[str, Any]:
    """The content of maps.json. `held_out` (n × hours × D) are hourly states of the source's test split.

    Quality is measured on test splits, never on what the maps were fitted on.
    """
    source = placed[0]
    tests = [(part.stays["split"] == "test").to_numpy() for part in placed]
    is_source = np.concatenate(
        [np.full(test.sum(), part is source) for part, test in zip(placed, tests, strict=True)]
    )
    patients = np.concatenate(
        [
            (part.site + "/" + part.stays["patient_id"]).to_numpy()[t]
            for part, t in zip(placed, tests, strict=True)
        ]
    )
    full = np.concatenate([part.states[test] for part, test in zip(placed, tests, strict=True)])
    separable = site_auc(full, is_source, patients, seed=seed)
    described: dict[str, Any] = {
        "fitted_on": f"hourly states of the training split of {source.site}",
        "n_fitted": len(maps.anchors),
        "hidden_size": source.states.shape[1],
    }
    for kind in ("pca", "umap"):
        flat = source.points[kind].reshape(len(source.states), -1, 2)[tests[0]]
        ends = np.concatenate([part.last(kind)[test] for part, test in zip(placed, tests, strict=True)])
        quality: dict[str, Any] = {"step_fidelity": step_fidelity(held_out, flat)}
        quality |= neighborhood(held_out.reshape(-1, held_out.shape[2]), flat.reshape(-1, 2), seed=seed)
        quality |= {"site_auc_2d": site_auc(ends, is_source, patients, seed=seed), "site_auc_full": separable}
        everywhere = np.concatenate([part.points[kind] for part in placed])
        described[kind] = {**_ranges(everywhere), "quality": quality}
    described["pca"]["explained_variance"] = (
        [round(float(share), 4) for share in maps.pca.explained_variance_ratio_] if maps.pca else []
    )
    described["umap"] |= {"n_neighbors": NEIGHBORS, "min_dist": MIN_DIST, "seed": seed}
    return described


def _ranges(points: np.ndarray) -> dict[str, list[float]]:
    """Axis ranges that hold every finite point, with a margin of 4 %."""
    finite = points[np.isfinite(points).all(axis=1)]
    if not len(finite):
        return {"x_range": [-1.0, 1.0], "y_range": [-1.0, 1.0]}
    low, high = finite.min(axis=0), finite.max(axis=0)
    margin = np.maximum((high - low) * 0.04, 1e-3)
    return {
        f"{axis}_range": [round(float(low[k] - margin[k]), 4), round(float(high[k] + margin[k]), 4)]
        for k, axis in enumerate("xy")
    }
