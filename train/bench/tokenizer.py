"""Tokenizing, measured against cocoa-tokenizer (`cocoa collate`, then `cocoa tokenize`) on the same tables.

Both read the same CLIF tables and make the same kind of tokens: cocoa's two configurations are written from
the event map that `python -m train tokenize` uses, with one token for the category and one for the decile or
the answer, no time tokens, and the same order of families. Whole processes run in turns; cocoa's time is the
sum of its two, its peak the larger.

What still differs (on the MIMIC-IV demo with `paper`, in the stays that both keep, 418 of 366,744 tokens):

- Stays: ours are those of adults that last 24 h or more, cocoa's are all. So tokens of the shared stays are
  counted apart: that is the number to compare. Rates use all tokens that a tool wrote.
- Age: cocoa writes a category and a decile, ours is the decile alone (245: one a stay).
- Edges: ours begin 24 h before the earlier of admission and first vital and end with the later of discharge
  and last vital; cocoa's reach a day to either side of admission and discharge, so labs and doses charted
  after the last vital stay in (156). With `all` so do the last `out_dttm`, minutes after the discharge.
- A numeric event whose code the training split lacks: UNK in ours; in cocoa UNK and then Q0, since no cut
  point is at or below the value (17).
- A static category that is missing: a token such as `race/missing` in ours, none in cocoa.
- Ours also checks ids and times, hashes what it read, brings doses to one unit where the map says so (as
  `all` does), and finds splits and outcomes. Cocoa leaves this to other programs.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from ehrfm_core import __version__
from ehrfm_core.clif.event_map import EventMap, load_map
from ehrfm_core.clif.files import find_tables, scan_part
from ehrfm_core.errors import UserError
from ehrfm_core.sources.mimic_demo import import_mimic_demo
from train.bench.arguments import DEFAULT_COPIES, HOW_TO_INSTALL
from train.bench.cocoa import collation, tokenization
from train.bench.process import run as run_process
from train.bench.replicate import replicate

ID = "hospitalization_id"
OURS, COCOA = "ehrfm", "cocoa"
ROOT = Path(__file__).parents[2]  # where `python -m train` can be run


def run(options: argparse.Namespace) -> int:
    """Measure and print; the exit status. Raises UserError where the input is at fault or a process fails."""
    if options.tables is None:
        with tempfile.TemporaryDirectory(prefix="ehrfm-bench-") as demo:
            import_mimic_demo(Path(demo))
            return _run(options, Path(demo), options.copies or [DEFAULT_COPIES])
    return _run(options, options.tables, options.copies or [None])


def _run(options: argparse.Namespace, source: Path, sizes: Sequence[int | None]) -> int:
    event_map = load_map(options.events)
    find_tables(source)
    cocoa = find_cocoa(options.cocoa)
    if cocoa is None:
        _tell(f"cocoa-tokenizer is not here, so ours alone is measured. To install it: {HOW_TO_INSTALL}")
    results = []
    for copies in sizes:
        with _tables(source, copies) as folder:
            tools: list[Ours | Cocoa] = [Ours(folder, options.events)]
            tools += [Cocoa(folder, event_map, cocoa)] if cocoa else []
            rows = _count_rows(folder, event_map)
            _tell(
                f"{rows:,} rows in {options.tables or 'the MIMIC-IV demo'}"
                + (f", {copies} copies" if copies else "")
            )
            results.append(Result(rows, copies, tuple(measure(tools, options.repeats))))
    if options.json:
        print(json.dumps([result.to_json() for result in results], indent=2))
    else:
        print("\n".join(table_of(results)))
    return 0


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextmanager
def _tables(source: Path, copies: int | None) -> Iterator[Path]:
    """The folder to measure: the source itself, or copies of it that are gone afterwards."""
    if copies is None:
        for part in (part for table in find_tables(source).values() for part in table.parts):
            with part.open("rb") as file:
                while file.read(1 << 24):
                    pass
        yield source.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="ehrfm-bench-") as temporary:
        replicate(source, Path(temporary), copies)
        yield Path(temporary)


def _count_rows(folder: Path, event_map: EventMap) -> int:
    """Rows of the tables that the event map reads."""
    tables = find_tables(folder)
    read = [tables[name] for name in ("patient", "hospitalization", *event_map.tables) if name in tables]
    return sum(scan_part(part).select(pl.len()).collect().item() for table in read for part in table.parts)


# what is run ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Timelines:
    """What a run wrote: a parquet file with one row a stay, its column of ids and its column `tokens`."""

    path: Path
    id_column: str

    def tokens(self) -> pl.DataFrame:
        """Id and number of tokens of every stay."""
        stay = pl.col(self.id_column).cast(pl.String).alias(ID)
        return pl.scan_parquet(self.path).select(stay, pl.col("tokens").list.len().cast(pl.Int64)).collect()


@dataclass(frozen=True)
class Ours:
    """`python -m train tokenize` on a folder of CLIF tables."""

    tables: Path
    events: str
    name: str = OURS
    version: str = __version__

    def commands(self, folder: Path) -> list[list[str | Path]]:
        """The commands that tokenize into `folder`."""
        command: list[str | Path] = [sys.executable, "-m", "train", "tokenize", folder / "study"]
        command += ["--site", f"a={self.tables}"]
        if self.events != "paper":
            is_file = Path(self.events).is_file()
            command += ["--events", Path(self.events).resolve() if is_file else self.events]
        return [command]

    def output(self, folder: Path) -> Timelines:
        """What the commands wrote."""
        return Timelines(folder / "study" / "sites" / "a" / "timelines.parquet", ID)


@dataclass(frozen=True)
class CocoaProgram:
    """An installed cocoa: its executable and version."""

    path: str
    version: str


def find_cocoa(given: str | None) -> CocoaProgram | None:
    """The program cocoa that was given, else the one on the PATH; None where neither is.

    Raises UserError where what was given is not cocoa.
    """
    path = shutil.which(given or COCOA)
    if path:
        with suppress(UserError):  # a program of the same name that knows no --help
            found = re.search(r"tokenization \(v([\w.]+)\)", run_process([path, "--help"]).output)
            if found:
                return CocoaProgram(str(Path(path).absolute()), found.group(1))
    if given:
        raise UserError(
            f"--cocoa {given} is not the program of cocoa-tokenizer; install it: {HOW_TO_INSTALL}"
        )
    return None


@dataclass(frozen=True)
class Cocoa:
    """`cocoa collate`, then `cocoa tokenize`, configured as our event map says."""

    tables: Path
    event_map: EventMap
    program: CocoaProgram
    name: str = COCOA

    @property
    def version(self) -> str:
        """Version of cocoa-tokenizer."""
        return self.program.version

    def commands(self, folder: Path) -> list[list[str | Path]]:
        """The commands that tokenize into `folder`; writes the two configurations there."""
        configurations = {
            "collation": collation(self.event_map, self.tables),
            "tokenization": tokenization(self.event_map),
        }
        for name, value in configurations.items():
            text = yaml.safe_dump(value, sort_keys=False)
            (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
        out: list[str | Path] = ["--processed-data-home", folder]
        return [
            [self.program.path, "collate", "-c", folder / "collation.yaml", "-r", self.tables, *out],
            [self.program.path, "tokenize", "-c", folder / "tokenization.yaml", *out],
        ]

    def output(self, folder: Path) -> Timelines:
        """What the commands wrote."""
        return Timelines(folder / "tokens_times.parquet", "subject_id")


# measuring ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """A tool's runs on one input: seconds and peak GB (10⁹ bytes) of each; tokens and stays, the same in all.

    `tokens_of_shared_stays` counts the tokens of the stays that every tool kept.
    """

    name: str
    version: str
    seconds: tuple[float, ...]
    peak_gb: tuple[float, ...]
    tokens: int
    stays: int
    tokens_of_shared_stays: int

    @property
    def tokens_per_second(self) -> float:
        """Tokens made in the median time."""
        return self.tokens / statistics.median(self.seconds)


def measure(tools: Sequence[Ours | Cocoa], repeats: int) -> list[Measured]:
    """Run the tools in turns; who begins changes from one repeat to the next."""
    seconds: dict[str, list[float]] = {tool.name: [] for tool in tools}
    peaks: dict[str, list[float]] = {tool.name: [] for tool in tools}
    counts: dict[str, pl.DataFrame] = {}
    for repeat in range(repeats):
        for tool in tools if repeat % 2 == 0 else reversed(tools):
            with tempfile.TemporaryDirectory(prefix="ehrfm-bench-") as temporary:
                folder = Path(temporary)
                finished = [run_process(command, folder=ROOT) for command in tool.commands(folder)]
                counts[tool.name] = tool.output(folder).tokens()
            seconds[tool.name].append(sum(process.seconds for process in finished))
            peaks[tool.name].append(max(process.peak_gb for process in finished))
            _tell(
                f"  {tool.name} {repeat + 1} of {repeats}: {seconds[tool.name][-1]:.2f} s, "
                f"{peaks[tool.name][-1]:.2f} GB"
            )
    shared = counts[tools[0].name].select(ID)
    for tool in tools[1:]:
        shared = shared.join(counts[tool.name], on=ID, how="semi")
    return [
        Measured(
            tool.name,
            tool.version,
            tuple(seconds[tool.name]),
            tuple(peaks[tool.name]),
            tokens=int(counts[tool.name]["tokens"].sum()),
            stays=counts[tool.name].height,
            tokens_of_shared_stays=int(counts[tool.name].join(shared, on=ID, how="semi")["tokens"].sum()),
        )
        for tool in tools
    ]


@dataclass(frozen=True)
class Ratio:
    """Ours over the other's: of the medians, with the range over the pairs of runs."""

    estimate: float
    low: float
    high: float

    @classmethod
    def of(cls, ours: Sequence[float], other: Sequence[float]) -> Ratio:
        """From values of paired runs."""
        pairs = [a / b for a, b in zip(ours, other, strict=True)]
        return cls(statistics.median(ours) / statistics.median(other), min(pairs), max(pairs))


@dataclass(frozen=True)
class Result:
    """What was measured on one input: rows read, and copies (None: the tables as they are)."""

    rows: int
    copies: int | None
    tools: tuple[Measured, ...]

    @property
    def ratios(self) -> dict[str, Ratio]:
        """Ratios ours/cocoa of tokens per second and of peak memory; empty where ours ran alone."""
        if len(self.tools) < 2:
            return {}
        ours, other = self.tools
        rates = [[tool.tokens / seconds for seconds in tool.seconds] for tool in (ours, other)]
        return {"tokens_per_second": Ratio.of(*rates), "peak_gb": Ratio.of(ours.peak_gb, other.peak_gb)}

    def to_json(self) -> dict[str, Any]:
        """Every number, for `--json`."""
        tools = [
            asdict(tool)
            | {
                "median_seconds": statistics.median(tool.seconds),
                "tokens_per_second": tool.tokens_per_second,
                "median_peak_gb": statistics.median(tool.peak_gb),
            }
            for tool in self.tools
        ]
        ratios = {name: asdict(ratio) for name, ratio in self.ratios.items()}
        return {"rows": self.rows, "copies": self.copies, "tools": tools, "ratios": ratios}


COLUMNS: dict[str, Callable[[Result, Measured], str]] = {
    "rows": lambda result, _: f"{result.rows:,}",
    "tool": lambda _, tool: f"{tool.name} {tool.version}",
    "stays": lambda _, tool: f"{tool.stays:,}",
    "tokens": lambda _, tool: f"{tool.tokens:,}",
    "of shared stays": lambda _, tool: f"{tool.tokens_of_shared_stays:,}",
    "seconds (range)": lambda _, tool: _range(tool.seconds),
    "M tokens/s": lambda _, tool: f"{tool.tokens_per_second / 1e6:.2f}",
    "peak GB (range)": lambda _, tool: _range(tool.peak_gb),
}


def table_of(results: Sequence[Result]) -> list[str]:
    """Lines of the table: for each input a line a tool, then the ratios."""
    rows = [[cell(result, tool) for cell in COLUMNS.values()] for result in results for tool in result.tools]
    widths = [max(len(text) for text in column) for column in zip(COLUMNS, *rows, strict=True)]

    def line(cells: Iterable[str]) -> str:
        return "  ".join(text.rjust(width) for text, width in zip(cells, widths, strict=True))

    lines = [line(COLUMNS)]
    for result in results:
        lines += [line(cell(result, tool) for cell in COLUMNS.values()) for tool in result.tools]
        if result.ratios:
            rate, memory = (
                f"{ratio.estimate:.2f} ({ratio.low:.2f}–{ratio.high:.2f})" for ratio in result.ratios.values()
            )
            lines.append(f"  ours to cocoa: {rate} times the tokens a second, {memory} times the memory")
    return lines


def _range(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}–{max(values):.2f})"
