"""What is said about training runs in words and figures: warnings, progress, the focused run's figures."""

from __future__ import annotations

import math
from collections.abc import Sequence

import streamlit as st

from dashboard import runs_compared, ui
from dashboard.runs import duration, silent
from ehrfm_core.study.runs import RUNNING, UNKNOWN, Run

_DOT = " &nbsp;·&nbsp; "


def warnings(runs: Sequence[Run]) -> None:
    """Say first what could not be read, what must not be compared, and what has not been learnt."""
    for run in runs:
        for problem in run.problems:
            st.warning(f"**{ui.plain(run.name)}:** {ui.plain(problem)}", icon=":material/warning:")
    for title, sentence in runs_compared.apart(runs):
        st.warning(f"**{ui.plain(title)}** {ui.plain(sentence)}", icon=":material/compare_arrows:")
    if len({run.synthetic for run in runs}) > 1:
        st.warning(
            "**Synthetic and real patients side by side.** Each name below says which: a loss on synthetic "
            "patients says nothing about real ones.",
            icon=":material/science:",
        )
    for run in runs:
        for nats, guess in ((run.unigram_nats, "token frequencies"), (run.bigram_nats, "pairs of tokens")):
            gained = runs_compared.below(nats, run)
            if run.status != RUNNING and gained is not None and gained <= 0:
                st.warning(
                    f"**{ui.plain(run.name)} predicts no better than a guess from {guess}.** What follows "
                    "from its states deserves as little trust.",
                    icon=":material/warning:",
                )
                break


def progress(run: Run) -> None:
    """How far a run is that goes on, or that it seems to have ended without saying so."""
    parts = [f"**{ui.plain(run.name)}**", _steps(run)]
    since = silent(run)
    if since is not None:
        parts.append(
            f":orange[:material/heart_broken: nothing heard of it for {duration(since.total_seconds())}: it "
            "has probably ended without saying so]"
        )
    else:
        if run.remaining_seconds is not None:
            parts.append(f"about {duration(run.remaining_seconds)} left")
        if run.tokens_per_second:
            parts.append(f"{run.tokens_per_second:,.0f} tokens a second")
    st.progress(run.share, _DOT.join(parts))


def headline(run: Run) -> None:
    """The focused run: how it ended, and five figures."""
    known = "" if run.status == UNKNOWN else f"{_DOT}:gray[{run.status}]"
    told = [_sentence(run.reason)] if run.reason else []
    if run.starts_from:
        told.append(f"Continued from {run.starts_from}.")
    if run.resumed_at:
        told.append(f"Resumed at step {run.resumed_at:,}.")
    ui.section(ui.plain(run.name) + known, ui.plain(" ".join(told)) or None)
    best, pairs = run.best_tuning_loss, runs_compared.below(run.bigram_nats, run)
    seen = "—" if run.tokens is None else compact(run.tokens)
    if run.tokens is not None and run.epochs is not None:
        seen += f" ({run.epochs:.1f} ×)"
    facts = (
        (
            "Best tuning loss",
            "—" if best is None else f"{best:.3f} nats",
            "Mean of −log p over the tokens of the tuning split, at the best step. Lower is better.",
        ),
        (
            "Chance given to what came",
            "—" if best is None else f"{math.exp(-best):.0%}",
            "The probability the model gave to the token that then came: its geometric mean over the tuning "
            "split, e to the minus loss.",
        ),
        (
            "Better than pairs by",
            "—" if pairs is None else f"{pairs:.2f} nats",
            "How far the loss lies below that of a guess from the one token before, learnt from the training "
            "split. Above 0 the model uses more of a stay than its last token.",
        ),
        ("Tokens seen", seen, "In brackets: how often each token of the training split, on average."),
        (
            "Training time",
            duration(run.seconds) or "—",
            "Over all resumptions, with looking at the tuning split.",
        ),
    )
    for column, (label, value, help) in zip(st.columns(len(facts)), facts, strict=True):
        column.metric(label, value, help=help)


def tables(runs: Sequence[Run], focus: Run) -> None:
    """Every figure side by side, and what the settings differ in."""
    ui.section("Side by side")
    if len(runs) > 1:
        differing = runs_compared.differences(runs)
        listed = [name for name, values in differing if values is None]
        more = [f"{name}: {values}" for name, values in differing if values is not None]
        told = [f"{', '.join(listed)} (in the second table)"] if listed else []
        st.markdown(
            f"**The runs differ in** {ui.plain('; '.join(told + more))}."
            if differing
            else "**The runs differ in no setting** that is on record for more than one of them."
        )
    marks = [run.synthetic for run in runs]
    number, pinned = st.column_config.NumberColumn, st.column_config.TextColumn("Run", pinned=True)
    ui.table(
        runs_compared.results(runs),
        placeholder="—",
        alt="Loss, steps, tokens and time of each run",
        synthetic=marks,
        column_config={
            "run": pinned,
            "status": "Status",
            "tuning_loss": number(
                "Best tuning loss",
                format="%.3f",
                help="Nats a token; lower is better. Once a run has ended, measured again in full precision.",
            ),
            "best_step": number("At step", format="localized"),
            "below_bigram": number(
                "Below pairs", format="%.3f", help="Nats below a guess from pairs of tokens"
            ),
            "below_unigram": number(
                "Below frequencies", format="%.3f", help="Nats below a guess from token frequencies"
            ),
            "step": number("Steps", format="localized"),
            "tokens": number("Tokens seen", format="compact"),
            "epochs": number("Epochs", format="%.1f", help="How often each training token, on average"),
            "time": "Time",
        },
    )
    reasons = [f"{run.name}: {_sentence(run.reason)}" for run in runs if run.reason and run is not focus]
    if reasons:
        st.caption(ui.plain(" ".join(reasons)))
    ui.table(
        runs_compared.set_up(runs),
        placeholder="—",
        alt="Size, settings, speed and device of each run",
        synthetic=marks,
        column_config={
            "run": pinned,
            "size": "Size",
            "parameters": number("Parameters", format="compact"),
            "learning_rate": number("Learning rate", format="%g", help="The highest of the schedule"),
            "batch_tokens": number("Tokens a batch", format="localized"),
            "seed": number("Seed", format="%d"),
            "tokens_per_second": number("Tokens/s", format="localized", help="Median over the log's lines"),
            "mfu": number(
                "MFU",
                format="percent",
                help="Model FLOPs utilization: what the training computes, as a share of the peak. Median.",
            ),
            "peak": st.column_config.TextColumn("Of the peak", help="What MFU is a share of, per device"),
            "memory_gb": number("Memory, GB", format="%.1f", help="Largest over the log's lines"),
            "precision": "Precision",
            "device": "Device",
        },
    )


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _steps(run: Run) -> str:
    taken = f"step {run.step or 0:,}"
    return f"{taken} of {run.total_steps:,} ({run.share:.0%})" if run.total_steps else taken


def compact(value: float) -> str:
    """A large number in three figures.

    >>> compact(512), compact(163_840), compact(3_923_054), compact(5.24e9)
    ('512', '164 k', '3.92 M', '5.24 bn')
    """
    for size, name in ((1e9, " bn"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{name}"
    return f"{value:.0f}"
