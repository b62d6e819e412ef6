"""Stores that a checkout starts for itself: real servers, from the PATH or from wheels, never a fake.

For development, demos and tests. Each lives in a folder, listens on loopback, and ends with whoever started it.
"""
