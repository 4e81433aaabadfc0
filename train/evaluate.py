"""Stage 4: states and outcomes → metrics with intervals, associations, token types and risk over time."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from ehrfm_core import __version__
from ehrfm_core.clif.tables import ID
from ehrfm_core.dynamics.token_types import largest_jumps, token_types
from ehrfm_core.evaluation.evaluate import SiteData
from ehrfm_core.evaluation.evaluate import evaluate as fit
from ehrfm_core.evaluation.probes import Probe
from ehrfm_core.evaluation.sites import pool
from ehrfm_core.model.hardware import bf16_pays
from ehrfm_core.study.files import fingerprint, read_json, write_table
from ehrfm_core.study.layout import PROBES, RESULT_FILES, SITE_FILES, result_file, site_file, site_schema
from ehrfm_core.study.manifest import Manifest
from ehrfm_core.study.reader import Study, open_study
from ehrfm_core.study.writer import StageResult, inputs_of
from ehrfm_core.tokens.tokenizer import Tokenizer
from ehrfm_core.tokens.window import model_window
from train.leak_gate import check_results
from train.progress import progress_bar
from train.stages import run_stage

if TYPE_CHECKING:
    from ehrfm_core.model.finetune import FinetuneSettings
    from ehrfm_core.model.local import LocalSettings

NEWER = (("pooling", "last"), ("thinning", 0.0))  # options of fine-tuning, as it was without them
KEPT = "evaluation.partial"  # fine-tuned runs that a stage that was killed goes on from
CHUNK = 200_000  # hourly states turned into risks at once


def evaluate(
    folder: Path,
    manifest: Manifest,
    *,
    seed: int,
    n_bootstrap: int,
    finetuning: FinetuneSettings | None,
    local: LocalSettings | None = None,
    repeats: int,
    device: str,
) -> bool:
    """Run the stage: probes and the fine-tuned model are fitted at the source, then used everywhere.

    Without `finetuning` no model is fine-tuned, without `local` none is pretrained at a target. Local stays
    are drawn `repeats` times.
    """
    # tables of an older contract are made again
    settings = {"seed": seed, "n_bootstrap": n_bootstrap, "version": __version__, "tables": _digest()}
    settings |= {"repeats": repeats, "finetuning": _told(finetuning)}
    settings["local_training"] = asdict(local) | {"methods": list(local.methods)} if local else None
    choose_penalty = "probe_c" in manifest.stages["embed"].settings
    settings |= {"choose_penalty": True} if choose_penalty else {}
    bf16 = manifest.stages["pretrain"].summary.get("precision") == "bf16" and bf16_pays(device)

    def work(staged: Path) -> StageResult:
        study = open_study(folder)
        tokenizer = Tokenizer.from_json(study.tokenizer())
        probes = {name: Probe.from_json(parts) for name, parts in read_json(study.file(PROBES)).items()}
        tuned = None
        if finetuning:
            from train.finetune import finetuned_predictions

            tuned = finetuned_predictions(
                study,
                probes,
                finetuning,
                repeats=repeats,
                seed=seed,
                device=device,
                bf16=bf16,
                kept=folder / KEPT,
                identity=fingerprint([settings, inputs, bf16]),
            )
        further = [tuned.predictions] if tuned else []
        if local:
            from train.local_training import locally_trained

            named = fingerprint([settings, inputs, bf16])
            further.append(
                locally_trained(
                    study,
                    probes,
                    local,
                    repeats=repeats,
                    seed=seed,
                    device=device,
                    bf16=bf16,
                    kept=folder / KEPT,
                    identity=named,
                )
            )
        with progress_bar("evaluate", " fits") as progress:
            found = fit(
                [_site_data(study, site, tokenizer) for site in study.sites],
                source=manifest.source,
                vocabulary_size=len(tokenizer.vocabulary),
                vocabulary=tokenizer.vocabulary,
                seed=seed,
                n_bootstrap=n_bootstrap,
                probes=probes,
                further=pl.concat(further) if further else None,
                carried=tuned.thresholds if tuned else None,
                repeats=repeats,
                outcomes=study.outcomes,
                choose_penalty=choose_penalty,
                progress=lambda done, total: progress(done, total, ""),
            )
        suspect = check_results(study, found.metrics)
        result = StageResult([], suspect + (tuned.notes if tuned else []) + found.notes)
        if tuned:
            result.summary["finetuned"] = tuned.summary
        types: list[pl.DataFrame] = []
        for site in study.sites:
            of_site, largest = _tokens(study, site, tokenizer)
            types.append(of_site)
            for name, frame in (("paths", _with_risks(study, site, probes)), ("largest_jumps", largest)):
                write_table(staged / site_file(site, name), frame, site_schema(name, study.outcomes))
                result.files.append(site_file(site, name))
        more = {"token_types": pl.concat(types)}
        for name in RESULT_FILES:
            frame = more[name] if name in more else getattr(found, name)
            write_table(staged / result_file(name), frame, RESULT_FILES[name])
            result.files.append(result_file(name))
        if len(study.sites) == 1:
            result.notes.append(
                "One site only: there is nothing to transfer to. Run the study again with a second "
                "--site NAME=DIR for the zero-shot and adapted results."
            )
        return result

    inputs = inputs_of(folder, manifest, "evaluate")
    ran = run_stage(folder, manifest, "evaluate", settings=settings, inputs=inputs, work=work)
    shutil.rmtree(folder / KEPT, ignore_errors=True)  # not before the stage is on record
    return ran


def _told(finetuning: FinetuneSettings | None) -> dict[str, object] | None:
    """The settings as they are written down; those of studies from before `NEWER` stay as they were."""
    if finetuning is None:
        return None
    return {name: value for name, value in asdict(finetuning).items() if (name, value) not in NEWER}


def _digest() -> str:
    """Names the columns that this stage writes."""
    own = {name: SITE_FILES[name] for name in ("paths", "largest_jumps")}
    return fingerprint({name: list(schema) for name, schema in (RESULT_FILES | own).items()})[:10]


def _tokens(study: Study, site: str, tokenizer: Tokenizer) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What each type of token adds to the paths of the test split, and every stay's largest jumps."""
    windows = model_window(study.site_table(site, "timelines"), tokenizer)
    jumps = study.site_table(site, "jumps")
    test = study.site_table(site, "stays").filter(pl.col("split") == "test")
    types = token_types(windows.join(test, on=ID, how="semi"), jumps, tokenizer)
    largest = largest_jumps(windows, jumps, tokenizer, outcomes=study.outcomes)
    return types.with_columns(pl.lit(site).alias("site")), largest


def _site_data(study: Study, site: str, tokenizer: Tokenizer) -> SiteData:
    ids, states = study.states(site)
    scored = (study.folder / site_file(site, "anomaly")).is_file()  # not in studies of older versions
    return SiteData(
        name=site,
        stays=study.site_table(site, "stays"),
        state_ids=ids,
        states=states,
        pooled=pool(states, _hourly_states(study, site, ids)),
        dynamics=study.site_table(site, "dynamics"),
        anomaly=study.site_table(site, "anomaly") if scored else None,
        windows=model_window(study.site_table(site, "timelines"), tokenizer).select(ID, "tokens"),
    )


def _hourly_states(study: Study, site: str, ids: list[str]) -> np.ndarray:
    """States at every full hour of the stays `ids`, in that order (n × hours + 1 × D, half precision)."""
    hourly = study.site_table(site, "hourly")
    n_hours = hourly["hour"].n_unique()
    blocks = hourly[ID].gather_every(n_hours).to_frame().with_row_index()  # a stay's hours stand together
    order = pl.DataFrame({ID: pl.Series(ids, dtype=pl.String)}).join(blocks, on=ID, maintain_order="left")
    states = hourly["state"].to_numpy()
    return states.reshape(len(blocks), n_hours, states.shape[1])[order["index"].to_numpy()]


def _with_risks(study: Study, site: str, probes: dict[str, Probe]) -> pl.DataFrame:
    """Coordinates and the risk of every outcome at every hour; null for stays that do not count."""
    hourly = study.site_table(site, "hourly")
    states = hourly["state"].to_numpy()
    chunks = np.array_split(states, max(1, len(states) // CHUNK))  # the probe works in float64
    counts = study.site_table(site, "stays").select(
        ID, *(outcome.counts().alias(f"counts_{name}") for name, outcome in study.outcomes.items())
    )
    frame = hourly.drop("state").join(counts, on=ID, how="left", maintain_order="left")
    at_end = (frame["hour"] == frame["hour"].max()).to_numpy()
    # hourly states are held in half precision; at the end of the window the whole state is at hand
    end = frame.filter(at_end).select(ID).join(study.site_table(site, "states"), on=ID, maintain_order="left")
    risks = []
    for name in study.outcomes:
        risk = np.full(len(states), np.nan)
        if name in probes:
            risk = np.concatenate([probes[name].probability(part) for part in chunks])
            risk[at_end] = probes[name].probability(end["state"].to_numpy())
        risks.append(pl.Series(f"risk_{name}", risk))
    return (
        frame.with_columns(risks)
        .with_columns(
            pl.when(pl.col(f"counts_{name}"))
            .then(pl.col(f"risk_{name}").fill_nan(None))
            .alias(f"risk_{name}")
            for name in study.outcomes
        )
        .drop(pl.selectors.starts_with("counts_"))
    )
