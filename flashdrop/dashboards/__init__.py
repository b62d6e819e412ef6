"""Grafana's dashboards as code: `python -m flashdrop.dashboards` writes them to `deploy/grafana/dashboards/`."""
