"""`python -m train`: the command line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ehrfm_core.errors import UserError
from train.arguments import N_BOOTSTRAP, parser
from train.devices import INTERRUPTED, device_of, processes, quiet_transformers
from train.progress import peak_memory_gb, say

if TYPE_CHECKING:
    from ehrfm_core.model.settings import Execution
    from ehrfm_core.study.manifest import Manifest, Stage


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit status (0 done, 1 the input is at fault, 130 interrupted)."""
    options = parser().parse_args(arguments)
    try:
        if options.command == "import":
            from train.import_data import import_data

            import_data(options)
        elif options.command == "synthesize":
            from train.synthesize import synthesize

            synthesize(options)
        elif options.command == "verify":
            return _verify(options)
        elif options.command == "validate":
            from train.validate import validate

            return validate(options.folder, as_json=options.as_json, events=options.events)
        elif options.command == "bench":
            if options.bench == "synthesis":
                from train.bench.synthesis import run as bench
            elif options.bench == "embedding":
                from train.bench.embedding import run as bench
            elif options.bench == "statistics":
                from train.bench.intervals import run as bench
            elif options.bench == "maps":
                from train.bench.maps import run as bench
            elif options.bench == "dashboard":
                from train.bench.dashboard import run as bench
            elif options.bench == "interruptions":
                from train.bench.interruptions import run as bench
            elif options.bench == "training":
                from train.bench.training import run as bench
            else:
                from train.bench.tokenizer import run as bench

            return bench(options)
        elif options.command == "pretrain":
            return _pretrain_alone(options)
        elif options.command == "tokenize" and (options.explain or options.stay or options.meds_out):
            _look(options)
        else:
            from train.stages import writing

            with writing(options.study):
                _study(options)
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        print(str(stop) or "Interrupted; run the same command again to go on.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever read the output, `head` for example, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        named = (getattr(options, name, None) for name in ("study", "out", "folder", "tables"))
        place = error.filename or next(path for path in (*named, "?") if path)
        print(
            f"Error: {error.strerror or error} ({place}); what was finished is kept: mend this and run the "
            "same command again.",
            file=sys.stderr,
        )
        return 1
    return 0


def _verify(options: argparse.Namespace) -> int:
    from ehrfm_core.study import open_study
    from train.verify import findings as verify

    study = open_study(options.study)
    findings = verify(study)
    for finding in findings:
        print(f"Error: {finding}", file=sys.stderr)
    if not findings:
        files = sum(len(stage.files) for stage in study.manifest.stages.values())
        say(f"{options.study}: {files} files are as they were written and agree with each other.")
    return 1 if findings else 0


def _look(options: argparse.Namespace) -> None:
    from train.explain import explain_event, print_stay, write_meds

    if options.explain:
        explain_event(options.study, options.explain)
    if options.stay:
        print_stay(options.study, options.stay, options.at)
    if options.meds_out:
        write_meds(options.study, options.meds_out)


def _study(options: argparse.Namespace) -> None:
    from ehrfm_core.study.layout import MANIFEST
    from ehrfm_core.study.manifest import Manifest, read_manifest

    folder: Path = options.study
    ran = False
    known = (folder / MANIFEST).is_file() or options.command not in ("study", "tokenize")
    manifest = read_manifest(folder) if known else Manifest("", [])
    before = dict(manifest.stages)  # what is stale goes, what it was made with stays
    if options.command in ("study", "tokenize"):
        manifest, ran = _tokenize(options, manifest if known else None)
    if options.command == "study":
        with processes(options) as execution:
            ran |= _pretrain(options, manifest, before, execution)
    if options.command in ("study", "embed"):
        quiet_transformers()
        from train.embed import embed
        from train.evaluation_options import PAPERS

        seed = _remembered(before, "embed", "seed", options.seed, 0)
        whole = _remembered(before, "embed", "whole_stay", options.whole_stay, False)
        probe_c = _remembered(before, "embed", "probe_c", options.probe_c, PAPERS)
        device = device_of(options.device)
        ran |= embed(folder, manifest, seed=seed, device=device, whole_stay=whole, probe_c=probe_c)
    if options.command in ("study", "evaluate"):
        quiet_transformers()
        from ehrfm_core.evaluation.adaptation import REPEATS
        from train.evaluate import evaluate
        from train.evaluation_options import finetune_settings, local_settings

        seed = _remembered(before, "evaluate", "seed", options.seed, 0)
        n_bootstrap = _remembered(before, "evaluate", "n_bootstrap", options.bootstrap, N_BOOTSTRAP)
        repeats = _remembered(before, "evaluate", "repeats", options.repeats, REPEATS)
        finetuning = finetune_settings(before.get("evaluate"), options, seed=seed)
        device = device_of(options.device)
        ran |= evaluate(
            folder,
            manifest,
            seed=seed,
            n_bootstrap=n_bootstrap,
            finetuning=finetuning,
            local=local_settings(before.get("evaluate"), options, finetuning=finetuning is not None),
            repeats=repeats,
            device=device,
        )
        if getattr(options, "report", False):
            from ehrfm_core.evaluation.report import report
            from ehrfm_core.study.reader import open_study

            say(report(open_study(folder)))
        if getattr(options, "checklist", False):
            from ehrfm_core.evaluation.tripod import markdown
            from ehrfm_core.study.reader import open_study

            say(markdown(open_study(folder)))
    if options.command == "redact":
        quiet_transformers()
        from train.redact import redact_study

        seed = _remembered(before, "redact", "seed", options.seed, 0)
        n_bootstrap = _remembered(before, "redact", "n_bootstrap", options.bootstrap, N_BOOTSTRAP)
        redact_study(
            folder,
            manifest,
            shares=options.shares,
            seed=seed,
            n_bootstrap=n_bootstrap,
            device=device_of(options.device),
        )
    if options.command == "study":
        if ran:
            say(f"Study {folder} is complete. Peak memory {peak_memory_gb():.2f} GB.")
        else:
            say(f"Study {folder} is complete and up to date: nothing was run.")
        say(f"Open it: streamlit run dashboard/app.py -- --studies {folder.parent}")


def _tokenize(options: argparse.Namespace, known: Manifest | None) -> tuple[Manifest, bool]:
    from ehrfm_core.clif.tables import open_directory
    from ehrfm_core.sources.meds import is_meds, open_meds
    from ehrfm_core.study.manifest import Manifest
    from ehrfm_core.study.writer import create_or_open
    from ehrfm_core.synthesis.mark import is_synthetic
    from train.continued import find_start, scheme_of
    from train.token_options import own_outcomes, token_settings
    from train.tokenize import tokenize

    folder: Path = options.study
    sites = _sites(options.site)
    source = options.source or next(iter(sites))
    if source not in sites:
        raise UserError(f"--source {source} is none of the sites {', '.join(sites)}.")
    before = known or Manifest(source, list(sites))
    start = find_start(folder, before, options)
    settings, event_map = scheme_of(start, before, options) if start else token_settings(before, options)
    own = own_outcomes(before, options.outcomes)
    opened = {  # before anything is written
        name: open_meds(path, options.meds_map) if is_meds(path) else open_directory(path, event_map, own)
        for name, path in sites.items()
    }
    synthetic = options.synthetic or any(is_synthetic(path) for path in sites.values())
    manifest = create_or_open(folder, sites=list(sites), source=source, synthetic=synthetic)
    return manifest, tokenize(folder, manifest, opened, settings, event_map, own, start)


def _pretrain_alone(options: argparse.Namespace) -> int:
    from ehrfm_core.model.parallel import launched
    from ehrfm_core.study.manifest import read_manifest

    if options.distributed is not None and not launched():
        from train.launch import launch

        return launch(options)
    with processes(options) as execution:
        from train.stages import writing

        with writing(options.study) if execution.group.first else nullcontext():
            execution.group.wait()  # until what a killed run has left is in order
            manifest = read_manifest(options.study)
            _pretrain(options, manifest, manifest.stages, execution)
    return 0


def _pretrain(
    options: argparse.Namespace, manifest: Manifest, before: Mapping[str, Stage], execution: Execution
) -> bool:
    from train.from_checkpoint import find_checkpoint
    from train.pretrain import pretrain
    from train.training_options import training_settings

    checkpoint = find_checkpoint(manifest, options.start_from)
    settings = training_settings(manifest, options, before.get("pretrain"), checkpoint)
    return pretrain(options.study, manifest, settings, execution, checkpoint)


def _sites(values: list[str] | None) -> dict[str, Path]:
    sites: dict[str, Path] = {}
    if not values:
        raise UserError(
            "Name at least one hospital: --site NAME=DIR (or --explain or --stay on a finished study)."
        )
    for value in values:
        name, equals, folder = value.partition("=")
        if not (name and equals and folder):
            raise UserError(f"--site {value!r} is not of the form NAME=DIR.")
        if name in sites:
            raise UserError(f"Two sites are called {name!r}; give every --site a name of its own.")
        path = Path(folder)
        if twin := next((other for other, known in sites.items() if known.resolve() == path.resolve()), None):
            raise UserError(
                f"{twin} and {name} are the same folder {folder}; every site needs its own tables."
            )
        sites[name] = path
    return sites


def _remembered(before: Mapping[str, Stage], stage: str, key: str, given: Any, default: Any) -> Any:
    """What was given, else what the study was made with, else the default."""
    if given is not None:
        return given
    done = before.get(stage)
    return done.settings.get(key, default) if done else default


if __name__ == "__main__":
    sys.exit(main())
