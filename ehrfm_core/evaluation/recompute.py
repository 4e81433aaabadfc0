"""Do metrics, curves and comparisons follow from the predictions: everything is measured again.

Of figures whose intervals come from resampling the estimate is compared; of those whose intervals follow from
a formula (subgroups, draws of local stays, comparisons) the interval too. Thresholds come from the tuning
split and associations from the paths, neither from predictions; they are taken as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl

from ehrfm_core.errors import UserError
from ehrfm_core.evaluation.comparisons import SIDE, compare
from ehrfm_core.evaluation.delong import area_intervals
from ehrfm_core.evaluation.run_measures import CARRIED, METRICS, THRESHOLDS, RunMeasures
from ehrfm_core.evaluation.scores import CARRIED_BY, RUN
from ehrfm_core.evaluation.sites import ID
from ehrfm_core.evaluation.subgroups import by_subgroup, groups_of
from ehrfm_core.outcomes import Outcomes
from ehrfm_core.small_cells import MIN_CELL
from ehrfm_core.study.layout import result_file
from ehrfm_core.study.reader import Study

CLOSE = 1e-6  # apart by so much two figures are the same: sums run in another order elsewhere
FITTED = 1e-3  # those of Newton's method, which stops near the solution
FITS = ("calibration_intercept", "calibration_slope", "ici")
PERFECT = 0.99  # an area that no prediction of a stay's future has honestly reached
FIGURES = ("estimate", "ci_low", "ci_high", "n", "n_events")


def recompute(study: Study) -> list[str]:
    """What does not follow from a study's predictions, a sentence a finding that names the file."""
    if not study.has("evaluate"):
        return []
    try:
        predictions, metrics = study.result("predictions"), study.result("metrics")
        patients = _patients(study)
        joined = predictions.join(patients, on=["test_site", ID], how="left", maintain_order="left")
        again = {name: pl.concat(part) for name, part in _measured(study, joined).items() if part}
        groups = pl.concat(
            groups_of(frame).with_columns(test_site=pl.lit(s)) for s, frame in _tests(study).items()
        )
        parts = [again["metrics"]] if "metrics" in again else []
        home = predictions.filter(pl.col("train_site") == study.source)
        again["comparisons"] = compare(home, patients)
        again["metrics"] = pl.concat([*parts, by_subgroup(predictions, patients, groups).select(_METRICS)])
    except UserError as error:
        return [str(error)]
    except ValueError as error:
        return [f"{study.folder / result_file('predictions')} cannot be measured: {error}."]
    findings = _differing(study, "metrics", metrics, again["metrics"], [*RUN, "subgroup", "metric"], FIGURES)
    for name, at, figures in (
        ("calibration_curves", "predicted", ("observed",)),
        ("decision_curves", "threshold", ("net_benefit", "everybody")),
    ):
        if name in again and _there(study, name):
            stored, measured = (_placed(frame, at) for frame in (study.result(name), again[name]))
            findings += _differing(study, name, stored, measured, [*RUN, "place"], (at, *figures))
    if _there(study, "comparisons"):
        keys = [
            "test_site",
            "outcome",
            *(f"{which}_{part}" for which in ("first", "second") for part in SIDE),
        ]
        told = ("difference", "ci_low", "ci_high", "p_value", "p_holm", "n", "n_events")
        stored = study.result("comparisons")
        findings += _differing(study, "comparisons", stored, again["comparisons"], keys, told)
    return findings


_METRICS = [*RUN, "subgroup", "metric", *FIGURES]


def near_perfect(metrics: pl.DataFrame, outcomes: Outcomes) -> list[str]:
    """Which unchanged models rank the stays of a test split better than the future can be known.

    At least eleven stays with the outcome and without it; `metrics` as `metrics.parquet`.
    """
    few = pl.min_horizontal("n_events", pl.col("n") - pl.col("n_events")) < MIN_CELL
    rows = metrics.filter(
        pl.col("metric") == "roc_auc",
        pl.col("subgroup") == "all",
        pl.col("arm") != "adapted",
        pl.col("estimate") >= PERFECT,
        ~few,
    )
    return [
        f"{outcomes[row['outcome']].label if row['outcome'] in outcomes else row['outcome']} at "
        f"{row['test_site']}: the AUC of {row['model']} is {row['estimate']:.3f}, which is too good to be "
        "true: look for what tells the outcome in the window."
        for row in rows.iter_rows(named=True)
    ]


def _there(study: Study, name: str) -> bool:
    return result_file(name) in study.manifest.stages["evaluate"].files


def _tests(study: Study) -> dict[str, pl.DataFrame]:
    """Test stays of every site, with the flag of the outlier detector, as the evaluation has them."""
    found = {}
    for site in study.sites:
        stays = study.site_table(site, "stays").filter(pl.col("split") == "test")
        if study.has("embed"):
            stays = stays.join(study.site_table(site, "dynamics").select(ID, "outlier"), on=ID, how="left")
        found[site] = stays
    return found


def _patients(study: Study) -> pl.DataFrame:
    return pl.concat(
        frame.select(pl.lit(site).alias("test_site"), ID, "patient_id")
        for site, frame in _tests(study).items()
    )


def _measured(study: Study, joined: pl.DataFrame) -> dict[str, list[pl.DataFrame]]:
    """Rows of metrics.parquet and of both tables of curves, without resampled intervals."""
    known: Mapping[tuple[str, ...], float] = {}
    if _there(study, "thresholds"):
        known = {row[:3]: row[3] for row in study.result("thresholds").select(CARRIED_BY).iter_rows()}
    found: dict[str, list[pl.DataFrame]] = {"metrics": [], "calibration_curves": [], "decision_curves": []}
    for values, part in joined.group_by(RUN, maintain_order=True):
        run = part.sort(ID)
        key = dict(zip(RUN, values, strict=True))
        labels, p = run["label"].to_numpy().astype(bool), run["probability"].to_numpy()
        size = {"n": len(labels), "n_events": int(labels.sum())}
        if key["repeat"] or 0 < float(key["adapt_fraction"]) < 1:
            rows = [{"metric": "roc_auc"} | _area(labels, p, run["patient_id"].to_numpy())]
        else:
            named = tuple(str(key[name]) for name in CARRIED_BY[:3])
            carried = None if key["arm"] == "adapted" else known.get(named)
            measures = RunMeasures.of(labels, p, carried=carried)
            estimates, observed, benefit = measures.split(measures.values(np.ones((1, len(labels))))[:, 0])
            rows = [
                {"metric": name, "estimate": _null(value), "ci_low": None, "ci_high": None}
                for name, value in zip(METRICS, estimates, strict=True)
                if name not in CARRIED or carried is not None
            ]
            curve = {"predicted": measures.at, "observed": observed}
            acted = {"threshold": THRESHOLDS, "net_benefit": benefit, "everybody": measures.everybody()}
            found["calibration_curves"].append(_of(key, pl.DataFrame(curve)))
            found["decision_curves"].append(_of(key, pl.DataFrame(acted)))
        schema = {"metric": pl.String, "estimate": pl.Float64, "ci_low": pl.Float64, "ci_high": pl.Float64}
        table = _of(key | {"subgroup": "all"} | size, pl.DataFrame(rows, schema=schema, orient="row"))
        found["metrics"].append(table.select(_METRICS))
    return found


def _area(labels: np.ndarray, p: np.ndarray, patients: np.ndarray) -> dict[str, float | None]:
    if labels.all() or not labels.any():
        return {"estimate": None, "ci_low": None, "ci_high": None}
    return dict(zip(FIGURES[:3], area_intervals(labels, p[None], patients)[0], strict=True))


def _placed(curve: pl.DataFrame, at: str) -> pl.DataFrame:
    """Points of a curve numbered within their run: neighbours may be closer than two machines agree."""
    return curve.sort(*RUN, at).with_columns(place=pl.int_range(pl.len()).over(RUN))


def _null(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _of(key: Mapping[str, object], table: pl.DataFrame) -> pl.DataFrame:
    types = {"repeat": pl.Int32, "n": pl.Int64, "n_events": pl.Int64}
    return table.with_columns(pl.lit(value, dtype=types.get(name)).alias(name) for name, value in key.items())


def _differing(
    study: Study,
    name: str,
    stored: pl.DataFrame,
    again: pl.DataFrame,
    keys: list[str],
    figures: tuple[str, ...],
) -> list[str]:
    """Rows that are not there on both sides, and figures that are others."""
    file = study.folder / result_file(name)
    keyed = [pl.col(key).round(9) if stored[key].dtype == pl.Float64 else pl.col(key) for key in keys]
    stored, again = (frame.with_columns(keyed) for frame in (stored, again))
    findings = []
    if stored.select(keys).is_duplicated().any():
        findings.append(f"{file}: a row stands there more than once.")
    for left, right, what in ((stored, again, "follow from no prediction"), (again, stored, "are missing")):
        if lost := left.join(right, on=keys, how="anti", nulls_equal=True).height:
            findings.append(f"{file}: {lost} rows {what}.")
    both = stored.join(again, on=keys, how="inner", suffix="_again", nulls_equal=True)
    return findings + [f"{file}: {told}" for told in _figures(both, keys, figures)]


def _figures(both: pl.DataFrame, keys: list[str], figures: tuple[str, ...]) -> Iterator[str]:
    """A sentence for every figure that is another in some rows, with the first of them."""
    fits = pl.col("metric").is_in(FITS) if "metric" in keys else pl.lit("observed" in figures)
    resampled = pl.lit(value=False)
    if "metric" in keys:
        resampled = (pl.col("subgroup") == "all") & ~(
            (pl.col("repeat") > 0) | pl.col("adapt_fraction").is_between(0, 1, closed="none")
        )
    for figure in figures:
        one, other = pl.col(figure).cast(pl.Float64), pl.col(f"{figure}_again").cast(pl.Float64)
        near = pl.when(fits).then(FITTED).otherwise(CLOSE)
        same = ((one - other).abs() <= near * pl.max_horizontal(1.0, other.abs())).fill_null(value=False)
        same |= one.is_null() & other.is_null()
        if figure in ("ci_low", "ci_high"):
            same |= resampled
        wrong = both.filter(~same)
        if wrong.height:
            first = wrong.row(0, named=True)
            where = ", ".join(str(first[key]) for key in keys)
            yield (
                f"{figure} of {wrong.height} rows does not follow from the predictions; the first ({where}) "
                f"is {first[figure]} and should be {first[f'{figure}_again']}."
            )
