"""What a finished study makes of an event or of a stay, on the terminal; and its timelines as MEDS."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from ehrfm_core.clif.tables import ID
from ehrfm_core.errors import UserError
from ehrfm_core.sources.meds_export import export_meds
from ehrfm_core.study import open_study
from ehrfm_core.tokens.explain import explain, stay_table
from ehrfm_core.tokens.tokenizer import Tokenizer
from train.progress import say


def explain_event(folder: Path, text: str) -> None:
    """Print the tokens of an event and why they are what they are."""
    study = open_study(folder)
    tokenizer = Tokenizer.from_json(study.tokenizer())
    done = study.manifest.stages.get("tokenize")
    if done and (first := done.settings.get("from")):
        say(f"The tokens are those of study {first['name']}: the source below is its source,")
        say(f"but for tokens from number {first['inherited']} on, which were appended here.")
    for explanation in explain(tokenizer, text):
        tokens = "  ".join(f"{token} ({number})" for token, number in explanation.tokens)
        say(f"{text}  →  {tokens}")
        for reason in explanation.reasons:
            say(f"  {reason}")


def print_stay(folder: Path, stay: str, site: str | None) -> None:
    """Print the timeline of a stay, with a line where the model's window ends."""
    study = open_study(folder)
    tokenizer = Tokenizer.from_json(study.tokenizer())
    if site is not None and site not in study.sites:
        raise UserError(f"--at {site}: the sites of {folder} are {', '.join(study.sites)}.")
    found = []
    for name in [site] if site else study.sites:
        rows = study.site_table(name, "timelines").filter(pl.col(ID) == stay)
        found += [(name, row) for row in rows.iter_rows(named=True)]
    if not found:
        where = site or " or ".join(study.sites)
        raise UserError(f"--stay {stay}: {where} has no stay of this hospitalization_id in the cohort.")
    if len(found) > 1:
        names = ", ".join(name for name, _ in found)
        raise UserError(f"--stay {stay} is a stay at {names}; say which with --at.")
    name, row = found[0]
    table = stay_table(tokenizer, row["tokens"], row["minutes"])
    window = tokenizer.settings.window_hours
    kind = "SYNTHETIC, " if study.manifest.synthetic else ""
    say(f"{stay} at {name}: {kind}{table.height} events, {len(row['tokens'])} tokens")
    width = max(len(text) for text in (*table["event"], "event")) + 2
    say(f"{'hour':>8}  {'event':<{width}}{'value':<24}tokens")
    ended = False
    for hour, event, tokens, value in table.iter_rows():
        if hour > window and not ended:
            ended = True
            say(f"{'':─<8}  the model's window of {window:g} h ends here")
        say(f"{hour:8.2f}  {event:<{width}}{value:<24}{tokens}")


def write_meds(folder: Path, target: Path) -> None:
    """Write the timelines of a study as a MEDS dataset."""
    study = open_study(folder)
    rows = export_meds(study, target)
    kind = "SYNTHETIC " if study.manifest.synthetic else ""
    say(f"Wrote {rows:,} {kind}rows to {target}; every stay is a subject, times count from 2000-01-01.")
