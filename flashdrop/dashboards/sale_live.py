"""The dashboard to have open while a sale runs: one sale, and the shoppers' side of the shop."""

from __future__ import annotations

from flashdrop.dashboards.panels import Ask, Dashboard, Panel, Variable, figure

SKU = '{sku="$sku"}'

ORDERS = Panel(
    "Answers to those who buy",
    "What tries to buy were answered with, a second. `completed` are sold; `out_of_stock` and `limit_exceeded` are "
    "honest refusals; `pending`, `sale_not_ready` and `overloaded` should be rare. All sales together.",
    [Ask("sum by (outcome) (outcome:flashdrop_orders:rate20s) > 0", "{{outcome}}")],
    "reqps",
    is_stacked=True,
)
STOCK = Panel(
    "Units",
    "Available falls to 0; confirmed rises to the stock. Confirmed comes from the ledger, counted by a worker every "
    "two seconds, less often for large sales.",
    [
        Ask(f"sku:flashdrop_sale_stock_units:max{SKU}", "stock"),
        Ask(f"sku:flashdrop_sale_available_units:min{SKU}", "available"),
        Ask(f"sku:flashdrop_sale_confirmed_units:max{SKU}", "confirmed"),
    ],
    "none",
)

SALE_LIVE = Dashboard(
    "flashdrop-sale-live",
    "Flashdrop: sale, live",
    "One sale from the countdown to the last unit.",
    [
        figure(
            "Opens in",
            "Until the window opens; below 0 it is open.",
            f"sku:flashdrop_sale_seconds_to_opening:max{SKU}",
            "s",
            decimals=0,
        ),
        figure(
            "Phase",
            "What a shopper can do now. `not ready` means that the gate is not loaded.",
            f"max by (phase) (flashdrop_sale_phase{SKU}) == 1",
            legend="{{phase}}",
            shows_name=True,
        ),
        figure(
            "Available",
            "Units that may be reserved now.",
            f"sku:flashdrop_sale_available_units:min{SKU}",
        ),
        figure(
            "Confirmed",
            "Units sold, by the ledger.",
            f"sku:flashdrop_sale_confirmed_units:max{SKU}",
        ),
        figure(
            "Oldest pending",
            "How long the shopper who waits longest has had a reservation without its confirmation. Seconds at most.",
            f"max(flashdrop_sale_oldest_pending_seconds{SKU})",
            "s",
            amber=10,
            red=30,
            decimals=1,
        ),
        figure(
            "Viewers",
            "Websockets that are open, all sales and hosts together.",
            'sum(flashdrop_websockets_open{job="flashdrop-web"})',
        ),
        STOCK,
        ORDERS,
        Panel(
            "Time to reserve and to confirm",
            "From handing an order over to the gate's answer, and to the ledger's majority acknowledgement; waiting "
            "for a batch included.",
            [
                Ask("max by (step) (step:flashdrop_order_step_duration_seconds:p50_1m)", "{{step}}, median"),
                Ask("max by (step) (step:flashdrop_order_step_duration_seconds:p95_1m)", "{{step}}, p95"),
                Ask("max by (step) (step:flashdrop_order_step_duration_seconds:p99_1m)", "{{step}}, p99"),
            ],
            "s",
            red=1,
        ),
        Panel(
            "Pending orders",
            "Reservations that are not known to be in the ledger yet, by the gate's log.",
            [Ask(f"max(flashdrop_sale_pending_orders{SKU})", "pending")],
            "none",
        ),
        Panel(
            "Viewers and banners",
            "Open websockets, and banners offered to them a second.",
            [
                Ask('sum(flashdrop_websockets_open{job="flashdrop-web"})', "viewers"),
                Ask('sum(rate(flashdrop_websocket_messages_total{job="flashdrop-web"}[20s]))', "banners/s"),
            ],
            "short",
        ),
        Panel(
            "Purchases later than a second",
            "The share of purchases answered after more than a second. The budget is 1 %.",
            [Ask("job:flashdrop_orders_late:ratio_rate1m", "later than 1 s")],
            "percentunit",
            amber=0.03,
            red=0.144,
        ),
    ],
    [Variable("sku", "Sale", "label_values(flashdrop_sale_stock_units, sku)")],
)
