"""What must not be known at the cut: checks on the windows, the splits and what was drawn for training.

Whether cut points come from the source's training split cannot be checked from a study, which holds bins and
no values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from ehrfm_core.outcomes import Outcomes
from ehrfm_core.small_cells import MIN_CELL
from ehrfm_core.study.layout import result_file, site_file
from ehrfm_core.study.reader import Study
from ehrfm_core.tokens.tokenizer import Tokenizer
from ehrfm_core.tokens.vocabulary import FUSED, suffix_ids
from ehrfm_core.tokens.window import model_window, to_ragged

ID = "hospitalization_id"
TELLING = 0.98  # area under the ROC curve of one token's presence from which on it tells the outcome
_AT_ONCE = 20_000  # stays: a few million tokens
# tokens that say that an outcome has happened: a stay with one in its window does not count
SAYS = {"icu": ("location/icu",), "imv": ("respiratory/imv",)}


@dataclass(frozen=True)
class Telling:
    """A token whose presence in the window alone ranks an outcome: in which shares of the stays it stands."""

    token: str
    outcome: str
    with_event: float
    without: float

    @property
    def area(self) -> float:
        """Area under the ROC curve of its presence, or of its absence where that is more."""
        return 0.5 + abs(self.with_event - self.without) / 2

    def sentence(self, label: str) -> str:
        """What is wrong, in words."""
        return (
            f"the token {self.token} stands in {self.with_event:.0%} of the windows of stays with the "
            f"outcome ({label}) and in {self.without:.0%} of the others: the window tells the outcome (AUC "
            f"{self.area:.3f} of this token alone)."
        )


def leaks(study: Study, *, evaluated: bool = True) -> list[str]:
    """Every leak that can be seen in a study's tokens and, where `evaluated`, in its draws.

    A sentence a finding, which names the file.
    """
    findings = []
    tokenizer = Tokenizer.from_json(study.tokenizer())
    for site in study.sites:
        stays, timelines = study.site_table(site, "stays"), study.site_table(site, "timelines")
        file = study.folder / site_file(site, "timelines")
        findings += [f"{file}: {found}" for found in _order(stays, timelines, tokenizer)]
        windows = model_window(timelines, tokenizer)
        findings += [f"{file}: {found}" for found in _happened(stays, windows, tokenizer, study.outcomes)]
        for one in most_telling(stays, windows, tokenizer, study.outcomes):
            if one.area >= TELLING:
                findings.append(f"{file}: {one.sentence(study.outcomes[one.outcome].label)}")
    return findings + (_draws(study) if evaluated and study.has("evaluate") else [])


def most_telling(
    stays: pl.DataFrame, windows: pl.DataFrame, tokenizer: Tokenizer, outcomes: Outcomes
) -> list[Telling]:
    """For every outcome the token that ranks it best by its presence or absence in the window alone.

    `stays` as `stays.parquet`, `windows` as of `model_window`; only stays that count, in every split. An
    outcome that fewer than eleven stays have, or lack, has none.
    """
    size = max(tokenizer.vocabulary.values()) + 1
    joined = windows.select(ID, "tokens").join(stays, on=ID, how="inner", maintain_order="left")
    found = []
    groups = {name: _classes(joined, outcomes, name) for name in outcomes}
    counts = {name: np.zeros((2, size)) for name in outcomes}
    for first in range(0, len(joined), _AT_ONCE):
        part = joined.slice(first, _AT_ONCE)
        tokens = to_ragged(part["tokens"], np.int64)
        rows, present = np.divmod(np.unique(tokens.rows.astype(np.int64) * size + tokens.values), size)
        for name, group in groups.items():
            own = group[first:][: len(part)][rows]
            for label in (0, 1):
                counts[name][label] += np.bincount(present[own == label], minlength=size)
    names = {number: token for token, number in tokenizer.vocabulary.items()}
    for name, group in groups.items():
        n = np.array([(group == label).sum() for label in (0, 1)])
        if n.min() >= MIN_CELL:
            without, with_event = counts[name] / n[:, None]
            best = int(np.argmax(np.abs(with_event - without)))
            found.append(Telling(names[best], name, float(with_event[best]), float(without[best])))
    return found


def _classes(stays: pl.DataFrame, outcomes: Outcomes, name: str) -> np.ndarray:
    """1 for stays with the outcome, 0 for those without it, −1 for those that do not count."""
    counted = outcomes[name].counts()
    return (
        stays.select(pl.when(counted).then(pl.col(name).cast(pl.Int8)).fill_null(-1)).to_series().to_numpy()
    )


def _order(stays: pl.DataFrame, timelines: pl.DataFrame, tokenizer: Tokenizer) -> list[str]:
    """One timeline a stay, in the order of time, with discharge and end at its end and nowhere else."""
    findings = []
    if set(timelines[ID]) != set(stays[ID]) or timelines.height != stays.height:
        findings.append("its stays are not those of stays.parquet.")
    minutes, tokens = to_ragged(timelines["minutes"], np.float64), to_ragged(timelines["tokens"], np.int64)
    if not np.array_equal(minutes.offsets, tokens.offsets):
        return [*findings, "there is not one minute a token."]
    same = minutes.positions[1:] > 0
    back = same & (np.diff(minutes.values) < 0)
    if wrong := len(np.unique(minutes.rows[1:][back])):
        findings.append(f"the tokens of {wrong} stays are not in the order of time.")
    suffix = np.isin(tokens.values, suffix_ids(tokenizer.vocabulary))
    inside = suffix & (tokens.positions < np.repeat(tokens.lengths, tokens.lengths) - 2)
    if wrong := len(np.unique(tokens.rows[inside])):
        findings.append(f"a token of the discharge stands before the end of {wrong} stays.")
    return findings


def _happened(
    stays: pl.DataFrame, windows: pl.DataFrame, tokenizer: Tokenizer, outcomes: Outcomes
) -> list[str]:
    """Stays that count for an outcome whose window says that it has happened already."""
    findings = []
    for name in (name for name in SAYS if name in outcomes):
        says = [
            number
            for token, number in tokenizer.vocabulary.items()
            if token.partition(FUSED)[0] in SAYS[name]
        ]
        counted = stays.filter(outcomes[name].counts()).select(ID)
        said = windows.join(counted, on=ID, how="semi").filter(
            pl.col("tokens").list.eval(pl.element().is_in(says)).list.any()
        )
        if said.height and says:
            findings.append(
                f"the windows of {said.height} stays that count for {outcomes[name].label} have "
                f"{SAYS[name][0]}: the outcome has happened in them already."
            )
    return findings


def _draws(study: Study) -> list[str]:
    """Patients on whom a model was adapted are of the training split."""
    file = study.folder / result_file("subsamples")
    if result_file("subsamples") not in study.manifest.stages["evaluate"].files:
        return []
    findings = []
    for (site,), drawn in study.result("subsamples").group_by("site", maintain_order=True):
        train = study.site_table(str(site), "stays").filter(pl.col("split") == "train")
        wrong = drawn.join(train, on="patient_id", how="anti")["patient_id"].n_unique()
        if wrong:
            findings.append(f"{file}: {wrong} patients of {site} were drawn that its training split lacks.")
    return findings
