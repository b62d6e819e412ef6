"""The dashboard of the gate and the ledger, as the shop sees them: every operation, from both sides."""

from __future__ import annotations

from collections.abc import Iterator

from flashdrop.dashboards.panels import Ask, Dashboard, Panel, figure

NAMES = {"redis": "Redis", "mongodb": "MongoDB"}
WHO = {"flashdrop-web": "web", "flashdrop-worker": "worker"}


def _figures() -> Iterator[Panel]:
    for store, name in NAMES.items():
        yield figure(
            f"{name}, hosts",
            f"The share of web hosts that get answers from {name}.",
            f'avg(flashdrop_store_up{{store="{store}"}})',
            "percentunit",
            red=0.5,
            amber=1,
            falls=True,
        )
        yield figure(
            f"{name}, errors/s",
            "Operations that failed or were given up, a second.",
            f'sum(operation:flashdrop_store_errors:rate1m{{store="{store}"}})',
            "reqps",
            amber=0.1,
            red=1,
        )
    yield figure(
        "Board age",
        "Since the gate last answered the board, on the host where that is longest.",
        'max(flashdrop_board_age_seconds{job="flashdrop-web"})',
        "s",
        amber=1,
        red=3,
    )
    yield figure(
        "Slowest insert",
        "MongoDB's majority acknowledgement of a batch of orders, 99th percentile of a minute, web processes.",
        'max(operation:flashdrop_store_operation_duration_seconds:p99_1m{job="flashdrop-web",operation="insert"})',
        "s",
        amber=0.25,
        red=1,
    )


def _graphs() -> Iterator[Panel]:
    for store, name in NAMES.items():
        for job, who in WHO.items():
            here = f'{{job="{job}",store="{store}"}}'
            yield Panel(
                f"{name}, asked by {who}",
                "Operations a second, by the function that asks. One operation may carry a batch.",
                [Ask(f"operation:flashdrop_store_operations:rate1m{here}", "{{operation}}")],
                "ops",
            )
            yield Panel(
                f"{name}, p99 by {who}",
                "Time of an operation as the process saw it, its wait for a connection included.",
                [Ask(f"operation:flashdrop_store_operation_duration_seconds:p99_1m{here}", "{{operation}}")],
                "s",
                red=1,
            )
        yield Panel(
            f"{name}, errors",
            "Operations that failed or were given up, a second; 0 when all is well.",
            [Ask(f'operation:flashdrop_store_errors:rate1m{{store="{store}"}}', "{{job}} {{operation}}")],
            "ops",
        )
        yield Panel(
            f"{name} answers the board",
            "1 where a host gets its answers.",
            [Ask(f'flashdrop_store_up{{store="{store}"}}', "{{instance}}")],
            "none",
        )


STORES = Dashboard(
    "flashdrop-stores",
    "Flashdrop: stores",
    "Redis (the gate) and MongoDB (the ledger): what is asked of them, how long it takes, what fails.",
    [*_figures(), *_graphs()],
)
