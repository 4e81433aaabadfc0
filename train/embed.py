"""Stage 3: checkpoint and windows → states, jumps, path measures, anomaly and maps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from transformers import LlamaForCausalLM

from ehrfm_core import __version__
from ehrfm_core.clif.tables import ID
from ehrfm_core.dynamics.anomaly import THRESHOLD, anomaly_scores, fit_forest
from ehrfm_core.dynamics.map_quality import neighborhood, site_auc, step_fidelity
from ehrfm_core.dynamics.maps import MIN_DIST, NEIGHBORS, Maps, fit_maps
from ehrfm_core.dynamics.measures import path_measures
from ehrfm_core.dynamics.states import ReadOut, read_out
from ehrfm_core.model.checkpoint import load
from ehrfm_core.study.files import write_json, write_table
from ehrfm_core.study.layout import MAPS, MODEL, SITE_FILES, site_file
from ehrfm_core.study.manifest import Manifest
from ehrfm_core.study.reader import Study, open_study
from ehrfm_core.study.writer import StageResult, inputs_of
from ehrfm_core.tokens.tokenizer import Tokenizer
from ehrfm_core.tokens.vocabulary import PAD
from ehrfm_core.tokens.window import cut_window, to_ragged, to_series
from train.progress import bar_options, progress_bar, say
from train.stages import run_stage


def embed(folder: Path, manifest: Manifest, *, seed: int, device: str) -> bool:
    """Run the stage: the forest and both maps are fitted on the source's training split only."""
    settings = {"seed": seed, "version": __version__}

    def work() -> StageResult:
        study = open_study(folder)
        tokenizer = Tokenizer.from_json(study.tokenizer())
        model = load(folder / MODEL, device=device)
        result = StageResult(files=[MAPS])
        placed: list[Placed] = []
        maps, forest, held_out = None, None, np.empty(0)
        for site in study.sites:  # the source first: everything is fitted on it
            stays, out, measured = _read(study, site, tokenizer, model, device)
            if maps is None or forest is None:
                in_train = (stays["split"] == "train").to_numpy()
                held_out = out.hourly[(stays["split"] == "test").to_numpy()]
                forest = fit_forest(out.states[in_train], seed=seed)
                maps = _fit_maps(out.hourly[in_train], site, seed, result)
            flat = out.hourly.reshape(-1, out.hourly.shape[2])
            points = {"pca": maps.pca_points(flat), "umap": maps.umap_points(flat)}
            scores = anomaly_scores(forest, out.states)
            dynamics = measured.with_columns(
                pl.Series("anomaly_score", scores), pl.Series("outlier", scores > THRESHOLD)
            )
            _write_site(folder, site, stays[ID], out, dynamics, points, result)
            result.summary[site] = {
                "outlier_share": round(float((scores > THRESHOLD).mean()), 4),
                "mean_information": round(float(np.nanmean(out.information.values)), 4),
            }
            placed.append(Placed(site, stays, out.states, points))
        assert maps is not None
        write_json(folder / MAPS, _describe(maps, placed, held_out, seed=seed))
        return result

    inputs = inputs_of(folder, manifest, "embed")
    return run_stage(folder, manifest, "embed", settings=settings, inputs=inputs, work=work)


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


def _read(
    study: Study, site: str, tokenizer: Tokenizer, model: LlamaForCausalLM, device: str
) -> tuple[pl.DataFrame, ReadOut, pl.DataFrame]:
    """Stays of a site sorted by id, what one pass over their windows gives, and their path measures."""
    hours = int(tokenizer.settings.window_hours)
    stays = study.site_table(site, "stays").sort(ID)
    window = cut_window(
        study.site_table(site, "timelines").sort(ID),
        tokenizer.vocabulary,
        hours=hours,
        max_tokens=tokenizer.settings.max_tokens,
    )
    assert window[ID].equals(stays[ID]), "stays and timelines hold the same ids"
    minutes = to_ragged(window["minutes"], np.float32)
    with progress_bar(f"embed {site}", " tokens") as progress:
        out = read_out(
            model,
            to_ragged(window["tokens"], np.int64),
            minutes,
            hours=hours,
            pad=tokenizer.vocabulary[PAD],
            device=device,
            progress=progress,
        )
    return (
        stays,
        out,
        path_measures(stays[ID].to_list(), out, minutes, prefix=1 + len(tokenizer.prefix), hours=hours),
    )


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
    site: str,
    ids: pl.Series,
    out: ReadOut,
    dynamics: pl.DataFrame,
    points: dict[str, np.ndarray],
    result: StageResult,
) -> None:
    n_hours, width = out.hourly.shape[1:]
    half = pl.Array(pl.Float16, width)
    frames = {
        "states": pl.DataFrame({ID: ids, "state": pl.Series(out.states, dtype=pl.Array(pl.Float32, width))}),
        "dynamics": dynamics,
        "jumps": pl.DataFrame(
            {
                ID: ids,
                "jump": to_series(out.jumps),
                "information": to_series(out.information).list.eval(pl.element().fill_nan(None)),
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
                # half the bytes; states after the final norm are of order 1
                "state": pl.Series(out.hourly.reshape(-1, width).astype(np.float16), dtype=half),
            }
        ),
    }
    for name, frame in frames.items():
        write_table(folder / site_file(site, name), frame, SITE_FILES[name])
        result.files.append(site_file(site, name))


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
