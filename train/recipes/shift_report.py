"""A study of synthetic hospitals beside their truth: figures, and what they must be where nothing differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ehrfm_core.clif.tables import ID
from ehrfm_core.errors import UserError
from ehrfm_core.evaluation.baselines import token_counts
from ehrfm_core.evaluation.intervals import LEVEL
from ehrfm_core.evaluation.models import MODEL_LABELS, SHUFFLED
from ehrfm_core.evaluation.oracle import Comparison, against_truth
from ehrfm_core.evaluation.oracle_figures import estimates, monte_carlo, parts_alone, transfer_gaps
from ehrfm_core.evaluation.site_classifier import tell_sites_apart
from ehrfm_core.evaluation.sites import Stays
from ehrfm_core.outcomes import OUTCOMES
from ehrfm_core.study import Study, open_study
from ehrfm_core.synthesis.hospital import PARTS
from ehrfm_core.tokens.tokenizer import Tokenizer
from ehrfm_core.tokens.window import model_window, to_ragged
from train.progress import progress_bar

MODELS = ("probe", "baseline_token_counts")  # that the tables show
Row = dict[str, Any]


def make_report(
    folder: Path, truths: Mapping[str, Path], shifts: Mapping[str, frozenset[str]]
) -> dict[str, Any]:
    """Figures of the study in `folder` as a JSON value.

    `truths` holds the stays.parquet with the true risks of each site, `shifts` the parts in which each target
    differs from the source. The frames of `oracle_figures` as lists of rows, and `site_classifier`, `verdict`
    and `notes`.
    """
    study = open_study(folder)
    stage = study.manifest.stages["evaluate"].settings
    seed, n_bootstrap = int(stage["seed"]), int(stage["n_bootstrap"])
    patients = pl.concat(
        study.site_table(site, "stays").select(pl.lit(site).alias("test_site"), ID, "patient_id")
        for site in study.sites
    )
    steps = iter(range(1, len(study.sites) * len(OUTCOMES) + 1))
    with progress_bar("oracle", " fits") as progress:
        tested = against_truth(
            _compared(study.result("predictions"), study.source),
            patients,
            {site: _read(path) for site, path in truths.items()},
            seed=seed,
            n_bootstrap=n_bootstrap,
            tick=lambda: progress(next(steps), len(study.sites) * len(OUTCOMES), ""),
        )
    gaps = transfer_gaps(tested, source=study.source)
    simulation, notes = monte_carlo(tested, seed=seed)
    classified = _classify(study, seed=seed, n_bootstrap=n_bootstrap)
    alike = [site for site, parts in shifts.items() if not parts]
    return {
        "source": study.source,
        "shifts": {site: sorted(parts) for site, parts in shifts.items()},
        "stages": {name: done.settings for name, done in study.manifest.stages.items()},
        "estimates": estimates(tested).to_dicts(),
        "gaps": gaps.to_dicts(),
        "parts": parts_alone(tested, source=study.source, shifts=shifts, parts=PARTS).to_dicts(),
        "monte_carlo": simulation.to_dicts(),
        "site_classifier": classified,
        "verdict": [line for site in alike for line in verdict(tested, classified, study.source, site)],
        "notes": notes,
    }


def _compared(predictions: pl.DataFrame, source: str) -> pl.DataFrame:
    """One run a model and arm: the source's models as they are, or fitted anew on all local stays."""
    return predictions.filter(
        pl.col("train_site") == source,
        ~pl.col("model").is_in(["finetuned", SHUFFLED]),
        pl.col("adapt_method").is_in(["none", "refit"]),
        pl.col("adapt_fraction").is_in([0.0, 1.0]),
    )


def verdict(tested: Sequence[Comparison], classified: Sequence[Row], source: str, site: str) -> list[str]:
    """What the gaps and the site classifier say where `site` is the same hospital as the source.

    Any gap there is chance or a fault of the method. Of m gaps, 5 % exclude 0 by chance; one that does so at
    the level 1 − 5 % / m as well (Bonferroni) is called a fault.
    """
    gaps = _shown(transfer_gaps(tested, source=source), site)
    m = max(1, gaps.height)
    strictly = _shown(transfer_gaps(tested, source=source, level=1 - (1 - LEVEL) / m), site)
    off, surely_off = gaps.filter(_excludes(0.0)), strictly.filter(_excludes(0.0))
    counted = (
        f"{off.height} of {m} intervals exclude 0, where chance alone gives {m * (1 - LEVEL):.1f} on average."
        if gaps.height
        else "Too few events for the interval of any: nothing is shown."
    )
    lines = [f"{site}: both hospitals are the same, so that there is no gap to be found. {counted}"]
    for row in off.iter_rows(named=True):
        name = f"{OUTCOMES[row['outcome']].label}, {MODEL_LABELS[row['model']]}"
        told = f"{row['estimate']:+.3f} [{row['ci_low']:+.3f}, {row['ci_high']:+.3f}]"
        surely = surely_off.filter(outcome=row["outcome"], model=row["model"]).height
        means = (
            f"excludes 0 for {m} intervals looked at together as well: A BUG IN THE METHOD"
            if surely
            else f"excludes 0, but not for {m} intervals looked at together: chance suffices"
        )
        lines.append(f"{site}: {name}: gap {told} {means}.")
    for row in classified:
        if row["target"] == site and row["ci_low"] is not None:
            holds = row["ci_low"] <= 0.5 <= row["ci_high"]
            means = "as it must" if holds else "WHERE IT MUST NOT, but for one time in twenty"
            lines.append(
                f"{site}: the site classifier's AUC {row['estimate']:.3f} [{row['ci_low']:.3f}, "
                f"{row['ci_high']:.3f}] {'holds' if holds else 'excludes'} 0.5, {means}."
            )
    return lines


def _shown(gaps: pl.DataFrame, site: str) -> pl.DataFrame:
    shown = pl.col("model").is_in(MODELS) & pl.col("ci_low").is_not_null()
    return gaps.filter(shown, quantity="gap", target=site)


def _excludes(value: float) -> pl.Expr:
    return (pl.col("ci_low") > value) | (pl.col("ci_high") < value)


def _classify(study: Study, *, seed: int, n_bootstrap: int) -> list[Row]:
    """How well token counts of the window tell the test stays of each target from the source's."""
    tokenizer = Tokenizer.from_json(study.tokenizer())
    source, source_patients = _counts(study, study.source, tokenizer)
    rows = []
    for site in study.sites[1:]:
        counts, patients = _counts(study, site, tokenizer)
        auc, interval = tell_sites_apart(
            np.concatenate([source, counts]),
            np.repeat([False, True], [len(source), len(counts)]),
            np.concatenate([source_patients, patients]),
            seed=seed,
            n_bootstrap=n_bootstrap,
        )
        figures = {"estimate": auc, "ci_low": interval.low, "ci_high": interval.high}
        rows.append({"target": site} | figures | {"n_source": len(source), "n_target": len(counts)})
    return rows


def _counts(study: Study, site: str, tokenizer: Tokenizer) -> tuple[np.ndarray, np.ndarray]:
    """Token counts of a site's test stays (n × vocabulary), and whose stays they are (n)."""
    test = study.site_table(site, "stays").filter(split="test").select(ID, "patient_id")
    window = model_window(study.site_table(site, "timelines").join(test, on=ID, how="semi"), tokenizer)
    frame = test.join(window, on=ID).sort(ID)
    stays = Stays(site, frame, np.empty((frame.height, 0)), to_ragged(frame["tokens"], np.int32))
    counts = token_counts(stays, vocabulary_size=len(tokenizer.vocabulary))
    return counts, frame.select(site + "/" + pl.col("patient_id")).to_series().to_numpy()


def _read(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0][:80]
        raise UserError(
            f"{path}: the true risks cannot be read ({reason}); delete {path.parents[2]}."
        ) from None
