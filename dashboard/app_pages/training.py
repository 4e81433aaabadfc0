"""Training: how the model learned, and several runs side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from dashboard import controls, data, run_cards, runs_compared, state, ui
from dashboard.charts import training as charts
from dashboard.runs import AT_MOST, Drawn, at_first, drawn, silent
from ehrfm_core.errors import UserError
from ehrfm_core.study import Study
from ehrfm_core.study.runs import RUNNING, Run

EVERY = 10  # seconds between two looks at a run that goes on


def main() -> None:
    """Draw the page."""
    study, _ = ui.current()
    ui.header("Training", "How did the model learn, when was it best, and how do runs compare?")
    found = data.studies(data.studies_folder())
    runs = {name: run for name, item in found.items() if isinstance(item, Study) and (run := data.run(item))}
    if not runs:
        ui.absent(
            "No model has been trained yet",
            "No study in this folder holds a training run. Train the model of this one with:",
            f"python -m train pretrain {study.folder}",
        )
        return
    chosen = choose(runs, study)
    left_out(found, runs, study)
    if not chosen:
        ui.absent("No run is chosen", "Choose one or more above.", icon=":material/touch_app:")
        return
    left, middle, right = st.columns([3, 3, 3], gap="medium", vertical_alignment="bottom")
    with left:
        axis = controls.choose("Curves over", charts.AXES, key=state.AXIS, what="axis")
    with middle:
        scale = controls.choose("Scale of the loss", charts.SCALES, key=state.SCALE, what="scale")
    follow = any(runs[name].status == RUNNING and silent(runs[name]) is None for name in chosen)
    if follow:
        follow = right.toggle(
            f"Look again every {EVERY} seconds",
            value=True,
            key="follow",
            persist_state="session",
            help="A run is going on. Switch this off to zoom: what is drawn anew is drawn in full.",
        )
    st.fragment(draw, run_every=EVERY if follow else None)(chosen, list(runs), axis, scale, follow)


def choose(runs: Mapping[str, Run], study: Study) -> list[str]:
    """Names of the runs to show, bound to the URL; another study in the sidebar brings its run along."""
    linked = st.query_params.get_all(state.RUNS)
    for name in linked:
        if name and name not in runs:
            state.tell_unknown(state.RUNS, name, "run", where="this folder")
    before, st.session_state["runs_of"] = st.session_state.get("runs_of"), study.name
    held = st.session_state.get(state.RUNS)
    default = at_first(runs, study.name, synthetic=study.manifest.synthetic)
    if held is None and not any(name in runs for name in linked):
        st.session_state[state.RUNS] = default
    elif held is not None and before not in (None, study.name) and study.name not in held:
        old = runs.get(before)
        untouched = old is not None and held == at_first(runs, old.name, synthetic=old.synthetic)
        brought = [name for name in (study.name,) if name in runs]
        st.session_state[state.RUNS] = default if untouched else [*held, *brought][-AT_MOST:]
    return st.multiselect(
        "Runs",
        list(runs),
        key=state.RUNS,
        bind="query-params",
        max_selections=AT_MOST,
        placeholder="Choose runs",
        help="Every study in this folder whose model was or is being trained. At first this study's run, "
        "and others of the same tokens.",
    )


def left_out(found: Mapping[str, Study | UserError], runs: Mapping[str, Run], study: Study) -> None:
    """Say which studies cannot be chosen, and why."""
    untrained = [name for name, item in found.items() if isinstance(item, Study) and name not in runs]
    broken = [name for name, item in found.items() if isinstance(item, UserError)]
    parts = []
    if untrained:
        parts.append(f"Not trained yet: {', '.join(map(ui.plain, untrained))}.")
    if study.name in untrained:
        parts.append(f"Train this study's model with `python -m train pretrain {study.folder}`.")
    if broken:
        parts.append(f"Cannot be opened (the sidebar says why): {', '.join(map(ui.plain, broken))}.")
    if parts:
        st.caption(" ".join(parts))


def draw(names: Sequence[str], order: Sequence[str], axis: str, scale: str, follow: bool) -> None:
    """All that changes while a run goes on."""
    found = data.studies(data.studies_folder())
    here = st.session_state[state.STUDY]
    studies = [item for name in names if isinstance(item := found.get(name), Study)]
    runs = [run for study in studies if (run := data.run(study))]
    going = [run for run in runs if run.status == RUNNING]
    ended = follow and all(silent(run) is not None for run in going)
    if ended or not runs or not isinstance(found.get(here), Study):
        st.rerun()  # the whole page: there is nothing left to follow, or not what it stood on
    run_cards.warnings(runs)
    for run in going:
        run_cards.progress(run)
    focus = next((run for run in runs if run.name == here), runs[0])
    run_cards.headline(focus)
    lines = drawn(runs, order)
    losses(lines, focus, axis, scale)
    course(lines, axis, scale)
    run_cards.tables(runs, focus)


def losses(lines: Sequence[Drawn], focus: Run, axis: str, scale: str) -> None:
    """The loss of every run."""
    ui.section("Loss")
    shown = [line for line in lines if charts.known(line, axis, "loss", "tuning_loss")]
    if not shown:
        ui.absent(
            f"No curve over {charts.AXES[axis].lower()}",
            "None of these runs has written a line yet that knows it; choose another axis above.",
        )
        return
    of = f"{focus.name}: " if runs_compared.apart([line.run for line in lines]) else ""
    told = ((f"{of}token frequencies", focus.unigram_nats), (f"{of}pairs of tokens", focus.bigram_nats))
    ui.chart(
        charts.loss(shown, axis, scale, guesses={name: nats for name, nats in told if nats is not None}),
        key="training-loss",
        alt=f"Training and tuning loss over {charts.AXES[axis].lower()}, one colour a run: "
        + "; ".join(_best(line.run) for line in shown),
        caption=_caption(lines, shown, focus, axis, scale),
        synthetic=[line.run.synthetic for line in shown],
    )


def _best(run: Run) -> str:
    if run.best_tuning_loss is None:
        return f"{run.name} has no tuning loss"
    return f"{run.name} best at {run.best_tuning_loss:.3f} nats"


def _caption(lines: Sequence[Drawn], shown: Sequence[Drawn], focus: Run, axis: str, scale: str) -> str:
    """What is measured, on how many tokens, and what is not drawn."""
    runs = [line.run for line in shown]
    parts = [
        f"Mean of −log p a token, lower is better. Thick: tuning split{_sizes(runs)}; star: the best step, "
        "whose weights are kept. Thin: training"
        + (", mean over the steps since the line before." if any(run.logged for run in runs) else ".")
    ]
    if focus.unigram_nats is not None or focus.bigram_nats is not None:
        dotted = "Dotted, where they are in the picture" if scale == "close" else "Dotted"
        parts.append(
            f"{dotted}: guesses learnt from the training split of {focus.name}, on its tuning split."
        )
    coarse = [run.name for run in runs if not run.logged]
    if coarse:
        tail = ", and tokens are reckoned from the epochs" if axis == "tokens" else ""
        parts.append(
            f"Of {', '.join(coarse)} only the looks at the tuning split are on record: the training loss is "
            f"that of the step or steps just before{tail}."
        )
    missing = [line.label for line in lines if line not in shown]
    if missing:
        parts.append(f"Not drawn, as not known over {charts.AXES[axis].lower()}: {', '.join(missing)}.")
    thinned = [run for run in runs if len(run.curve) < run.lines]
    if thinned:
        n = "; ".join(f"{run.name} {len(run.curve):,} of {run.lines:,}" for run in thinned)
        parts.append(f"Lines of the log that are drawn, peaks and troughs among them: {n}.")
    return ui.plain(" ".join([*parts, "No interval."]))


def _sizes(runs: Sequence[Run]) -> str:
    """Tokens and stays that the tuning loss is a mean over, once where they are the same for all."""
    sizes = {run.name: (run.tuning_tokens, run.tuning_stays) for run in runs if run.tuning_tokens}
    told = {
        name: f"{tokens:,} tokens" + (f" of {ui.count(stays, 'stay')}" if stays else "")
        for name, (tokens, stays) in sizes.items()
    }
    if len(set(told.values())) == 1 and len(told) == len(runs):
        return f" ({next(iter(told.values()))})"
    return f" ({'; '.join(f'{name} {size}' for name, size in told.items())})" if told else ""


def course(lines: Sequence[Drawn], axis: str, scale: str) -> None:
    """Learning rate, speed and gradient norm."""
    columns = [name for name in charts.COURSE if any(charts.known(line, axis, name) for line in lines)]
    if not columns:
        return
    ui.section("How the training went")
    shown = [line for line in lines if charts.known(line, axis, *columns)]
    missing = [line.run.name for line in lines if line not in shown]
    ui.chart(
        charts.course(shown, axis, scale, columns=columns),
        key="training-course",
        alt=f"{', '.join(charts.COURSE[name] for name in columns)} over {charts.AXES[axis].lower()}, "
        "one colour a run as above",
        caption="One figure a line of the run's log: the learning rate and gradient norm of its last step, "
        "the speed over its steps. Colours as above."
        + (f" Not on record: {ui.plain(', '.join(missing))}." if missing else ""),
        synthetic=[line.run.synthetic for line in shown],
    )


main()
