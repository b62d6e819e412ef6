"""The dashboard of the web tier: who asks, how long it takes, what it costs, host by host."""

from __future__ import annotations

from flashdrop.dashboards.panels import Ask, Dashboard, Panel, Variable, figure

WEB = 'job="flashdrop-web"'
HERE = 'job="flashdrop-web",instance=~"$instance"'
BOTH = 'instance=~"$instance"'

PLATFORM = Dashboard(
    "flashdrop-platform",
    "Flashdrop: platform",
    "Throughput, latency and errors by route; queues, event loops and memory by host.",
    [
        figure(
            "Requests/s",
            "Answers of the lean door, all hosts.",
            "job:flashdrop_http_requests:rate20s",
            "reqps",
        ),
        figure(
            "Errors",
            "The share of 5xx within a minute; /readyz is left out. The budget is 0.1 %.",
            "job:flashdrop_http_errors:ratio_rate1m",
            "percentunit",
            amber=0.003,
            red=0.0144,
        ),
        figure(
            "Web processes",
            "That are running, all hosts.",
            f"sum(flashdrop_processes{{{WEB}}})",
        ),
        figure("Hosts up", "Web targets that answer Prometheus.", f"sum(up{{{WEB}}})"),
        figure(
            "Workers up",
            "Worker processes that answer Prometheus.",
            'sum(up{job="flashdrop-worker"})',
            red=1,
            amber=2,
            falls=True,
        ),
        figure(
            "Slowest loop",
            "How late the event loop of the busiest host wakes, 99th percentile of a minute.",
            f"max(instance:flashdrop_event_loop_lag_seconds:p99_1m{{{WEB}}})",
            "s",
            amber=0.1,
            red=0.25,
        ),
        Panel(
            "Requests by route",
            "Answers a second. Only the hot routes are counted here; the admin is below.",
            [Ask("route:flashdrop_http_requests:rate20s > 0", "{{route}}")],
            "reqps",
            is_stacked=True,
        ),
        Panel(
            "Latency by route, p99",
            "Time in the server, 99th percentile of a minute; waiting for a batch is part of it.",
            [Ask("route:flashdrop_http_request_duration_seconds:p99_1m", "{{route}}")],
            "s",
            red=1,
        ),
        Panel(
            "Latency by route, median and p95",
            "The same for the half, and for all but one in twenty.",
            [
                Ask("route:flashdrop_http_request_duration_seconds:p50_1m", "{{route}}, median"),
                Ask("route:flashdrop_http_request_duration_seconds:p95_1m", "{{route}}, p95"),
            ],
            "s",
        ),
        Panel(
            "Answers by status",
            "A second. 4xx are refusals and belong to a sale; 5xx spend the error budget.",
            [
                Ask(
                    f"sum by (status) (rate(flashdrop_http_requests_total{{{HERE}}}[20s])) > 0",
                    "{{status}}",
                )
            ],
            "reqps",
            is_stacked=True,
        ),
        Panel(
            "Errors, share",
            "5xx by window: a minute, five, thirty. Alerts ask for two of them.",
            [
                Ask("job:flashdrop_http_errors:ratio_rate1m", "1 m"),
                Ask("job:flashdrop_http_errors:ratio_rate5m", "5 m"),
                Ask("job:flashdrop_http_errors:ratio_rate30m", "30 m"),
            ],
            "percentunit",
            amber=0.003,
            red=0.0144,
        ),
        Panel(
            "Refused by the rate limiter",
            "A second, by what was over its limit. 0 while the limiter is off.",
            [Ask(f"sum by (scope) (rate(flashdrop_rate_limited_total{{{HERE}}}[1m]))", "{{scope}}")],
            "reqps",
        ),
        Panel(
            "Queues",
            "Items that wait for a batch, sampled once a second. At 8192 a queue is full and refuses: `overloaded`.",
            [Ask(f"sum by (batch) (flashdrop_queue_depth{{{HERE}}})", "{{batch}}")],
            "none",
            red=8192,
        ),
        Panel(
            "Batches",
            "Items that travelled in one round trip, on average of a minute. They grow with the load, up to 256.",
            [Ask("batch:flashdrop_batch_size:mean_1m", "{{batch}}")],
            "none",
        ),
        Panel(
            "Event loop, p99",
            "How late a task that asked for a quarter of a second is woken, by host and by worker.",
            [Ask(f"instance:flashdrop_event_loop_lag_seconds:p99_1m{{{BOTH}}}", "{{job}} {{instance}}")],
            "s",
            red=0.25,
        ),
        Panel(
            "Memory",
            "Resident, all processes of a host together.",
            [Ask(f"flashdrop_process_resident_memory_bytes{{{BOTH}}}", "{{job}} {{instance}}")],
            "bytes",
        ),
        Panel(
            "Requests by host",
            "Whether the load balancer spreads them evenly.",
            [Ask(f"instance:flashdrop_http_requests:rate20s{{{BOTH}}}", "{{instance}}")],
            "reqps",
        ),
        Panel(
            "The other door",
            "What Django's own handler answers, by status: the admin, and /metrics itself.",
            [Ask(f"sum by (status) (rate(django_http_responses_total_by_status_total{{{HERE}}}[1m]))", "{{status}}")],
            "reqps",
        ),
        Panel(
            "Versions",
            "Processes by version: two lines while a release is rolled out.",
            [Ask("count by (job, version, python, django) (flashdrop_build_info)", "{{job}} {{version}}, {{django}}")],
            "none",
        ),
        Panel(
            "Running for",
            "Since the oldest process of a host started. A line that falls is a restart.",
            [Ask(f"time() - flashdrop_process_start_time_seconds{{{BOTH}}}", "{{job}} {{instance}}")],
            "s",
        ),
    ],
    [Variable("instance", "Host", 'label_values(up{job=~"flashdrop-.+"}, instance)', takes_all=True)],
)
