"""`--from`: a study whose tokens are those of another, so that training can go on from its checkpoint."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import polars as pl

from ehrfm_core.clif.event_map import EventMap
from ehrfm_core.clif.site import Site
from ehrfm_core.clif.tables import ID
from ehrfm_core.errors import UserError
from ehrfm_core.study.files import read_json, sha256
from ehrfm_core.study.layout import MANIFEST, TOKENIZER, WEIGHTS, site_file
from ehrfm_core.study.manifest import Manifest, read_manifest
from ehrfm_core.study.reader import Study
from ehrfm_core.tokens.extend import extend, inherited
from ehrfm_core.tokens.settings import TokenSettings
from ehrfm_core.tokens.tokenizer import Tokenizer
from train.token_options import changed

SAME_STAY = (ID, "patient_id", "sex", "age", "los_hours")  # ids alone may be 1, 2, 3 … at both hospitals


@dataclass(frozen=True)
class Start:
    """Where the tokens of a continued study come from: its tokenizer, and what the stage records of it.

    `recorded` are hashes and name of the first study, how many tokens are its own, and what becomes of new
    codes. `trained` are the stays that its model was trained or stopped on; None where it is not at hand.
    """

    tokenizer: Tokenizer
    recorded: dict[str, Any]
    trained: pl.DataFrame | None

    @property
    def name(self) -> str:
        """The first study's name."""
        return self.recorded["name"]

    @property
    def appends(self) -> bool:
        """Whether new codes get tokens of their own."""
        return self.recorded["new_codes"] == "append"

    @property
    def lacking(self) -> str:
        """Who does not know the codes of unknown events."""
        if self.appends:
            return f"neither study {self.name} nor the source's training split has"
        return f"study {self.name} lacks"

    def tokens_for(self, source: Site, settings: TokenSettings) -> Tokenizer:
        """The tokenizer of the continued study."""
        base = replace(self.tokenizer, settings=settings)
        return extend(base, source) if self.appends else base


def find_start(folder: Path, before: Manifest, options: argparse.Namespace) -> Start | None:
    """The study that --from names, else the one that `folder` was made from; None for an ordinary study.

    Without --from the inherited tokens are taken from the study's own tokenizer, so that the first study may
    be gone. Raises UserError where the first study is not finished or a file is not as it was written.
    """
    done = before.stages.get("tokenize")
    remembered: dict[str, Any] = (done.settings.get("from") if done else None) or {}
    new_codes = options.new_codes or remembered.get("new_codes", "unk")
    if options.start_from is not None:
        return _first_study(folder, options.start_from, new_codes, remembered)
    if done is None or not remembered:
        if options.new_codes:
            raise UserError(f"--new-codes {new_codes}: this study continues no other; give --from as well.")
        return None
    own = folder / TOKENIZER
    if not own.is_file() or sha256(own) != done.files.get(TOKENIZER):
        raise UserError(
            f"{own} is missing or not as it was written, and its tokens were those of "
            f"{remembered['name']}: give --from with the folder of that study again."
        )
    tokenizer = inherited(Tokenizer.from_json(read_json(own)), remembered["inherited"])
    return Start(tokenizer, remembered | {"new_codes": new_codes}, None)


def _first_study(folder: Path, first: Path, new_codes: str, remembered: dict[str, Any]) -> Start:
    if first.resolve() == folder.resolve():
        raise UserError(f"--from {first}: a study cannot continue itself; give the new study another folder.")
    if not (first / MANIFEST).is_file():
        raise UserError(f"--from {first}: no study is there; give the folder of a finished study.")
    manifest = read_manifest(first)
    hashes = {}
    for stage, path in (("tokenize", TOKENIZER), ("pretrain", WEIGHTS)):
        if stage not in manifest.stages:
            raise UserError(
                f"--from {first}: its stage {stage} has not finished; finish that study, or name another."
            )
        file = first / path
        hashes[path] = sha256(file) if file.is_file() else ""
        if hashes[path] != manifest.stages[stage].files.get(path):
            raise UserError(f"--from {first}: {file} is missing or not as it was written; make it again.")
    tokenizer = Tokenizer.from_json(read_json(first / TOKENIZER))
    recorded: dict[str, Any] = {"tokenizer_sha256": hashes[TOKENIZER], "model_sha256": hashes[WEIGHTS]}
    same = all(remembered.get(key) == value for key, value in recorded.items())
    recorded |= {
        # a study that was moved is still the same
        "name": remembered["name"] if same else first.resolve().name,
        "new_codes": new_codes,
        "inherited": len(tokenizer.vocabulary),
        "synthetic": manifest.synthetic
        or bool(manifest.stages["tokenize"].settings.get("from", {}).get("synthetic")),
    }
    trained = None  # a checkpoint may have come without its patients
    if (first / site_file(manifest.source, "stays")).is_file():
        stays = Study(first, manifest).site_table(manifest.source, "stays")
        trained = stays.filter(pl.col("split") != "test").select(SAME_STAY)
    return Start(tokenizer, recorded, trained)


def scheme_of(start: Start, before: Manifest, options: argparse.Namespace) -> tuple[TokenSettings, EventMap]:
    """Settings and event map of a continued study: the first study's, but windows to count beside it.

    Raises UserError where an option would change what the first study's tokens mean.
    """
    base = start.tokenizer
    settings, event_map = changed(base.settings, base.events, options)
    for name in (field.name for field in fields(TokenSettings) if field.name != "more_windows"):
        ours, theirs = getattr(settings, name), getattr(base.settings, name)
        if ours != theirs:
            option = "--window" if name == "window_hours" else f"--{name.replace('_', '-')}"
            given = options.window if option == "--window" else getattr(options, name, None)
            raise _refusal(start, option if given is not None else "--preset", name, ours, theirs)
    if replace(event_map, name=base.events.name) != base.events:
        option = "--events" if options.events else "--preset"
        raise _refusal(start, option, "events", event_map.name, base.events.name)
    done = before.stages.get("tokenize")
    more = settings.more_windows
    if not options.window:
        continued = done is not None and bool(done.settings.get("from"))
        more = done.settings["more_windows"] if done and continued else base.settings.more_windows
    return replace(base.settings, more_windows=tuple(more)), base.events


def _refusal(start: Start, option: str, name: str, ours: Any, theirs: Any) -> UserError:
    def shown(value: Any) -> str:
        if isinstance(value, bool):
            return "on" if value else "off"
        return f"{value:g}" if isinstance(value, float) else str(value)

    return UserError(
        f"{option}: study {start.name} was made with {name.replace('_', ' ')} {shown(theirs)}, not "
        f"{shown(ours)}, and --from keeps its tokens as they are; leave {option} out."
    )


def refuse_trained_patients(start: Start, read: Mapping[str, Site]) -> None:
    """Raise UserError where a test split holds patients whom the first study's model was trained on."""
    if start.trained is None:
        return
    trained = start.trained.with_columns(pl.col("age", "los_hours").cast(pl.Float64))
    for name, site in read.items():
        stays = site.stays.with_columns(pl.col("age", "los_hours").cast(pl.Float64))
        known = stays.join(trained, on=SAME_STAY, how="semi", nulls_equal=True)["patient_id"]
        n = stays.filter((pl.col("split") == "test") & pl.col("patient_id").is_in(known.implode())).height
        if n:
            raise UserError(
                f"--from: {n} of {stays.height} stays of {name} would be in its test split, though the model "
                f"of {start.name} was trained on their patients; leave --site {name} out, or these patients."
            )


def tell(
    start: Start, tokenizer: Tokenizer, source: str, key_figures: dict[str, Any], categories: pl.DataFrame
) -> tuple[list[str], dict[str, Any]]:
    """Notes and key figures: how many codes of the source were new, and how many events that cost or saved.

    `key_figures` and `categories` are those of the source.
    """
    size = start.recorded["inherited"]
    n_events, unknown = key_figures["n_events"], key_figures["unknown_events"]
    added = {token for token, i in tokenizer.vocabulary.items() if i >= size}
    is_new = pl.col("code").is_in(list(added)) if start.appends else ~pl.col("known")
    new = categories.filter(is_new)
    saved = int(new["n_events"].sum()) if start.appends else 0
    summary = {"inherited": size, "appended": len(added), "new_codes": new.height, "events_saved": saved}

    def share(n: int) -> str:
        return f"{n:,} events ({n / max(n_events, 1):.1%})"

    seen = ", whose model has seen SYNTHETIC data" if start.recorded["synthetic"] else ""
    if start.appends:
        note = (
            f"{size:,} tokens are those of study {start.name}{seen}, and {len(added):,} were appended: "
            f"{new.height:,} codes of {source}'s training split were new, which keeps {share(saved)} of "
            f"{source} from UNK; {share(unknown)} are UNK still."
        )
    else:
        note = (
            f"All {size:,} tokens are those of study {start.name}{seen}; none was fitted here: "
            f"{new.height:,} codes of {source} are new to it, and {share(unknown)} of {source} became UNK."
        )
    notes = [note]
    if start.trained is None:
        notes.append(
            f"Study {start.name} or its stays were not at hand: whether its model was trained on patients of "
            "the test splits was not checked."
        )
    return notes, summary
