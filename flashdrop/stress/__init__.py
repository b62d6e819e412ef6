"""The load kit of `k6/`, run against a shop: progress while it lasts, the verdict, and the server's own audit."""
