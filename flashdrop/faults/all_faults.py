"""All faults, in the order of the report."""

from importlib import import_module

from flashdrop.faults.faults import FAULTS

for module in ("process", "store", "loss", "redis_cluster", "network", "sale"):
    import_module(f"flashdrop.faults.{module}_faults")

# What `make test` runs: within a minute, one of each kind.
QUICK = ["web-worker-killed", "redis-flushed", "redis-restored", "mongodb-stopped", "cluster-slot-unassigned"]

__all__ = ["FAULTS", "QUICK"]
