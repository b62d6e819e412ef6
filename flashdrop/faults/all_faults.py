"""All faults, in the order of the report."""

from flashdrop.faults.faults import FAULTS

# What `make test` runs: within a minute, one of each kind.
QUICK = ["web-worker-killed", "redis-flushed", "redis-restored", "mongodb-stopped", "cluster-slot-unassigned"]

__all__ = ["FAULTS", "QUICK"]
