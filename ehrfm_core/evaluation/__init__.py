"""Probes, baselines, metrics, intervals, transfer and associations."""
