"""Benchmarks: what is measured against what, and how, stands in each module."""
