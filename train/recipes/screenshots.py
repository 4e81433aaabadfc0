"""`python -m train.recipes.screenshots`: a picture of every page, for the README, in `docs/screenshots`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ehrfm_core.errors import UserError
from train.bench.dashboard import find_browser, served
from train.bench.dashboard_browser import TIMEOUT, drawn, menu, settled
from train.progress import say

ROOT = Path(__file__).resolve().parents[2]
STUDY = ROOT / "data_samples/studies/demo-two-hospitals"
OUT = ROOT / "docs/screenshots"
WIDTH, HEIGHT = 1440, 1000


def main(arguments: list[str] | None = None) -> int:
    """Take the pictures; return the exit status (0 done, 1 the input is at fault)."""
    parser = argparse.ArgumentParser(prog="python -m train.recipes.screenshots", description=__doc__)
    parser.add_argument("--study", type=Path, default=STUDY, help="the study to show (the bundled pair)")
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR", help="docs/screenshots")
    parser.add_argument("--dark", action="store_true", help="the dark theme")
    options = parser.parse_args(arguments)
    try:
        path, playwright = find_browser()
        options.out.mkdir(parents=True, exist_ok=True)
        with served(options.study) as (address, _, _), playwright() as play:
            browser = play.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
            names = [""]  # its menu names the others
            for name in names:
                scheme = "dark" if options.dark else "light"
                viewport = {"width": WIDTH, "height": HEIGHT}
                page = browser.new_context(viewport=viewport, color_scheme=scheme).new_page()
                page.goto(f"{address}/{name}?y=Long+stay", timeout=TIMEOUT)
                drawn(page, name)
                settled(page)
                names += [other for other in menu(page) if other not in names]
                file = options.out / f"{name or 'overview'}{'-dark' if options.dark else ''}.png"
                page.screenshot(path=str(file))
                page.context.close()
                say(f"  {file}")
            browser.close()
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
