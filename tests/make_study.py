"""Structurally valid studies with seeded, plausible content, written through the contract's own schemas.

    python -m tests.make_study OUT --site mimic=400 --site ucmc=300

Nothing here is computed by a model: it exists so that the screen can be tested on every shape a study can
take.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from scipy.stats import rankdata

from ehrfm_core.dynamics.detector_names import DETECTORS, FOREST
from ehrfm_core.dynamics.map_file import save_maps
from ehrfm_core.dynamics.maps import Maps
from ehrfm_core.dynamics.projection import fit_projection
from ehrfm_core.dynamics.token_types import largest_jumps, token_types
from ehrfm_core.evaluation.associations import ADJUSTMENTS
from ehrfm_core.evaluation.comparisons import compare
from ehrfm_core.evaluation.deciles import deciles
from ehrfm_core.evaluation.features import FEATURES, JOINT
from ehrfm_core.evaluation.outliers import describe_outliers
from ehrfm_core.evaluation.reweighting import reweight
from ehrfm_core.evaluation.run_measures import CARRIED
from ehrfm_core.evaluation.scores import score
from ehrfm_core.evaluation.sites import Stays
from ehrfm_core.evaluation.subgroups import by_subgroup, groups_of
from ehrfm_core.outcomes import OUTCOMES
from ehrfm_core.published import SITES as PAPER_SITES
from ehrfm_core.ragged import Ragged
from ehrfm_core.study.files import fingerprint, sha256, write_json, write_table
from ehrfm_core.study.layout import (
    FITTED_MAPS,
    MAPS,
    RESULT_FILES,
    SITE_FILES,
    STAGES,
    TOKENIZER,
    result_file,
    site_file,
)
from ehrfm_core.study.manifest import Manifest, Stage, write_manifest
from ehrfm_core.tokens import vocabulary as names
from ehrfm_core.tokens.settings import TokenSettings
from ehrfm_core.tokens.tokenizer import Tokenizer
from ehrfm_core.tokens.window import cut_window, to_ragged, to_series

PREFIX = {
    "race": ["white", "black_or_african_american", "asian", "unknown"],
    "ethnicity": ["non-hispanic", "hispanic", "unknown"],
    "sex": ["female", "male"],
    "admission": ["ed", "elective", "direct"],
}
EVENTS = {
    "location": ["ed", "ward", "icu", "procedural"],
    "lab": [
        "potassium",
        "sodium",
        "creatinine",
        "lactate",
        "hemoglobin",
        "platelet_count",
        "glucose_serum",
        "bun",
    ],
    "vital": ["heart_rate", "sbp", "dbp", "map", "respiratory_rate", "spo2", "temp_c"],
    "medication": ["norepinephrine", "propofol", "insulin", "heparin"],
    "assessment": ["gcs_total", "rass", "braden_total"],
    "respiratory": ["room_air", "nasal_cannula", "imv"],
}
WEIGHTS = {
    "location": 0.03,
    "lab": 0.25,
    "vital": 0.5,
    "medication": 0.08,
    "assessment": 0.09,
    "respiratory": 0.05,
}
HOURS = 24
HIDDEN = 8
OFF_MAP = 8.0


def make_study(
    folder: Path,
    *,
    sites: Mapping[str, int] | None = None,
    seed: int = 0,
    stages: Sequence[str] = STAGES,
    one_class: str | None = None,
    few_events: str | None = None,
    synthetic: bool = True,
) -> Path:
    """Write a study into `folder` and return it.

    `sites` maps a name to its number of stays, source first. `one_class` names an outcome nobody has,
    `few_events` one that only a handful have, `stages` those that have run.
    """
    sites = sites or {"mimic": 240, "ucmc": 200}
    rng = np.random.default_rng(seed)
    vocabulary = _vocabulary()
    tables = {
        site: _site(site, n, rng, vocabulary, shift=0.8 * i, one_class=one_class, few_events=few_events)
        for i, (site, n) in enumerate(sites.items())
    }
    written: dict[str, list[str]] = {stage: [] for stage in STAGES}

    def save(stage: str, path: str, frame: pl.DataFrame, schema: dict[str, pl.DataType]) -> None:
        if stage in stages:
            write_table(folder / path, frame, schema)
            written[stage].append(path)

    for site, frames in tables.items():
        for name in SITE_FILES:
            first = dict.fromkeys(("stays", "timelines", "windows", "earlier", "categories"), "tokenize")
            stage = (first | dict.fromkeys(("paths", "largest_jumps"), "evaluate")).get(name, "embed")
            save(stage, site_file(site, name), frames[name], SITE_FILES[name])
    if "tokenize" in stages:
        write_json(folder / TOKENIZER, _tokenizer(vocabulary).to_json())
        written["tokenize"].append(TOKENIZER)
    if "embed" in stages:
        write_json(folder / MAPS, _maps(list(sites), sum(sites.values())))
        save_maps(folder, _fitted_maps(next(iter(tables.values()))["hourly"], seed))
        written["embed"] += [MAPS, FITTED_MAPS]
    if "evaluate" in stages:
        predictions = _predictions(tables, rng)
        patients = pl.concat(
            frames["stays"].select(pl.lit(site).alias("test_site"), "hospitalization_id", "patient_id")
            for site, frames in tables.items()
        )
        source = next(iter(sites))
        thresholds = _thresholds(predictions.filter(test_site=pl.col("train_site"), arm="in_distribution"))
        scores = score(predictions, patients, seed=seed, n_bootstrap=100, thresholds=thresholds)
        carried = scores.metrics.filter(pl.col("metric").is_in(list(CARRIED)))
        groups = pl.concat(
            groups_of(
                frames["stays"].join(frames["dynamics"], on="hospitalization_id").filter(split="test")
            ).with_columns(pl.lit(site).alias("test_site"))
            for site, frames in tables.items()
        )
        results = {
            "predictions": predictions,
            "calibration_curves": scores.calibration_curves,
            "decision_curves": scores.decision_curves,
            "comparisons": compare(predictions.filter(train_site=source), patients),
            "reweighting": _reweighting(tables, predictions, vocabulary, seed),
            "thresholds": thresholds,
            "subsamples": pl.DataFrame(schema=RESULT_FILES["subsamples"]),
            "metrics": pl.concat(
                [
                    _metrics(predictions).select(list(RESULT_FILES["metrics"])),
                    carried,
                    by_subgroup(predictions, patients, groups),
                ],
                how="vertical_relaxed",
            ),
            "associations": _associations(tables, rng),
            "outliers": _outliers(tables, seed),
            "deciles": _deciles(tables),
            "token_types": pl.concat(
                _token_types(frames, vocabulary).with_columns(pl.lit(site).alias("site"))
                for site, frames in tables.items()
            ),
        }
        for name, frame in results.items():
            save("evaluate", result_file(name), frame, RESULT_FILES[name])
    summaries = _summaries(tables, len(vocabulary))
    manifest = Manifest(
        source=next(iter(sites)),
        sites=list(sites),
        synthetic=synthetic,
        packages={"polars": pl.__version__, "numpy": np.__version__},
        stages={
            stage: Stage(
                fingerprint=fingerprint([stage, seed, dict(sites)]),
                settings={"seed": seed},
                files={path: sha256(folder / path) for path in written[stage]},
                notes=_notes(stage, list(sites)),
                summary=summaries[stage],
            )
            for stage in STAGES
            if stage in stages
        },
    )
    write_manifest(folder, manifest)
    return folder


def break_study(folder: Path) -> Path:
    """A folder that looks like a study and is none: its manifest is cut short."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.json").write_text('{"format_version": 1, "source": "mim')
    return folder


def _vocabulary() -> dict[str, int]:
    categories = {
        f"{family}/{name}" for group in (PREFIX, EVENTS) for family, items in group.items() for name in items
    }
    return names.build(categories | {"discharge/home", "discharge/expired"}, n_bins=10)


def _tokenizer(vocabulary: dict[str, int]) -> Tokenizer:
    numeric = [token for token in vocabulary if names.family(token) in ("lab", "vital", "medication")]
    cut_points = {token: [float(x) for x in range(1, 10)] for token in ["age", *numeric]}
    return Tokenizer(TokenSettings(window_hours=HOURS), cut_points, vocabulary)


def _site(
    site: str,
    n: int,
    rng: np.random.Generator,
    vocabulary: dict[str, int],
    *,
    shift: float,
    one_class: str | None,
    few_events: str | None,
) -> dict[str, pl.DataFrame]:
    """Every table of one site; `severity` ties tokens, movement and outcomes together."""
    severity = rng.normal(size=n)
    ids = [f"{site[0]}{10_000_000 + i}" for i in rng.permutation(n)]
    stays = _stays(ids, n, rng, severity, one_class=one_class, few_events=few_events)
    timelines = _timelines(stays, rng, severity, vocabulary, shift)
    window = cut_window(timelines, vocabulary, hours=HOURS, max_tokens=1024)
    tokens = to_ragged(window["tokens"], np.int32)
    stays = stays.with_columns(n_tokens=pl.Series(tokens.lengths))

    jump = rng.gamma(4, 1.2, len(tokens.values)) * np.repeat(np.exp(0.1 * severity), tokens.lengths)
    jump[tokens.positions == 0] = 0
    jump[(tokens.positions > 0) & (tokens.positions < 6)] += 20
    information = rng.gamma(2, 0.8, len(tokens.values))
    jumps = Ragged(jump.astype(np.float32), tokens.offsets)
    first = pl.Series(tokens.positions == 0)
    long = pl.DataFrame({"row": tokens.rows, "information": information.astype(np.float32), "first": first})
    infos = long.with_columns(information=pl.when("first").then(None).otherwise("information"))
    infos = infos.group_by("row", maintain_order=True).agg("information")
    walk = np.cumsum(rng.normal(scale=0.3, size=(n, HOURS + 1, 2)), axis=1)
    walk += rng.normal(scale=2, size=(n, 1, 2)) + severity[:, None, None] + shift
    paths = _with_distances(_paths(stays, walk, severity, rng), rng, shift)
    states = rng.normal(size=(n, HOURS + 1, HIDDEN)).astype(np.float32)
    every = pl.DataFrame(
        {"hospitalization_id": ids, "jump": to_series(jumps), "information": infos["information"]}
    ).with_columns(_token_risks(stays, tokens, rng))
    dynamics = _dynamics(ids, jumps, window, rng, severity, shift)
    return {
        "stays": stays,
        "timelines": timelines,
        "windows": stays.select(
            "hospitalization_id", "n_tokens", window_hours=pl.lit(float(HOURS)), truncated=pl.lit(value=False)
        ),
        "earlier": stays.select(
            "hospitalization_id",
            pl.int_range(pl.len()).over("patient_id").alias("place"),
            pl.col("hospitalization_id").shift().over("patient_id").alias("earlier_id"),
            gap_hours=pl.lit(None, dtype=pl.Float64),
        ),
        "categories": _categories(tokens, vocabulary, n),
        "states": pl.DataFrame({"hospitalization_id": ids}).with_columns(
            state=pl.Series(states[:, -1], dtype=pl.Array(pl.Float32, HIDDEN))
        ),
        "dynamics": dynamics,
        "anomaly": _anomaly(dynamics),
        "hourly": paths.drop(pl.selectors.starts_with("risk_")).with_columns(
            state=pl.Series(states.reshape(-1, HIDDEN), dtype=pl.Array(pl.Float32, HIDDEN))
        ),
        "paths": paths,
        "jumps": every,
        "largest_jumps": largest_jumps(window, every, _tokenizer(vocabulary)),
    }


def _token_risks(stays: pl.DataFrame, tokens: Ragged, rng: np.random.Generator) -> list[pl.Series]:
    """A risk after every token; null for stays that do not count."""
    risks = []
    for name, outcome in OUTCOMES.items():
        values = to_series(Ragged(rng.random(len(tokens.values)).astype(np.float32), tokens.offsets))
        lists = pl.DataFrame({"risk": values, "counts": stays.select(outcome.counts()).to_series()})
        risks.append(lists.select(pl.when("counts").then("risk").alias(f"risk_{name}")).to_series())
    return risks


def _categories(tokens: Ragged, vocabulary: dict[str, int], n: int) -> pl.DataFrame:
    """What each event code adds up to in the window; no drift is known."""
    rows = pl.DataFrame({"id": tokens.values, "stay": tokens.rows})
    counted = rows.group_by("id").agg(pl.len().alias("events"), pl.col("stay").n_unique().alias("stays"))
    codes = [token for token in vocabulary if names.family(token) in EVENTS]
    table = pl.DataFrame({"code": codes, "id": [vocabulary[code] for code in codes]}).cast({"id": pl.Int32})
    table = table.join(counted, on="id", how="left").with_columns(pl.col("events", "stays").fill_null(0))
    none = pl.lit(None, dtype=pl.Float64)
    return table.select(
        "code",
        family=pl.col("code").str.split("/").list.first(),
        known=pl.lit(value=True),
        n_events="events",
        n_stays="stays",
        n_events_window="events",
        n_stays_window="stays",
        coverage=pl.col("stays") / n,
        n_values=pl.lit(0),
        not_numbers=pl.lit(0),
        psi=none,
        psi_noise=none,
    )


def _stays(
    ids: list[str],
    n: int,
    rng: np.random.Generator,
    severity: np.ndarray,
    *,
    one_class: str | None,
    few_events: str | None,
) -> pl.DataFrame:
    def happens(base: float) -> np.ndarray:
        return rng.random(n) < 1 / (1 + np.exp(-(base + 1.1 * severity)))

    icu, imv = happens(-1.2), happens(-2.2)
    flags = {"death": happens(-2.6), "long_los": happens(-1), "icu": icu, "imv": imv}
    early = {"icu_24h": icu & (rng.random(n) < 0.5), "imv_24h": imv & (rng.random(n) < 0.4)}
    if few_events:
        flags[few_events] &= np.arange(n) % 40 == 0
    if one_class:
        flags[one_class] = np.zeros(n, dtype=bool)
        early.pop(f"{one_class}_24h", None)
    columns = flags | {name: early.get(name, np.zeros(n, dtype=bool)) for name in ("icu_24h", "imv_24h")}
    holes = {"age": 0.02, "race": 0.1, "ethnicity": 0.2, "death": 0.02, "icu": 0.03}
    frame = pl.DataFrame(
        {
            "hospitalization_id": ids,
            "patient_id": [f"p{i}" for i in rng.integers(0, max(1, int(n / 1.6)), n)],
            "split": rng.choice(["train", "tuning", "test"], n, p=[0.6, 0.1, 0.3]),
            "age": np.clip(rng.normal(62, 16, n), 18, 95).round(1),
            "sex": rng.choice(["Female", "Male"], n),
            "race": rng.choice(["White", "Black or African American", "Asian"], n, p=[0.6, 0.3, 0.1]),
            "ethnicity": rng.choice(["Non-Hispanic", "Hispanic"], n, p=[0.85, 0.15]),
            "los_hours": np.round(24 + rng.gamma(1.5, 70, n), 1),
            "n_tokens": np.zeros(n, dtype=np.int64),
            **columns,
        }
    ).with_columns(pl.col("split").first().over("patient_id"))
    return frame.with_columns(
        pl.when(pl.Series(rng.random(n) < share)).then(None).otherwise(pl.col(column)).alias(column)
        for column, share in holes.items()
    )


def _timelines(
    stays: pl.DataFrame,
    rng: np.random.Generator,
    severity: np.ndarray,
    vocabulary: dict[str, int],
    shift: float,
) -> pl.DataFrame:
    n = len(stays)
    events = rng.poisson(np.exp(3.6 + shift + 0.4 * severity)) + 2
    categories = [f"{family}/{name}" for family, items in EVENTS.items() for name in items]
    weight = np.array([WEIGHTS[names.family(c)] / len(EVENTS[names.family(c)]) for c in categories])
    total = int(events.sum())
    kind = rng.choice([vocabulary[c] for c in categories], total, p=weight / weight.sum())
    valued_ids = [i for t, i in vocabulary.items() if names.family(t) not in ("location", "respiratory")]
    row = np.repeat(np.arange(n), events)
    minute = rng.uniform(0, 1.3 * HOURS * 60, total)
    order = np.lexsort((minute, row))
    row, minute = row[order], minute[order].astype(np.float32)
    valued = np.isin(kind, valued_ids)
    repeats = 1 + valued
    tokens = np.repeat(kind, repeats).astype(np.int32)
    second = np.concatenate(
        [[False], np.repeat(np.arange(total), repeats)[1:] == np.repeat(np.arange(total), repeats)[:-1]]
    )
    tokens[second] = vocabulary["Q0"] + rng.integers(0, 10, int(second.sum()))
    rows, minutes = np.repeat(row, repeats), np.repeat(minute, repeats)

    static = np.stack(
        [
            np.full(n, vocabulary[names.START]),
            *[
                rng.choice([vocabulary[f"{f}/{v}"] for v in PREFIX[f]], n)
                for f in ("race", "ethnicity", "sex")
            ],
            vocabulary["Q0"] + rng.integers(0, 10, n),
            rng.choice([vocabulary[f"admission/{v}"] for v in PREFIX["admission"]], n),
        ],
        axis=1,
    )
    last = np.stack([np.full(n, vocabulary["discharge/home"]), np.full(n, vocabulary[names.END])], axis=1)
    every_row = np.concatenate([np.repeat(np.arange(n), 6), rows, np.repeat(np.arange(n), 2)])
    part = np.concatenate([np.zeros(6 * n), np.ones(len(rows)), np.full(2 * n, 2)])
    values = np.concatenate([static.ravel(), tokens, last.ravel()]).astype(np.int32)
    end = np.repeat(stays["los_hours"].to_numpy() * 60, 2)
    times = np.concatenate([np.zeros(6 * n), minutes, end]).astype(np.float32)
    order = np.lexsort((np.arange(len(values)), part, every_row))
    lengths = np.bincount(every_row, minlength=n)
    return pl.DataFrame(
        {
            "hospitalization_id": stays["hospitalization_id"],
            "tokens": to_series(Ragged.from_lengths(values[order], lengths)),
            "minutes": to_series(Ragged.from_lengths(times[order], lengths)),
        }
    )


def _dynamics(
    ids: list[str],
    jumps: Ragged,
    window: pl.DataFrame,
    rng: np.random.Generator,
    severity: np.ndarray,
    shift: float,
) -> pl.DataFrame:
    n = len(ids)
    minutes = to_ragged(window["minutes"], np.float32).values
    flat = pl.DataFrame(
        {"row": jumps.rows, "jump": jumps.values, "minute": minutes, "event": jumps.positions >= 6}
    )
    event = pl.col("jump").filter(pl.col("event"))
    frame = flat.group_by("row", maintain_order=True).agg(
        path_length=pl.col("jump").sum(),
        max_jump=pl.col("jump").max(),
        mean_jump=pl.col("jump").mean(),
        event_path_length=event.sum(),
        event_max_jump=event.max(),
        max_jump_minute=pl.col("minute").filter(pl.col("event")).get(event.arg_max()),
    )
    score = 1 / (1 + np.exp(-(-0.35 + 0.25 * severity + 0.3 * shift + rng.normal(scale=0.25, size=n))))
    moved = rng.gamma(6, 3, n)
    return frame.drop("row").with_columns(
        hospitalization_id=pl.Series(ids),
        displacement=pl.Series(moved),
        tortuosity=pl.when(pl.Series(rng.random(n) < 0.03))
        .then(None)
        .otherwise(pl.col("path_length") / moved),
        speed_per_hour=pl.col("event_path_length") / HOURS,
        mean_event_jump=pl.col("event_path_length") / (pl.Series(jumps.lengths) - 6).clip(1),
        event_displacement=pl.Series(moved),
        event_tortuosity=pl.col("event_path_length") / moved,
        hourly_path_length=pl.Series(moved * rng.uniform(1, 4, n)),
        hourly_max_step=pl.Series(moved / 4),
        hourly_displacement=pl.Series(moved),
        hourly_tortuosity=pl.Series(rng.uniform(1, 4, n)),
        direction_change=pl.Series(rng.normal(100, 8, n)),
        mean_information=pl.Series(rng.gamma(20, 0.08, n)),
        anomaly_score=pl.Series(score),
        outlier=pl.Series(score > 0.5),
    )


def _anomaly(dynamics: pl.DataFrame) -> pl.DataFrame:
    """The forest's score as it is; the others follow it with noise of their own, on other scales."""
    score, rng = dynamics["anomaly_score"].to_numpy(), np.random.default_rng(len(dynamics))
    columns: dict[str, np.ndarray] = {}
    for i, name in enumerate(DETECTORS):
        own = score if name == FOREST else 10 * i * (score + rng.normal(scale=0.05 * i, size=len(score)))
        columns |= {f"{name}_score": own, f"{name}_flag": own > (0.5 if name == FOREST else 5 * i)}
    return dynamics.select("hospitalization_id").with_columns(**{k: pl.Series(v) for k, v in columns.items()})


def _paths(
    stays: pl.DataFrame, walk: np.ndarray, severity: np.ndarray, rng: np.random.Generator
) -> pl.DataFrame:
    n, hours, _ = walk.shape
    x, y = walk[..., 0].ravel(), walk[..., 1].ravel()
    frame = pl.DataFrame(
        {
            "hospitalization_id": np.repeat(stays["hospitalization_id"].to_numpy(), hours),
            "hour": np.tile(np.arange(hours), n),
            "umap_x": 5 * np.sin(x / 3) + 0.4 * y,
            "umap_y": 5 * np.cos(y / 3) - 0.4 * x,
            "pca_x": x,
            "pca_y": y,
            "step": rng.gamma(4, 1.2, n * hours),
            "travelled": rng.gamma(8, 3, n * hours),
            "n_events": rng.poisson(4, n * hours),
        }
    ).with_columns(step=pl.when(pl.col("hour") > 0).then("step"))
    counted = stays.select(
        "hospitalization_id", *(o.counts().alias(f"counts_{name}") for name, o in OUTCOMES.items())
    )
    drift = np.cumsum(rng.normal(scale=0.12, size=(n, hours)), axis=1) + 0.9 * severity[:, None]
    bases = dict(zip(OUTCOMES, (-3.4, -1.0, -1.8, -2.6), strict=True))
    frame = frame.with_columns(
        **{
            f"risk_{name}": pl.Series((1 / (1 + np.exp(-(base + drift)))).ravel())
            for name, base in bases.items()
        }
    ).join(counted, on="hospitalization_id", how="left", maintain_order="left")
    return frame.with_columns(
        pl.when(f"counts_{name}").then(pl.col(f"risk_{name}")).otherwise(None).alias(f"risk_{name}")
        for name in OUTCOMES
    ).drop(pl.selectors.starts_with("counts_"))


def _with_distances(paths: pl.DataFrame, rng: np.random.Generator, shift: float) -> pl.DataFrame:
    """How far each hour lies from the fitted states; more of a shifted site are off the map."""
    distance = pl.Series(rng.gamma(8, 0.5, len(paths)) + shift)
    return paths.with_columns(map_distance=distance, off_map=distance > OFF_MAP)


def _arms(sites: list[str]) -> list[dict[str, object]]:
    source, *targets = sites
    base = {"train_site": source, "adapt_method": "none", "adapt_fraction": 0.0, "repeat": 0}
    arms = [base | {"arm": "in_distribution", "test_site": source, "signal": 1.3}]
    for target in targets:
        arms.append(base | {"arm": "zero_shot", "test_site": target, "signal": 0.5})
        arms += [
            base
            | {
                "arm": "adapted",
                "test_site": target,
                "adapt_method": method,
                "adapt_fraction": fraction,
                "repeat": repeat,
                "signal": 0.7 + 0.4 * fraction,
            }
            for method in ("refit", "finetune")
            for fraction, repeats in ((0.05, 3), (0.25, 3), (1.0, 1))
            for repeat in range(repeats)
        ]
    for home in targets if len(targets) > 1 else []:  # every hospital to every other
        for site in sites:
            arm, signal = ("in_distribution", 1.1) if site == home else ("zero_shot", 0.6)
            arms.append(base | {"train_site": home, "arm": arm, "test_site": site, "signal": signal})
    return arms


def _thresholds(home: pl.DataFrame) -> pl.DataFrame:
    """Of every model at its home, the risk that nine in ten of those without the event lie below."""
    rows = home.group_by("model", "train_site", "outcome", maintain_order=True).agg(
        specificity=pl.lit(0.9),
        threshold=pl.col("probability").filter(~pl.col("label")).quantile(0.9),
        n=pl.len().cast(pl.Int64),
        n_events=pl.col("label").sum().cast(pl.Int64),
    )
    return rows.drop_nulls("threshold").select(list(RESULT_FILES["thresholds"]))


def _predictions(tables: dict[str, dict[str, pl.DataFrame]], rng: np.random.Generator) -> pl.DataFrame:
    """Probabilities that know the label by as much as the arm and the model allow."""
    models = {"probe": 1.0, "baseline_token_counts": 0.7, "baseline_age_sex": 0.35}
    parts = []
    for arm in _arms(list(tables)):
        signal = float(arm.pop("signal"))  # type: ignore[arg-type]
        test = tables[str(arm["test_site"])]["stays"].filter(pl.col("split") == "test")
        for outcome in OUTCOMES.values():
            counted = test.filter(outcome.counts())
            label = counted[outcome.name].to_numpy().astype(bool)
            for model, share in models.items():
                logit = -2 + share * signal * label + rng.normal(size=len(label))
                parts.append(
                    counted.select("hospitalization_id").with_columns(
                        **{name: pl.lit(value) for name, value in arm.items()},
                        model=pl.lit(model),
                        outcome=pl.lit(outcome.name),
                        label=pl.Series(label),
                        probability=pl.Series(1 / (1 + np.exp(-logit))),
                    )
                )
    return pl.concat(parts)


def _metrics(predictions: pl.DataFrame) -> pl.DataFrame:
    keys = ["model", "arm", "train_site", "test_site", "adapt_method", "adapt_fraction", "repeat", "outcome"]
    rows = []
    for key, group in predictions.group_by(keys, maintain_order=True):
        label, score = group["label"].to_numpy(), group["probability"].to_numpy()
        n, events = len(label), int(label.sum())
        auc = None
        if 0 < events < n:
            auc = float((rankdata(score)[label].sum() - events * (events + 1) / 2) / (events * (n - events)))
        half = 0.5 / np.sqrt(max(events, 1))
        brier = float(np.mean((score - label) ** 2)) if n else None
        for metric, value in (("roc_auc", auc), ("brier", brier)):
            bounds = (None, None) if value is None else (max(0.0, value - half), min(1.0, value + half))
            rows.append(
                dict(zip(keys, key, strict=True))
                | {
                    "subgroup": "all",
                    "metric": metric,
                    "estimate": value,
                    "ci_low": bounds[0],
                    "ci_high": bounds[1],
                }
                | {"n": n, "n_events": events}
            )
    return pl.DataFrame(rows, infer_schema_length=None)


def _associations(tables: dict[str, dict[str, pl.DataFrame]], rng: np.random.Generator) -> pl.DataFrame:
    pairs = [(feature, adjustment) for feature in FEATURES for adjustment in ADJUSTMENTS[:2]]
    pairs += [(feature, adjustment) for feature in JOINT for adjustment in ADJUSTMENTS[2:]]
    rows = []
    for site, frames in tables.items():
        test = frames["stays"].filter(pl.col("split") == "test")
        for outcome in OUTCOMES.values():
            counted = test.filter(outcome.counts())
            events = int(counted[outcome.name].sum() or 0)
            usable = 0 < events < len(counted)
            for feature, adjustment in pairs:
                value = float(rng.normal(0.3, 0.4))
                width = float(rng.uniform(0.1, 0.6))
                rows.append(
                    {
                        "site": site,
                        "outcome": outcome.name,
                        "feature": feature,
                        "adjustment": adjustment,
                        "coefficient": value if usable else None,
                        "ci_low": value - width if usable else None,
                        "ci_high": value + width if usable else None,
                        "p_value": 0.04 if usable else None,
                        "n": len(counted),
                        "n_events": events,
                        "sd": 2.0,
                        "vif": 1.5 if usable else None,
                        "paper_coefficient": 0.4 if adjustment == "joint" and site in PAPER_SITES else None,
                    }
                )
    return pl.DataFrame(rows, infer_schema_length=None)


def _outliers(tables: dict[str, dict[str, pl.DataFrame]], seed: int) -> pl.DataFrame:
    """The figures themselves, from few resamples: they need no model."""
    tests = {}
    for site, frames in tables.items():
        frame = frames["stays"].join(frames["anomaly"], on="hospitalization_id").filter(split="test")
        n = frame.height
        nothing = Ragged.from_lengths(np.zeros(0, dtype=np.int32), np.zeros(n, dtype=np.int64))
        tests[site] = Stays(site, frame.sort("hospitalization_id"), np.zeros((n, 1)), nothing)
    return describe_outliers(tests, seed=seed, n_bootstrap=120)[0]


def _reweighting(
    tables: dict[str, dict[str, pl.DataFrame]],
    predictions: pl.DataFrame,
    vocabulary: dict[str, int],
    seed: int,
) -> pl.DataFrame:
    """The figures themselves, from few resamples."""
    tests = {}
    for site, frames in tables.items():
        window = cut_window(frames["timelines"], vocabulary, hours=HOURS, max_tokens=1024)
        frame = frames["stays"].join(window, on="hospitalization_id").sort("hospitalization_id")
        tokens, nothing = to_ragged(frame["tokens"], np.int32), np.zeros((frame.height, 1))
        tests[site] = Stays(site, frame.drop("tokens", "minutes"), nothing, tokens).split("test")
    size = len(vocabulary)
    source = next(iter(tables))
    return reweight(
        tests, predictions, OUTCOMES, source=source, vocabulary_size=size, seed=seed, n_bootstrap=120
    )[0]


def _deciles(tables: dict[str, dict[str, pl.DataFrame]]) -> pl.DataFrame:
    parts = []
    for site, frames in tables.items():
        frame = frames["stays"].join(frames["dynamics"], on="hospitalization_id")
        nothing = Ragged(np.zeros(0), np.zeros(len(frame) + 1, dtype=np.int64))
        test = Stays(site, frame, np.zeros((len(frame), 1)), nothing).split("test")
        parts += [deciles(test, outcome) for outcome in OUTCOMES.values()]
    return pl.concat(parts)


def _token_types(frames: dict[str, pl.DataFrame], vocabulary: dict[str, int]) -> pl.DataFrame:
    test = frames["stays"].filter(pl.col("split") == "test")
    window = cut_window(frames["timelines"], vocabulary, hours=HOURS, max_tokens=1024)
    tested = window.join(test, on="hospitalization_id", how="semi")
    return token_types(tested, frames["jumps"], _tokenizer(vocabulary))


def _maps(sites: list[str], n: int) -> dict[str, object]:
    two = len(sites) > 1

    def quality(fidelity: float, auc: float) -> dict[str, float | None]:
        return {
            "step_fidelity": fidelity,
            "trustworthiness": 0.96,
            "neighbour_overlap": 0.31,
            "site_auc_2d": auc if two else None,
            "site_auc_full": 0.99 if two else None,
            "off_map_share": {site: round(0.01 + 0.1 * i, 4) for i, site in enumerate(sites)},
        }

    fitted = {
        "n_fitted": n * (HOURS + 1),
        "seed": 0,
        "versions": {"umap-learn": "0.5.12", "scikit-learn": "1.9.1"},
    }
    return {
        "fitted_on": f"hourly states of the training split of {sites[0]}",
        "n_fitted": n * (HOURS + 1),
        "hidden_size": HIDDEN,
        "n_components": HIDDEN,
        "off_map_beyond": {"distance": OFF_MAP, "quantile": 0.99, "measured_on": "tuning split"},
        "pca": fitted
        | {
            "x_range": [-8.0, 9.0],
            "y_range": [-8.0, 9.0],
            "explained_variance": [0.31, 0.12],
            "kept_variance": 1.0,
            "quality": quality(0.88, 0.96) | {"variance_share": 0.43},
        },
        "umap": fitted
        | {
            "x_range": [-8.0, 8.0],
            "y_range": [-8.0, 8.0],
            "n_neighbors": 15,
            "min_dist": 0.1,
            "quality": quality(0.27, 0.71),
        },
    }


def _fitted_maps(hourly: pl.DataFrame, seed: int) -> Maps:
    """Maps that place a state of the source where `hourly` has it on the UMAP."""
    states = hourly["state"].to_numpy().astype(np.float32)
    projection = fit_projection(states)
    placed = hourly.select(pl.col("umap_x", "umap_y").cast(pl.Float32)).to_numpy()
    return Maps(projection, projection.points(states), placed, seed, limit=OFF_MAP, limit_from="tuning split")


def _summaries(tables: dict[str, dict[str, pl.DataFrame]], size: int) -> dict[str, dict[str, object]]:
    sites = {}
    for i, (site, frames) in enumerate(tables.items()):
        stays = frames["stays"]
        mean = float(stays["n_tokens"].mean() or 0)  # type: ignore[arg-type]
        sites[site] = {
            "n_stays": len(stays),
            "n_patients": stays["patient_id"].n_unique(),
            "mean_tokens": mean,
            "families": {family: mean * share * (1 + 0.3 * i) for family, share in WEIGHTS.items()},
        }
    pretrain = {
        "parameters": 1_234_567,
        "tuning_loss": 2.41,
        "unigram_nats": 3.42,
        "bigram_nats": 2.77,
        "uniform_nats": float(np.log(size)),
        "steps": 900,
        "best_step": 900,
        "epochs": 3.0,
        "train_tokens": 50_000,
        "curve": [
            {"step": float(step), "train_loss": 2.4 + 90 / step, "tuning_loss": 2.41 + 100 / step - 100 / 900}
            for step in range(75, 901, 75)
        ],
    }
    return {
        "tokenize": {"sites": sites, "vocabulary_size": size},
        "pretrain": pretrain,
        "embed": {},
        "evaluate": {},
    }


def _notes(stage: str, sites: list[str]) -> list[str]:
    notes = {
        "tokenize": [f"{sites[0]}: 3 stays had no event in the window and were left out."],
        "evaluate": [
            "In-hospital death has few events in the test split: read its interval, not its estimate."
        ],
    }
    return notes.get(stage, [])


def main() -> None:
    """Write one study from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--site", action="append", default=[], metavar="NAME=N")
    parser.add_argument("--one-class")
    parser.add_argument("--few-events")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    sites = {name: int(n) for name, _, n in (item.partition("=") for item in args.site)}
    make_study(args.out, sites=sites, seed=args.seed, one_class=args.one_class, few_events=args.few_events)


if __name__ == "__main__":
    main()
