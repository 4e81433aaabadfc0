"""Side-by-side tables that show how plausible two synthetic hospitals are.

python -m train.recipes.plausibility OUT [--real DIR] [--json]

OUT is what `python -m train synthesize OUT` wrote. Both hospitals are tokenized, into a temporary study, and
stand beside the paper's tables; OUT/mimic stands beside a real hospital: values, charting intervals, and the
signs of correlations.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import polars as pl

from ehrfm_core.errors import UserError
from ehrfm_core.published import SITES, published
from ehrfm_core.sources.mimic_demo import import_mimic_demo
from ehrfm_core.study import open_study
from ehrfm_core.synthesis.plausibility.compare import Comparison, compare, synthetic_sites
from ehrfm_core.synthesis.plausibility.paper import SPLIT, against_paper
from ehrfm_core.synthesis.plausibility.values import EVERYWHERE
from train.__main__ import main as train
from train.progress import progress_bar, say

FEWEST_VALUES = 30  # of either hospital in a place: with fewer the row is left out of the printed tables
GROUPS = {EVERYWHERE: "all stays", "icu_24h": "ICU within 24 h", "not_icu_24h": "no ICU within 24 h"}
NAMES = ("real", "synthetic")
NOTHING = "–"
Row = Mapping[str, Any]


def main(arguments: list[str] | None = None) -> int:
    """Make the tables and print them; return the exit status, 1 where the input is at fault."""
    parser = argparse.ArgumentParser(
        prog="python -m train.recipes.plausibility",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="a folder written by `synthesize`")
    parser.add_argument(
        "--real", type=Path, metavar="DIR", help="a real hospital's CLIF tables (the open MIMIC-IV demo)"
    )
    parser.add_argument("--json", action="store_true", dest="as_json", help="print JSON in place of tables")
    options = parser.parse_args(arguments)
    try:
        return _run(options.out, options.real, as_json=options.as_json)
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1


def _run(out: Path, real: Path | None, *, as_json: bool) -> int:
    sites = synthetic_sites(out)
    with tempfile.TemporaryDirectory(prefix="ehrfm-plausibility-") as temporary:
        if real is None:
            real = Path(temporary) / "demo"
            import_mimic_demo(real)
        with progress_bar("comparing", " steps") as bar:
            comparison = compare(sites[SITES[0]], real, progress=lambda done, total: bar(done, total, ""))
        study = Path(temporary) / "study"
        named = [word for site, folder in sites.items() for word in ("--site", f"{site}={folder}")]
        with redirect_stdout(sys.stderr):
            status = train(["tokenize", str(study), *named])
        if status:
            return status
        stays = {site: open_study(study).site_table(site, "stays") for site in sites}
    paper = {site: against_paper(frame, site) for site, frame in stays.items()}
    say(_as_json(paper, comparison) if as_json else "\n".join(lines(paper, comparison)))
    return 0


def _as_json(paper: Mapping[str, pl.DataFrame], comparison: Comparison) -> str:
    content: dict[str, Any] = {
        "split": SPLIT,
        "paper": {site: frame.to_dicts() for site, frame in paper.items()},
    }
    for name in ("values", "gaps", "early", "signs"):
        content[name] = getattr(comparison, name).to_dicts()
    content |= {"verdict": comparison.verdict, "notes": comparison.notes}
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)


def lines(paper: Mapping[str, pl.DataFrame], comparison: Comparison) -> list[str]:
    """All tables as Markdown."""
    cited = published("cohort")
    out = [
        f"Stays of the {SPLIT} splits beside those of the paper ({cited.where}, {cited.url}). In brackets "
        "95 % intervals: of means and correlations over resampled patients, of shares Wilson's.",
    ]
    for site, frame in paper.items():
        out += ["", f"## {site} and the paper's {site.upper()}", ""]
        out += _table(
            ("", "n", "synthetic", "published", "difference"),
            (
                (
                    row["characteristic"],
                    _count(row["n"]),
                    _interval(row, "synthetic", "ci"),
                    _number(row["published"]),
                    _number(row["difference"], sign="+"),
                )
                for row in frame.to_dicts()
            ),
        )
    out += ["", "## Values, synthetic mimic beside the real hospital", ""]
    out += ["5, 25, 50, 75 and 95 % of the values; KS is the distance between the two distributions.", ""]
    out += _quantile_table(comparison.values, ("p5", "p25", "p50", "p75", "p95"), ks=True)
    out += ["", "## Hours between consecutive records of a category in a stay (25, 50 and 75 %)", ""]
    out += _quantile_table(comparison.gaps, ("p25", "p50", "p75"), ks=False)
    out += [
        "",
        f"In both tables places where either hospital has fewer than {FEWEST_VALUES} are left out.",
        "",
    ]
    out += ["## Stays with any record in the first 24 h", ""]
    out += _table(
        ("", "stays", "n real", "n synthetic", *NAMES),
        (
            (
                row["table"],
                GROUPS[row["group"]],
                *(_count(row[f"{name}_n"]) for name in NAMES),
                *(_interval(row, f"{name}_share", name) for name in NAMES),
            )
            for row in comparison.early.to_dicts()
        ),
    )
    out += ["", "## Signs of correlations (Spearman, medians of 6 hours of a stay)", ""]
    out += _table(
        ("pair", *NAMES, "clear in the real data", "same sign"),
        (
            (
                f"{row['first']}–{row['second']}",
                *(_interval(row, f"{name}_rho", name) for name in NAMES),
                _told(row["real_clear"]),
                _told(row["agree"]),
            )
            for row in comparison.signs.to_dicts()
        ),
    )
    return [*out, "", comparison.verdict, *comparison.notes]


def _quantile_table(frame: pl.DataFrame, keys: Sequence[str], *, ks: bool) -> list[str]:
    """Rows of whole hospitals, and those of a place where both have enough."""
    return _table(
        ("category", "where", "n real", "n synthetic", *NAMES, *(["KS"] if ks else [])),
        (
            (
                row["category"],
                row["place"],
                *(_count(row[f"{name}_n"]) for name in NAMES),
                *(" · ".join(_short(row[f"{name}_{key}"]) for key in keys) for name in NAMES),
                *([_number(row["ks"])] if ks else []),
            )
            for row in frame.to_dicts()
            if row["place"] == EVERYWHERE or min(row[f"{name}_n"] for name in NAMES) >= FEWEST_VALUES
        ),
    )


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    first, *rest = (f"| {' | '.join(row)} |" for row in (tuple(head), *rows))
    return [first, "|---" * (first.count("|") - 1) + "|", *rest]


def _interval(row: Row, estimate: str, bounds: str) -> str:
    low, high = row[f"{bounds}_low"], row[f"{bounds}_high"]
    bracket = "" if low is None else f" [{_number(low)}, {_number(high)}]"
    return _number(row[estimate]) + bracket


def _number(value: float | None, *, sign: str = "") -> str:
    """Three decimals up to 1, then one; none of whole numbers."""
    if value is None:
        return NOTHING
    return f"{value:{sign},.{3 if abs(value) <= 1 else 0 if value.is_integer() else 1}f}"


def _short(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.4g}"


def _count(value: int | None) -> str:
    return NOTHING if value is None else f"{value:,}"


def _told(value: bool | None) -> str:
    return {True: "yes", False: "no", None: NOTHING}[value]


if __name__ == "__main__":
    sys.exit(main())
