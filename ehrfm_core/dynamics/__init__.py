"""States, jumps, information, path measures, anomaly and maps."""
