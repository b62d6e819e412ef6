"""Benchmarks that anyone can rerun: each starts its own stores, reports medians, and stops what it started."""
