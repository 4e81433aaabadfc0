"""The command line: `python -m train --help`. Thin: everything it calls is in `ehrfm_core`."""
