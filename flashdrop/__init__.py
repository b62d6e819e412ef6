"""Flashdrop's wiring and plumbing: nothing in here knows a business word."""

__version__ = "0.1.0"
