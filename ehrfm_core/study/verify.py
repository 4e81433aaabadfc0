"""Check a study against its own promises: hashes, contract, sums, labels, splits, leaks and areas.

The other metrics are measured again by `evaluation/recompute.py`: this room knows nothing of that one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
from sklearn.metrics import roc_auc_score

from ehrfm_core.errors import UserError
from ehrfm_core.study.files import sha256
from ehrfm_core.study.layout import CARD, LOCK, LOG, MANIFEST, STAGES, TRAINING, result_file, site_file
from ehrfm_core.study.leaks import leaks
from ehrfm_core.study.reader import Study
from ehrfm_core.tokens.tokenizer import Tokenizer
from ehrfm_core.tokens.window import model_window

ID = "hospitalization_id"
NOT_HASHED = (MANIFEST, LOG, LOCK, CARD)
RUN = ["model", "arm", "train_site", "test_site", "adapt_method", "adapt_fraction", "repeat", "outcome"]


def verify(study: Study) -> list[str]:
    """Everything that is wrong with a study, a sentence a finding that names the file; empty if nothing is.

    Where a file is not as it was written, what it says is not checked further.
    """
    return hashes(study) or agree(study)


def agree(study: Study) -> list[str]:
    """What files that are as they were written say of each other."""
    findings: list[str] = []
    checks: list[Callable[[Study], list[str]]] = [_stages, _stays, leaks]
    if study.has("embed"):
        checks.append(_dynamics)
    if study.has("evaluate"):
        checks += [_predictions, _metrics]
    for check in checks:
        try:
            findings += check(study)
        except UserError as error:
            findings.append(str(error))
    return findings


def hashes(study: Study) -> list[str]:
    """Files that are missing, were changed or belong to no stage."""
    findings = []
    recorded = {path: sha for stage in study.manifest.stages.values() for path, sha in stage.files.items()}
    for path, sha in recorded.items():
        file = study.folder / path
        if not file.is_file():
            findings.append(f"{file} is missing.")
        elif sha256(file) != sha:
            findings.append(f"{file} is not as it was written: its hash differs from study.json.")
    for file in sorted(study.folder.rglob("*")):
        relative = file.relative_to(study.folder).as_posix()
        known = relative in recorded or relative in NOT_HASHED or relative.startswith(f"{TRAINING}/")
        if file.is_file() and not known:
            findings.append(f"{file} belongs to no stage of this study.")
    return findings


def _stages(study: Study) -> list[str]:
    missing = [stage for stage in STAGES if not study.has(stage)]
    return (
        [f"{study.folder}: stage {missing[0]} has not run; run `python -m train study`."] if missing else []
    )


def _stays(study: Study) -> list[str]:
    """Splits by patient, and windows of the length that stays.parquet tells."""
    findings = []
    tokenizer = Tokenizer.from_json(study.tokenizer())
    for site in study.sites:
        stays, timelines = study.site_table(site, "stays"), study.site_table(site, "timelines")
        file = study.folder / site_file(site, "stays")
        if stays[ID].n_unique() < stays.height:
            findings.append(f"{file}: a hospitalization_id stands on more than one row.")
        shared = stays.group_by("patient_id").agg(pl.col("split").n_unique()).filter(pl.col("split") > 1)
        if shared.height:
            findings.append(f"{file}: {shared.height} patients are in more than one split.")
        window = model_window(timelines, tokenizer)
        lengths = stays.join(window, on=ID, how="left")
        wrong = lengths.filter(pl.col("tokens").list.len().ne_missing(pl.col("n_tokens"))).height
        if wrong:
            findings.append(f"{file}: n_tokens of {wrong} stays is not the length of their window.")
    return findings


def _dynamics(study: Study) -> list[str]:
    """One row a stay in every table; jumps that sum to the path length."""
    findings = []
    for site in study.sites:
        stays = study.site_table(site, "stays").select(ID, "n_tokens")
        for name in ("states", "dynamics", "jumps"):
            table = study.site_table(site, name)
            if table.height != stays.height or set(table[ID]) != set(stays[ID]):
                findings.append(
                    f"{study.folder / site_file(site, name)}: its stays are not those of the site."
                )
        sums = (
            study.site_table(site, "jumps")
            .with_columns(pl.col("jump").cast(pl.List(pl.Float64)))
            .join(study.site_table(site, "dynamics"), on=ID)
            .join(stays, on=ID)
        )
        file = study.folder / site_file(site, "dynamics")
        for column, value in (
            ("path_length", pl.col("jump").list.sum()),
            ("max_jump", pl.col("jump").list.max()),
        ):
            wrong = int((~np.isclose(sums.select(value).to_series(), sums[column], rtol=1e-6)).sum())
            if wrong:
                findings.append(f"{file}: {column} of {wrong} stays does not follow from their jumps.")
        nats = pl.col("information").cast(pl.List(pl.Float64)).list.mean().fill_null(0.0)  # kept to 1/128 nat
        apart = (nats - pl.col("mean_information").fill_null(0.0)).abs() > 0.005
        if wrong := sums.filter(apart).height:
            findings.append(f"{file}: mean_information of {wrong} stays does not follow from their tokens.")
        findings += _hours(study, site)
        findings += _later(study, site)
        for column in ("jump", "information"):
            wrong = sums.filter(pl.col(column).list.len() != pl.col("n_tokens")).height
            if wrong:
                jumps = study.folder / site_file(site, "jumps")
                findings.append(f"{jumps}: {column} of {wrong} stays has not one entry a token.")
    return findings


def _later(study: Study, site: str) -> list[str]:
    """Every token after the window in one of the hours after it, where whole stays were read."""
    if site_file(site, "later") not in study.manifest.stages["embed"].files:
        return []
    file = study.folder / site_file(site, "later")
    hours = Tokenizer.from_json(study.tokenizer()).settings.window_hours
    later = study.site_table(site, "later")
    findings = []
    if early := later.filter(pl.col("hour") <= hours).height:
        findings.append(f"{file}: {early} rows are of hours within the window.")
    minutes = pl.col("minutes").list
    events = minutes.slice(0, minutes.len() - 2).list  # discharge and TL_END stand at the end
    after = study.site_table(site, "timelines").select(
        ID, tokens=events.eval(pl.element() > 60 * int(hours)).list.sum()
    )
    counted = after.join(later.group_by(ID).agg(pl.col("n_events").sum()), on=ID, how="full", coalesce=True)
    wrong = counted.filter(pl.col("tokens").fill_null(-1) != pl.col("n_events").fill_null(0)).height
    if wrong:
        findings.append(f"{file}: the hours of {wrong} stays do not hold the tokens after their window.")
    return findings


def _hours(study: Study, site: str) -> list[str]:
    """What is travelled hour by hour sums to the path of the events, and the steps to that of the hours."""
    sums = (
        study.site_table(site, "paths")
        .group_by(ID)
        .agg(pl.col("travelled").cast(pl.Float64).sum(), pl.col("step").cast(pl.Float64).sum())
        .join(study.site_table(site, "dynamics"), on=ID)
    )
    findings = []
    for part, whole in (("travelled", "event_path_length"), ("step", "hourly_path_length")):
        wrong = int((~np.isclose(sums[part], sums[whole], rtol=1e-5, atol=1e-4)).sum())
        if wrong:
            file = study.folder / site_file(site, "paths")
            findings.append(f"{file}: {part} of {wrong} stays does not sum to their {whole}.")
    return findings


def _predictions(study: Study) -> list[str]:
    """Predictions for test stays that count only, with the labels of stays.parquet."""
    findings = []
    predictions = study.result("predictions")
    file = study.folder / result_file("predictions")
    for (site, outcome), rows in predictions.group_by("test_site", "outcome", maintain_order=True):
        stays = study.site_table(str(site), "stays").filter(pl.col("split") == "test")
        stays = stays.filter(study.outcomes[str(outcome)].counts()).select(
            ID, pl.col(str(outcome)).alias("true")
        )
        joined = rows.join(stays, on=ID, how="left")
        wrong = joined.filter(pl.col("true").ne_missing(pl.col("label"))).height
        if wrong:
            findings.append(
                f"{file}: {wrong} predictions of {outcome} at {site} are of stays that do not count or have "
                "another label."
            )
        known = set(stays[ID])
        for (model, *_), run in rows.group_by(RUN, maintain_order=True):
            if run.height != len(known) or set(run[ID]) != known:
                findings.append(
                    f"{file}: {model} has not one prediction of {outcome} for every test stay of {site} that "
                    "counts."
                )
                break
    return findings


def _metrics(study: Study) -> list[str]:
    """Every ROC-AUC again from the predictions."""
    metrics = study.result("metrics").filter((pl.col("metric") == "roc_auc") & (pl.col("subgroup") == "all"))
    grouped = study.result("predictions").group_by(RUN).agg("label", "probability")
    findings = []
    file = study.folder / result_file("metrics")
    for row in metrics.join(grouped, on=RUN, how="left").iter_rows(named=True):
        labels, scores = row["label"] or [], row["probability"] or []
        value = float(roc_auc_score(labels, scores)) if 0 < sum(labels) < len(labels) else np.nan
        stored = np.nan if row["estimate"] is None else row["estimate"]
        same = bool(np.isclose(value, stored, equal_nan=True))
        if not (same and row["n"] == len(labels) and row["n_events"] == sum(labels)):
            findings.append(
                f"{file}: ROC-AUC {stored} of {row['model']}, {row['arm']}, {row['outcome']} at "
                f"{row['test_site']} does not follow from its predictions ({value}, n {len(labels)})."
            )
    return findings
