"""Flashdrop's wiring and plumbing: nothing in here knows a business word."""

__version__ = "1.0.0"


class ConfigError(Exception):
    """The environment can't be used as it is; the text names each variable and what is wrong with it."""
