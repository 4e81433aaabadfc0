"""Part of stage 4: the source's model pretrained further on local stays, and one that has seen no others.

After either, states are read anew and probes fitted on them: adaptation of the representation itself, not of
what is read from it. Finished runs are kept until the stage is done. In a study with `history` local stays
are trained on one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl
from transformers import LlamaForCausalLM

from ehrfm_core.clif.tables import ID
from ehrfm_core.dynamics.forward import Forward
from ehrfm_core.dynamics.states import last_states
from ehrfm_core.errors import UserError
from ehrfm_core.evaluation.adaptation import Draw, best_of, coarse, draws, entries
from ehrfm_core.evaluation.arms import rows_of
from ehrfm_core.evaluation.probes import Labelled, Probe, enough, fit_probe
from ehrfm_core.model.checkpoint import load
from ehrfm_core.model.local import LocalSettings, train_locally
from ehrfm_core.ragged import Ragged
from ehrfm_core.study.files import fingerprint, write_table
from ehrfm_core.study.layout import RESULT_FILES
from ehrfm_core.study.reader import Study
from ehrfm_core.study.windows import Windows, read_windows
from ehrfm_core.tokens.tokenizer import Tokenizer
from ehrfm_core.tokens.window import to_ragged
from train.progress import progress_bar

SCHEMA = RESULT_FILES["predictions"]
SMALL = 0.05  # shares of up to so much are drawn in every repeat, larger ones once: a run is dear
HOME_STAYS = 500  # of the source, at most, that probes on new states are fitted on together with local ones


def locally_trained(
    study: Study,
    probes: Mapping[str, Probe],
    settings: LocalSettings,
    *,
    repeats: int,
    seed: int,
    device: str,
    bf16: bool,
    kept: Path,
    identity: str,
) -> pl.DataFrame:
    """Rows of predictions.parquet: the model `probe`, adapted by "pretrain" and by "scratch".

    `kept` is the folder of finished runs, `identity` says of what they are.
    """
    parts = [pl.DataFrame(schema=SCHEMA)]
    if not probes or not settings.methods or len(study.sites) == 1:
        return parts[0]
    tokenizer = Tokenizer.from_json(study.tokenizer())
    trained = study.manifest.stages["pretrain"].settings
    home = read_windows(study, study.source, tokenizer)
    runs = _Runs(
        study, tokenizer, probes, settings, home, trained["size"], seed, device, bf16, kept, identity
    )
    for site in study.sites[1:]:
        parts += runs.site(site, repeats=repeats)
    return pl.concat(parts)


@dataclass(frozen=True, eq=False)
class _Runs:
    study: Study
    tokenizer: Tokenizer
    probes: Mapping[str, Probe]  # the source's
    settings: LocalSettings
    home: Windows
    size: str
    seed: int
    device: str
    bf16: bool
    kept: Path
    identity: str

    def site(self, name: str, *, repeats: int) -> Iterator[pl.DataFrame]:
        """Every method on the draws of one target's training split."""
        window = read_windows(self.study, name, self.tokenizer)
        stays = window.stays.filter(pl.col("split") == "train")
        if not stays.height or not window.split("test").any():
            return
        drawn = draws(stays, entries(stays, site=name, repeats=repeats, seed=self.seed))
        chosen = [draw for draw in drawn if draw.repeat == 0 or draw.fraction <= SMALL]
        work = [(method, draw) for method in self.settings.methods for draw in chosen]
        start = load(self.study.model(), device=self.device)
        timelines = self.study.site_table(name, "timelines").sort(ID)
        whole = to_ragged(timelines["tokens"], np.int64)
        with progress_bar(f"pretrain at {name}", " runs") as bar:
            for done, (method, draw) in enumerate(work, 1):
                run = {"method": method, "fraction": draw.fraction, "repeat": draw.repeat}
                named = [self.identity, asdict(self.settings), name, run]
                path = self.kept / f"{fingerprint(named)[:16]}.parquet"
                frame = _read(path)
                if frame is None:
                    frame = self._run(method, draw, window, whole, start)
                    write_table(path, frame, SCHEMA)
                bar(done, len(work), "")
                yield frame

    def _run(
        self, method: str, draw: Draw, window: Windows, whole: Ragged, start: LlamaForCausalLM
    ) -> pl.DataFrame:
        """Train, read states anew, and predict the test split."""
        local = np.flatnonzero(window.split("train"))[draw.rows]
        tuning = np.flatnonzero(window.split("tuning"))
        try:
            model = train_locally(
                start if method == "pretrain" else None,
                whole.take(local),
                whole.take(tuning),
                self.tokenizer.vocabulary,
                self.settings,
                size=self.size,
                max_tokens=self.tokenizer.settings.max_tokens,
                seed=self.seed + draw.repeat,
                device=self.device,
                bf16=self.bf16,
            ).model
        except UserError as error:
            raise UserError(f"{window.site}: {error}") from None
        model.set_attn_implementation("sdpa")
        forward = Forward(model.eval(), device=self.device, bf16=self.bf16)
        read = _States(forward, window)
        if method == "scratch":
            found = self._alone(read, window, local)
        else:
            found = self._chosen(forward, read, window, local, tuning)
        test = np.flatnonzero(window.split("test"))
        parts = [pl.DataFrame(schema=SCHEMA)]
        before = self._states(window)
        new = read(test) if any(fresh for fresh, _ in found.values()) else before[test]
        for name, (fresh, probe) in found.items():
            known, labels = _counted(window, name, test)
            states = new[known] if fresh else before[test[known]]
            probability = probe.probability(states)
            if draw.fraction < 1:
                probability = coarse(probability)
            constant: dict[str, object] = {"model": "probe", "arm": "adapted"}
            constant |= {"train_site": self.study.source, "test_site": window.site, "adapt_method": method}
            constant |= {"adapt_fraction": draw.fraction, "repeat": draw.repeat, "outcome": name}
            ids = window.stays[ID].gather(test[known])
            parts.append(rows_of(ids, labels, probability, constant))
        return pl.concat(parts)

    def _alone(self, read: _States, window: Windows, local: np.ndarray) -> dict[str, tuple[bool, Probe]]:
        """Probes on the states of a model that has seen local stays alone; none where there are too few."""
        states = read(local)
        found = {}
        for name in self.probes:
            known, labels = _counted(window, name, local)
            if enough(labels):
                found[name] = (True, fit_probe(states[known], labels)[0])
        return found

    def _chosen(
        self, forward: Forward, read: _States, window: Windows, local: np.ndarray, tuning: np.ndarray
    ) -> dict[str, tuple[bool, Probe]]:
        """For each outcome whether the new states are read, and the probe: clearly the best on tuning."""
        if not len(tuning):
            return {name: (False, source) for name, source in self.probes.items()}
        at_home = self._some_at_home()
        home_states, local_states, tuning_states = (
            _States(forward, self.home)(at_home),
            read(local),
            read(tuning),
        )
        before = self._states(window)[tuning]
        found = {}
        for name, source in self.probes.items():
            held, wanted = _counted(window, name, tuning)
            choices = [source, *self._probes(name, window, (at_home, home_states), (local, local_states))]
            predicted = [source.probability(before[held])]
            predicted += [probe.probability(tuning_states[held]) for probe in choices]
            patients = window.stays["patient_id"].gather(tuning[held]).to_numpy()
            best = best_of(wanted, predicted, patients)
            found[name] = (True, choices[best - 1]) if best else (False, source)
        return found

    def _probes(
        self,
        name: str,
        window: Windows,
        home: tuple[np.ndarray, np.ndarray],
        local: tuple[np.ndarray, np.ndarray],
    ) -> list[Probe]:
        """Fitted on new states: local ones alone, and with some of the source's."""
        (own, own_labels), (known, labels) = (
            _counted(where, name, rows) for where, (rows, _) in ((self.home, home), (window, local))
        )
        alone: Labelled = (local[1][known], labels)
        both: Labelled = (
            np.concatenate([home[1][own], alone[0]]),
            np.concatenate([own_labels, labels]),
        )
        return [fit_probe(*data)[0] for data in (alone, both) if enough(data[1])]

    def _some_at_home(self) -> np.ndarray:
        rows = np.flatnonzero(self.home.split("train"))
        if len(rows) <= HOME_STAYS:
            return rows
        return np.sort(np.random.default_rng(self.seed).choice(rows, HOME_STAYS, replace=False))

    def _states(self, window: Windows) -> np.ndarray:
        """States of the source's model, as they are in the study; rows as in `window`."""
        states = self.study.site_table(window.site, "states").sort(ID)
        assert states[ID].equals(window.stays[ID]), "states and stays hold the same ids"
        return states["state"].to_numpy()


@dataclass(frozen=True, eq=False)
class _States:
    """States at the end of the windows of some rows."""

    forward: Forward
    window: Windows

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        tokens, context = self.window.tokens.take(rows), self.window.context.take(rows)
        return last_states(self.forward, tokens, context=context)


def _counted(window: Windows, name: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which of `rows` count for an outcome (places in `rows`), and their labels."""
    stays = window.stays[rows]
    known = np.flatnonzero(stays.select(window.outcomes[name].counts()).to_series().to_numpy())
    return known, stays[name].gather(known).to_numpy().astype(bool)


def _read(path: Path) -> pl.DataFrame | None:
    try:
        return pl.read_parquet(path, glob=False)
    except (OSError, pl.exceptions.PolarsError):
        return None
