"""The dashboard of the promises: what may never happen, and what makes good when something did."""

from __future__ import annotations

from flashdrop.dashboards.panels import Ask, Dashboard, Panel, figure

PROMISES = Dashboard(
    "flashdrop-promises",
    "Flashdrop: promises",
    "Never oversold, nothing stranded, nothing pending for long, and the workers that see to it. Green is the rule.",
    [
        figure(
            "Oversold",
            "Confirmed units beyond the stock, the worst sale. Never above 0.",
            "clamp_min(max(sku:flashdrop_sale_confirmed_units:max - sku:flashdrop_sale_stock_units:max), 0)",
            red=1,
        ),
        figure(
            "Forgotten",
            "Units that the ledger has sold and the gate has forgotten. A rebuild follows within seconds.",
            "max(flashdrop_sale_forgotten_units)",
            red=1,
        ),
        figure(
            "Stranded",
            "Units taken at the gate that no order has. A cancellation under way may show here for a moment.",
            "max(flashdrop_sale_stranded_units)",
            amber=1,
            red=10,
        ),
        figure(
            "Oldest pending",
            "The longest that any shopper waits for the confirmation of a reservation.",
            "max(flashdrop_sale_oldest_pending_seconds)",
            "s",
            amber=10,
            red=30,
            decimals=1,
        ),
        figure(
            "Not ready",
            "Sales on show whose gate is not loaded.",
            "sum(sku:flashdrop_sale_not_ready:max)",
            red=1,
        ),
        figure(
            "Last round",
            "Since the slowest worker last completed a look at every sale.",
            "max(time() - flashdrop_worker_last_round_timestamp_seconds)",
            "s",
            amber=5,
            red=15,
            decimals=1,
        ),
        Panel(
            "Units still to be sold, by the ledger",
            "Stock less confirmed units. Below 0 is oversold.",
            [Ask("sku:flashdrop_sale_stock_units:max - sku:flashdrop_sale_confirmed_units:max", "{{sku}}")],
            "none",
        ),
        Panel(
            "Taken but not confirmed",
            "Units issued by the gate less those confirmed by the ledger: reservations under way. It returns to 0.",
            [Ask("max by (sku) (flashdrop_sale_issued_units) - sku:flashdrop_sale_confirmed_units:max", "{{sku}}")],
            "none",
        ),
        Panel(
            "Drift",
            "Units by which gate and ledger disagree, as a worker last measured it.",
            [
                Ask("max by (sku) (flashdrop_sale_forgotten_units)", "{{sku}}, forgotten"),
                Ask("max by (sku) (flashdrop_sale_stranded_units)", "{{sku}}, stranded"),
            ],
            "none",
            red=1,
        ),
        Panel(
            "Drift that was certain",
            "How often within ten minutes a worker was certain of it and asked for a rebuild.",
            [Ask("sum by (kind) (increase(flashdrop_sale_drift_total[10m]))", "{{kind}}")],
            "none",
            decimals=0,
        ),
        Panel(
            "Oldest pending, by sale",
            "Age of the oldest reservation without its confirmation. Workers finish what is older than three seconds.",
            [Ask("max by (sku) (flashdrop_sale_oldest_pending_seconds)", "{{sku}}")],
            "s",
            red=30,
        ),
        Panel(
            "Pending orders",
            "Entries of the gate's log.",
            [Ask("max by (sku) (flashdrop_sale_pending_orders)", "{{sku}}")],
            "none",
        ),
        Panel(
            "Rebuilds",
            "Within ten minutes, by how they ended. `superseded`: a newer one was in force already.",
            [
                Ask(
                    'sum by (outcome) (increase(flashdrop_rebuilds_total{job="flashdrop-worker"}[10m]))',
                    "{{outcome}}",
                )
            ],
            "none",
            decimals=0,
        ),
        Panel(
            "Time of a rebuild",
            "The mean of the last ten minutes; a sale is closed as long.",
            [
                Ask(
                    "sum(increase(flashdrop_rebuild_duration_seconds_sum[10m])) "
                    "/ (sum(increase(flashdrop_rebuild_duration_seconds_count[10m])) > 0)",
                    "mean",
                )
            ],
            "s",
        ),
        Panel(
            "Epoch",
            "Rises by one with each rebuild of a sale's gate.",
            [Ask("max by (sku) (flashdrop_sale_epoch)", "{{sku}}")],
            "none",
        ),
        Panel(
            "Workers' last round",
            "Since each worker last completed a look at every sale. Half a second is normal.",
            [Ask("time() - flashdrop_worker_last_round_timestamp_seconds", "{{instance}}")],
            "s",
            red=15,
        ),
    ],
    shows="now-1h",
)
