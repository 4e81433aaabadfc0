"""The study on disk: layout, manifest, reading and writing."""

from ehrfm_core.study.reader import Study, list_studies, open_study

__all__ = ["Study", "list_studies", "open_study"]
