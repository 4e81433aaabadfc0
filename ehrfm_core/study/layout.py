"""Where the files of a study lie and which columns they hold.

This is the contract between the stages, the command line and the dashboard: paths are relative to
the study's folder, columns are checked whenever a file is written or read.
"""

from __future__ import annotations

import re

import polars as pl

from ehrfm_core.dynamics.detector_names import DETECTORS
from ehrfm_core.outcomes import OUTCOMES, Outcomes, early

FORMAT_VERSION = 1
MANIFEST = "study.json"
TOKENIZER = "tokenizer.json"
MODEL = "model"
WEIGHTS = f"{MODEL}/model.safetensors"
CARD = f"{MODEL}/README.md"  # dated, so not hashed
TRAINING = "training"  # of the run, not hashed: there while it goes on, and may be deleted after it
RUN = f"{TRAINING}/run.json"
RUN_CURVE = f"{TRAINING}/metrics.jsonl"
MAPS = "results/maps.json"
FITTED_MAPS = "results/maps.safetensors"
PROBES = "results/probes.json"
LOG = "log.jsonl"
LOCK = "study.lock"  # there while a run writes the study
SITE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
STAGES = ("tokenize", "pretrain", "embed", "evaluate")
MORE_STAGES = ("redact",)  # asked for by a command of their own, after the others
ALL_STAGES = (*STAGES, *MORE_STAGES)

Schema = dict[str, pl.DataType]

_ID: Schema = {"hospitalization_id": pl.String()}

_COORDINATES: Schema = {
    "hour": pl.Int32(),  # 0 … window
    "umap_x": pl.Float32(),
    "umap_y": pl.Float32(),
    "pca_x": pl.Float32(),
    "pca_y": pl.Float32(),
    "map_distance": pl.Float32(),  # mean to the 15 nearest fitted states, in the space of the components
    "off_map": pl.Boolean(),  # farther than 99 % of the source's held-out states; both null without a UMAP
    "step": pl.Float32(),  # full-space distance to the state an hour before; null at hour 0
    "travelled": pl.Float32(),  # sum of the jumps of the events in that hour
    "n_events": pl.Int32(),  # tokens of events in that hour
}

SITE_FILES: dict[str, Schema] = {
    "stays": _ID
    | {
        "patient_id": pl.String(),
        "split": pl.String(),  # train, tuning, test
        "age": pl.Float64(),  # years at admission
        "sex": pl.String(),
        "race": pl.String(),
        "ethnicity": pl.String(),
        "los_hours": pl.Float64(),
        "n_tokens": pl.Int64(),  # tokens in the window, static prefix included
        "death": pl.Boolean(),
        "long_los": pl.Boolean(),
        "icu": pl.Boolean(),  # ever in this stay
        "imv": pl.Boolean(),
        "icu_24h": pl.Boolean(),  # already within the window
        "imv_24h": pl.Boolean(),
    },
    "timelines": _ID | {"tokens": pl.List(pl.Int32()), "minutes": pl.List(pl.Float32())},
    # one row a (stay, window): how many tokens the window holds, static prefix included, before it is cut off
    "windows": _ID
    | {
        "window_hours": pl.Float64(),  # null: the whole stay
        "n_tokens": pl.Int64(),
        "truncated": pl.Boolean(),  # more than the longest window; the last token kept is TRUNC
    },
    # one row a stay; of the study's stays alone
    "earlier": _ID
    | {
        "place": pl.Int32(),  # of the stay among the patient's, from 0, by start
        "earlier_id": pl.String(),  # the patient's last stay that had ended when this one began
        "gap_hours": pl.Float64(),  # from its end to this start
    },
    # one row a code of the source or of the site
    "categories": {
        "code": pl.String(),  # family/name
        "family": pl.String(),
        "known": pl.Boolean(),  # in the vocabulary; else its events are UNK
        "n_events": pl.Int64(),  # in whole stays
        "n_stays": pl.Int64(),
        "n_events_window": pl.Int64(),
        "n_stays_window": pl.Int64(),
        "coverage": pl.Float64(),  # share of stays that have it in the window
        "n_values": pl.Int64(),  # events with a bin
        "not_numbers": pl.Int64(),  # values that were NaN, infinite or text
        # population stability index of the bins against the source's training split (the source's: its other
        # stays), and what chance alone would give on average; null without values
        "psi": pl.Float64(),
        "psi_noise": pl.Float64(),
    },
    "states": _ID,  # and `state`, a float array whose width is the model's hidden size
    "dynamics": _ID
    | {
        "path_length": pl.Float64(),  # the paper's: every jump of the window, static prefix included
        "max_jump": pl.Float64(),
        "mean_jump": pl.Float64(),
        "displacement": pl.Float64(),
        "tortuosity": pl.Float64(),
        "speed_per_hour": pl.Float64(),
        "mean_information": pl.Float64(),  # nats
        "anomaly_score": pl.Float64(),
        "outlier": pl.Boolean(),
        "event_path_length": pl.Float64(),  # the same two without the static prefix
        "event_max_jump": pl.Float64(),
        "max_jump_minute": pl.Float64(),  # when the largest event jump happened; null without events
        "mean_event_jump": pl.Float64(),
        "event_displacement": pl.Float64(),  # from the end of the static prefix
        "event_tortuosity": pl.Float64(),
        "hourly_path_length": pl.Float64(),  # over the states at every full hour
        "hourly_max_step": pl.Float64(),
        "hourly_displacement": pl.Float64(),
        "hourly_tortuosity": pl.Float64(),
        "direction_change": pl.Float64(),  # degrees
    },
    # higher is stranger; null where the detector could not be fitted
    "anomaly": _ID
    | {
        f"{name}_{part}": dtype
        for name in DETECTORS
        for part, dtype in (("score", pl.Float32()), ("flag", pl.Boolean()))
    },
    # what `paths` is made of once there are probes: the same rows with `state`, R at that hour, in Float16
    "hourly": _ID | _COORDINATES,
    "paths": _ID | _COORDINATES | {f"risk_{name}": pl.Float32() for name in OUTCOMES},
    # risks are null where the stay does not count for the outcome or there is no probe
    "jumps": _ID
    | {"jump": pl.List(pl.Float32()), "information": pl.List(pl.Float32())}  # first: 0 and null
    | {f"risk_{name}": pl.List(pl.Float32()) for name in OUTCOMES},  # after every token
    # per stay the events' tokens with the largest jumps, one row each
    "largest_jumps": _ID
    | {
        "rank": pl.Int32(),  # from 1, the largest
        "position": pl.Int32(),  # in the window, from 0
        "minute": pl.Float32(),  # since the stay's start
        "token": pl.String(),
        "family": pl.String(),  # what it is about: a value belongs to the category before it
        "name": pl.String(),
        "bin": pl.Int32(),
        "answer": pl.String(),
        "jump": pl.Float32(),
        "information": pl.Float32(),  # nats
    }
    | {f"change_{name}": pl.Float32() for name in OUTCOMES},  # risk after the token − risk before it
}

_ARM: Schema = {
    "model": pl.String(),  # probe, baseline_token_counts, …
    "arm": pl.String(),  # in_distribution, zero_shot, adapted
    "train_site": pl.String(),
    "test_site": pl.String(),
    "adapt_method": pl.String(),  # none, or of evaluation/adaptation.py, finetune, pretrain, scratch
    "adapt_fraction": pl.Float64(),
    "repeat": pl.Int32(),
    "outcome": pl.String(),
}

# written when asked for
MORE_SITE_FILES: dict[str, Schema] = {
    # with `embed --whole-stay`: one row a (stay, hour) after the window, up to the stay's last event. `step`
    # is null where the state an hour before is out of the model's sight, risks where a stay does not count
    "later": _ID | _COORDINATES | {f"risk_{name}": pl.Float32() for name in OUTCOMES},
}

_COMPARED: Schema = {
    "model": pl.String(),
    "arm": pl.String(),
    "adapt_method": pl.String(),
    "adapt_fraction": pl.Float64(),
}

RESULT_FILES: dict[str, Schema] = {
    "metrics": _ARM
    | {
        "subgroup": pl.String(),
        "metric": pl.String(),  # of evaluation/run_measures.METRICS
        "estimate": pl.Float64(),
        "ci_low": pl.Float64(),
        "ci_high": pl.Float64(),
        "n": pl.Int64(),
        "n_events": pl.Int64(),
    },
    "predictions": _ID | _ARM | {"label": pl.Boolean(), "probability": pl.Float64()},
    # of the first repeat of every arm: how often the event happens where so much is predicted
    "calibration_curves": _ARM
    | {
        "predicted": pl.Float64(),  # quantiles of the predictions
        "observed": pl.Float64(),  # the smooth curve there
        "ci_low": pl.Float64(),  # pointwise, resampling patients
        "ci_high": pl.Float64(),
    },
    "decision_curves": _ARM
    | {
        "threshold": pl.Float64(),
        "net_benefit": pl.Float64(),  # of acting where so much or more is predicted; of nobody it is 0
        "ci_low": pl.Float64(),
        "ci_high": pl.Float64(),
        "everybody": pl.Float64(),  # of acting on all
    },
    # one row a (model, training site, outcome): the threshold that unchanged models carry to other hospitals
    "thresholds": {
        "model": pl.String(),
        "train_site": pl.String(),
        "outcome": pl.String(),
        "specificity": pl.Float64(),  # at least so much on the training site's tuning split
        "threshold": pl.Float64(),
        "n": pl.Int64(),
        "n_events": pl.Int64(),
    },
    # the source's probe at home, at home with stays weighted to look like the target, and at the target
    "reweighting": {
        "site": pl.String(),  # the target
        "outcome": pl.String(),
        "characteristics": pl.String(),  # of evaluation/propensity.CHARACTERISTICS
        "quantity": pl.String(),  # home, home_reweighted, zero_shot, gap, explained, remaining
        "estimate": pl.Float64(),  # ROC-AUC or a difference of two
        "ci_low": pl.Float64(),
        "ci_high": pl.Float64(),
        "n": pl.Int64(),  # of the target for zero_shot, else of home
        "n_events": pl.Int64(),
        "effective_n": pl.Float64(),  # what home's stays tell once weighted
        "propensity_auc": pl.Float64(),  # how well the characteristics tell the two hospitals apart
    },
    # one row a (target, repeat, patient): from which share of the training split on a patient is drawn
    "subsamples": {
        "site": pl.String(),
        "repeat": pl.Int32(),
        "patient_id": pl.String(),
        "enters": pl.Float64(),
    },
    # pairs of runs on the same stays
    "comparisons": {
        "test_site": pl.String(),
        "outcome": pl.String(),
        **{f"first_{name}": dtype for name, dtype in _COMPARED.items()},
        **{f"second_{name}": dtype for name, dtype in _COMPARED.items()},
        "difference": pl.Float64(),  # AUC of the first − AUC of the second
        "ci_low": pl.Float64(),
        "ci_high": pl.Float64(),
        "p_value": pl.Float64(),  # DeLong's, stays of a patient taken together
        "p_holm": pl.Float64(),  # the same pair over all outcomes of the site
        "n": pl.Int64(),
        "n_events": pl.Int64(),
    },
    "associations": {
        "site": pl.String(),
        "outcome": pl.String(),
        "feature": pl.String(),  # a measure of the path, see evaluation/features.py
        "adjustment": pl.String(),  # unadjusted, tokens_age_sex, joint, joint_tokens_age_sex
        "coefficient": pl.Float64(),  # log-odds per 1 SD
        "ci_low": pl.Float64(),
        "ci_high": pl.Float64(),
        "p_value": pl.Float64(),
        "n": pl.Int64(),
        "n_events": pl.Int64(),
        "sd": pl.Float64(),  # of the feature: coefficient / sd is log-odds per raw unit
        "vif": pl.Float64(),  # variance inflation within that regression
        # as the paper prints it, beside its own joint rows: per raw unit of its model's space, so of its
        # sign and significance only can it be said whether they are the same
        "paper_coefficient": pl.Float64(),
    },
    # one row a (site, outcome, feature, tenth of the test stays that count); ties leave fewer than ten
    "deciles": {
        "site": pl.String(),
        "outcome": pl.String(),
        "feature": pl.String(),
        "decile": pl.Int32(),  # 1 … 10
        "low": pl.Float64(),  # least and greatest value in it
        "high": pl.Float64(),
        "n": pl.Int64(),
        "n_events": pl.Int64(),
        "rate": pl.Float64(),
        "ci_low": pl.Float64(),  # Wilson, 95 %
        "ci_high": pl.Float64(),
        "mean_tokens": pl.Float64(),  # the confounder
    },
    # one row a (site, family of tokens) and one a (site, family, name), over the windows of the test split
    "token_types": {
        "site": pl.String(),
        "family": pl.String(),  # `prefix` for the static prefix
        "name": pl.String(),  # within the family; null: the whole family
        "prefix": pl.Boolean(),
        "n_tokens": pl.Int64(),
        "n_stays": pl.Int64(),  # with such a token
        "mean_jump": pl.Float64(),
        "median_jump": pl.Float64(),
        "p90_jump": pl.Float64(),
        "mean_information": pl.Float64(),  # nats
        "median_information": pl.Float64(),
        "p90_information": pl.Float64(),
        "path_share": pl.Float64(),  # of the sum of all jumps, the prefix's among them
        "information_share": pl.Float64(),
    },
    # of the test split; what each measure is stands in evaluation/outliers.py
    "outliers": {
        "site": pl.String(),
        "detector": pl.String(),  # of detector_names.DETECTORS, or n_tokens: the amount of charting alone
        "outcome": pl.String(),  # null where the measure is not of an outcome
        "label": pl.Boolean(),  # of the stays measured; null: of all
        "measure": pl.String(),
        "estimate": pl.Float64(),
        "ci_low": pl.Float64(),
        "ci_high": pl.Float64(),
        "n": pl.Int64(),
        "n_events": pl.Int64(),
    },
}

# written when asked for, by a stage of its own
MORE_RESULT_FILES: dict[str, Schema] = {
    "redaction": {
        "site": pl.String(),
        "outcome": pl.String(),
        "dropped": pl.String(),  # none, most, least (events of most or least information), random
        "share": pl.Float64(),  # of the events of each stay
        "repeat": pl.Int32(),
        "roc_auc": pl.Float64(),  # of the source's probe on the states of what is left
        "change": pl.Float64(),  # against nothing dropped, on the same stays; null where nothing is
        "ci_low": pl.Float64(),  # of the change, resampling patients
        "ci_high": pl.Float64(),
        "n": pl.Int64(),
        "n_events": pl.Int64(),
    },
}


def site_schema(name: str, outcomes: Outcomes) -> Schema:
    """Columns of a site's table, with those of outcomes beyond the paper's.

    >>> from ehrfm_core.outcomes import with_own
    >>> more = with_own([{"name": "crrt", "label": "CRRT", "definition": "…"}])
    >>> list(site_schema("stays", more))[-2:]
    ['crrt', 'crrt_24h']
    """
    known = SITE_FILES | MORE_SITE_FILES
    schema = dict(known[name])
    for own in outcomes:
        if own in OUTCOMES:
            continue
        if name == "stays":
            schema |= {own: pl.Boolean(), early(own): pl.Boolean()}
        for prefix in ("risk_", "change_"):
            if like := schema.get(f"{prefix}{next(iter(OUTCOMES))}"):
                schema[f"{prefix}{own}"] = like
    return schema


def site_file(site: str, name: str) -> str:
    """Relative path of a site's file, e.g. `sites/mimic/stays.parquet`."""
    return f"sites/{site}/{name}.parquet"


def result_file(name: str) -> str:
    """Relative path of a result file, e.g. `results/metrics.parquet`."""
    return f"results/{name}.parquet"
