"""Stage 3: checkpoint and windows → states, jumps, path measures, anomaly and maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

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
from ehrfm_core.study.reader import open_study
from ehrfm_core.study.writer import StageResult, inputs_of
from ehrfm_core.tokens.tokenizer import Tokenizer
from ehrfm_core.tokens.vocabulary import PAD, PREFIX_FAMILIES
from ehrfm_core.tokens.window import cut_window, to_ragged, to_series
from train.progress import bar_options, progress_bar, say
from train.stages import run_stage

PREFIX = 1 + len(PREFIX_FAMILIES)  # TL_START and the static tokens


def embed(folder: Path, manifest: Manifest, *, seed: int, device: str) -> bool:
    """Run the stage: the forest and both maps are fitted on the source's training split only."""
    settings = {"seed": seed, "device": device, "version": __version__}

    def work() -> StageResult:
        study = open_study(folder)
        tokenizer = Tokenizer.from_json(study.tokenizer())
        model = load(folder / MODEL, device=device)
        hours = int(tokenizer.settings.window_hours)
        outs: dict[str, ReadOut] = {}
        stays: dict[str, pl.DataFrame] = {}
        measured: dict[str, pl.DataFrame] = {}
        result = StageResult(files=[MAPS])
        for site in study.sites:
            stays[site] = study.site_table(site, "stays").sort(ID)
            window = cut_window(
                study.site_table(site, "timelines").sort(ID),
                tokenizer.vocabulary,
                hours=hours,
                max_tokens=tokenizer.settings.max_tokens,
            )
            assert window[ID].equals(stays[site][ID]), "stays and timelines hold the same ids"
            minutes = to_ragged(window["minutes"], np.float32)
            with progress_bar(f"embed {site}", " tokens") as progress:
                outs[site] = read_out(
                    model,
                    to_ragged(window["tokens"], np.int64),
                    minutes,
                    hours=hours,
                    pad=tokenizer.vocabulary[PAD],
                    device=device,
                    progress=progress,
                )
            ids = stays[site][ID].to_list()
            measured[site] = path_measures(ids, outs[site], minutes, prefix=PREFIX, hours=hours)
        _write_sites(folder, outs, stays, measured, source=manifest.source, seed=seed, result=result)
        return result

    inputs = inputs_of(manifest, "embed")
    return run_stage(folder, manifest, "embed", settings=settings, inputs=inputs, work=work)


def _write_sites(
    folder: Path,
    outs: dict[str, ReadOut],
    stays: dict[str, pl.DataFrame],
    measured: dict[str, pl.DataFrame],
    *,
    source: str,
    seed: int,
    result: StageResult,
) -> None:
    in_train = (stays[source]["split"] == "train").to_numpy()
    forest = fit_forest(outs[source].states[in_train], seed=seed)
    train_hours = outs[source].hourly[in_train].reshape(-1, outs[source].hourly.shape[2])
    say(f"  fitting PCA and UMAP on {len(train_hours):,} hourly states of {source}'s training split …")
    maps = fit_maps(train_hours, seed=seed, bar=bar_options("UMAP", " epochs") | {"disable": False})
    if maps.placed is None:
        result.notes.append(
            f"{source}: only {len(maps.anchors)} distinct states in the training split, too few for a UMAP."
        )
    points: dict[str, dict[str, np.ndarray]] = {}
    for site, out in outs.items():
        scores = anomaly_scores(forest, out.states)
        dynamics = measured[site].with_columns(
            pl.Series("anomaly_score", scores), pl.Series("outlier", scores > THRESHOLD)
        )
        flat = out.hourly.reshape(-1, out.hourly.shape[2])
        points[site] = {"pca": maps.pca_points(flat), "umap": maps.umap_points(flat)}
        _write_site(folder, site, stays[site][ID], out, dynamics, points[site], result)
        result.summary[site] = {
            "outlier_share": round(float((scores > THRESHOLD).mean()), 4),
            "mean_information": round(float(np.nanmean(out.information.values)), 4),
        }
    write_json(folder / MAPS, _describe(maps, outs, stays, points, source=source, seed=seed))


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
                "state": pl.Series(out.hourly.reshape(-1, width), dtype=pl.Array(pl.Float32, width)),
            }
        ),
    }
    for name, frame in frames.items():
        write_table(folder / site_file(site, name), frame, SITE_FILES[name])
        result.files.append(site_file(site, name))


def _describe(
    maps: Maps,
    outs: dict[str, ReadOut],
    stays: dict[str, pl.DataFrame],
    points: dict[str, dict[str, np.ndarray]],
    *,
    source: str,
    seed: int,
) -> dict[str, Any]:
    """The content of maps.json. Quality is measured on the source's test split, not on what was fitted."""
    held_out = (stays[source]["split"] == "test").to_numpy()
    full = outs[source].hourly[held_out]
    last = {site: out.hourly[:, -1] for site, out in outs.items()}
    is_source = np.concatenate([np.full(len(last[site]), site == source) for site in outs])
    patients = np.concatenate([(site + "/" + stays[site]["patient_id"]).to_numpy() for site in outs])
    separable = site_auc(np.concatenate(list(last.values())), is_source, patients, seed=seed)
    described: dict[str, Any] = {
        "fitted_on": f"hourly states of the training split of {source}",
        "n_fitted": len(maps.anchors),
        "hidden_size": outs[source].states.shape[1],
    }
    for name in ("pca", "umap"):
        flat = points[source][name].reshape(*outs[source].hourly.shape[:2], 2)
        ends = np.concatenate([points[site][name].reshape(len(last[site]), -1, 2)[:, -1] for site in outs])
        quality: dict[str, Any] = {"step_fidelity": step_fidelity(full, flat[held_out])}
        quality |= neighborhood(full.reshape(-1, full.shape[2]), flat[held_out].reshape(-1, 2), seed=seed)
        quality |= {"site_auc_2d": site_auc(ends, is_source, patients, seed=seed), "site_auc_full": separable}
        everywhere = np.concatenate([points[site][name] for site in outs])
        described[name] = {**_ranges(everywhere), "quality": quality}
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
