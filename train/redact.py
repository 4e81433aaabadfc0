"""The stage asked for by `python -m train redact`: how far the probes live on events of much information."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import polars as pl

from ehrfm_core import __version__
from ehrfm_core.clif.tables import ID
from ehrfm_core.dynamics.forward import Forward
from ehrfm_core.dynamics.redaction import Dropped, event_begins, redact
from ehrfm_core.dynamics.states import last_states
from ehrfm_core.evaluation.probes import Probe
from ehrfm_core.evaluation.redaction import NOTHING, Redacted, redaction_rows
from ehrfm_core.model.checkpoint import load
from ehrfm_core.model.hardware import bf16_pays
from ehrfm_core.ragged import Ragged
from ehrfm_core.study.files import read_json, write_table
from ehrfm_core.study.layout import MORE_RESULT_FILES, PROBES, result_file
from ehrfm_core.study.manifest import Manifest
from ehrfm_core.study.reader import Study, open_study
from ehrfm_core.study.windows import read_windows
from ehrfm_core.study.writer import StageResult, inputs_of
from ehrfm_core.tokens.tokenizer import Tokenizer
from ehrfm_core.tokens.window import to_ragged
from train.progress import progress_bar
from train.stages import run_stage

NAME = "redaction"


def redact_study(
    folder: Path, manifest: Manifest, *, shares: Sequence[float], seed: int, n_bootstrap: int, device: str
) -> bool:
    """Run the stage: test stays without a share of their events, as the source's probes see them."""
    shares = sorted(set(shares))
    settings = {"shares": shares, "seed": seed, "n_bootstrap": n_bootstrap, "version": __version__}
    inputs = inputs_of(folder, manifest, "redact")
    bf16 = manifest.stages["embed"].summary.get("precision") == "bf16" and bf16_pays(device)

    def work(staged: Path) -> StageResult:
        study = open_study(folder)
        tokenizer = Tokenizer.from_json(study.tokenizer())
        probes = {name: Probe.from_json(parts) for name, parts in read_json(study.file(PROBES)).items()}
        forward = Forward(load(study.model(), device=device), device=device, bf16=bf16)
        result = StageResult([result_file(NAME)])
        tables = [pl.DataFrame(schema=MORE_RESULT_FILES[NAME])]
        for site in study.sites:
            stays, states = _states(study, site, tokenizer, forward, shares, seed)
            if stays.height:
                tables.append(
                    redaction_rows(
                        site, stays, states, probes, study.outcomes, seed=seed, n_bootstrap=n_bootstrap
                    )
                )
            else:
                result.notes.append(f"{site} has no stay in its test split: nothing to leave events out of.")
        write_table(staged / result_file(NAME), pl.concat(tables), MORE_RESULT_FILES[NAME])
        return result

    return run_stage(folder, manifest, "redact", settings=settings, inputs=inputs, work=work)


def _states(
    study: Study,
    site: str,
    tokenizer: Tokenizer,
    forward: Forward,
    shares: Sequence[float],
    seed: int,
) -> tuple[pl.DataFrame, dict[Redacted, np.ndarray]]:
    """The test stays of a site, and their states with events left out in every way."""
    window = read_windows(study, site, tokenizer)
    rows = np.flatnonzero(window.split("test"))
    stays = window.stays[rows]
    if not len(rows):
        return stays, {}
    jumps = study.site_table(site, "jumps").sort(ID)
    assert jumps[ID].equals(window.stays[ID]), "jumps and stays hold the same ids"
    information = to_ragged(jumps["information"].list.eval(pl.element().fill_null(0.0)), np.float32).take(
        rows
    )
    tokens, minutes, context = (x.take(rows) for x in (window.tokens, window.minutes, window.context))
    begins = event_begins(tokens, tokenizer.vocabulary, prefix=window.prefix)
    ways: list[Redacted] = [NOTHING, *((how, share, 0) for how in get_args(Dropped) for share in shares)]
    states = {}
    with progress_bar(f"redact {site}", " passes") as bar:
        for done, (how, share, repeat) in enumerate(ways, 1):
            left: Ragged = tokens
            if how != "none":
                left, _ = redact(
                    tokens,
                    minutes,
                    information,
                    begins,
                    share=share,
                    dropped=how,  # type: ignore[arg-type]
                    seed=seed,
                    prefix=window.prefix,
                )
            states[how, share, repeat] = last_states(forward, left, context=context)
            bar(done, len(ways), "")
    return stays, states
