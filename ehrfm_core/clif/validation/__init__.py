"""Check a CLIF directory against clifpy's schemas and against what a study needs."""
