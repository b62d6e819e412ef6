"""What a dashboard is made of, and the JSON that Grafana reads for it (schema 39, Grafana 10 and later)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

WIDTH = 24
"""Of the grid. On a phone Grafana puts panels below each other, each as wide as the screen."""
DATASOURCE = {"type": "prometheus", "uid": "flashdrop-prometheus"}
GREEN, AMBER, RED = "green", "orange", "red"
SCHEMA = 39
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ask:
    """One question to Prometheus; `legend` names its lines, with labels as `{{sku}}`."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture or figure. `unit` is Grafana's name for it: `s`, `reqps`, `percentunit`, `bytes`, `none`, ..."""

    title: str
    description: str
    asks: Sequence[Ask]
    unit: str = "short"
    kind: Literal["timeseries", "stat"] = "timeseries"
    width: int = 12
    height: int = 8
    amber: float | None = None
    red: float | None = None
    """From here on a figure is shown in that colour; a graph gets a dashed line."""
    falls: bool = False
    """The colours hold below the limits instead."""
    is_stacked: bool = False
    decimals: int | None = None
    shows_name: bool = False
    """The legend is the figure: for one value out of a few, as a phase."""

    def as_json(self, number: int, x: int, y: int) -> Json:
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "targets": [
                {
                    "refId": chr(ord("A") + place),
                    "datasource": DATASOURCE,
                    "expr": ask.expr,
                    "legendFormat": ask.legend,
                    "instant": self.kind == "stat",
                    "range": self.kind != "stat",
                }
                for place, ask in enumerate(self.asks)
            ],
            "fieldConfig": {"defaults": self._defaults(), "overrides": []},
            "options": self._options(),
        }

    def _defaults(self) -> Json:
        defaults: Json = {"unit": self.unit, "thresholds": {"mode": "absolute", "steps": self._steps()}}
        if self.decimals is not None:
            defaults["decimals"] = self.decimals
        if self.kind == "timeseries":
            has_limit = self.amber is not None or self.red is not None
            defaults["min"] = 0
            defaults["custom"] = {
                "drawStyle": "line",
                "lineWidth": 2,
                "fillOpacity": 30 if self.is_stacked else 5,
                "showPoints": "never",
                "spanNulls": 15_000,
                "stacking": {"mode": "normal" if self.is_stacked else "none", "group": "A"},
                "thresholdsStyle": {"mode": "dashed" if has_limit else "off"},
            }
        return defaults

    def _steps(self) -> list[Json]:
        limits = [(AMBER, self.amber), (RED, self.red)]
        known = [(colour, limit) for colour, limit in limits if limit is not None]
        if not self.falls:
            return [{"color": GREEN, "value": None}, *({"color": colour, "value": limit} for colour, limit in known)]
        # Below the lowest limit the worst colour, and so on upwards.
        below = sorted(known, key=lambda pair: pair[1])
        colours = [colour for colour, _ in below] + [GREEN]
        return [
            {"color": colour, "value": limit}
            for colour, limit in zip(colours, [None, *(limit for _, limit in below)], strict=True)
        ]

    def _options(self) -> Json:
        if self.kind == "stat":
            return {
                "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
                "colorMode": "background_solid" if self.red is not None or self.amber is not None else "value",
                "graphMode": "none",
                "justifyMode": "center",
                "textMode": "name" if self.shows_name else "value",
                "orientation": "auto",
                "wideLayout": True,
            }
        return {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice at the top of a dashboard, filled from a label's values."""

    name: str
    label: str
    query: str
    takes_all: bool = False

    def as_json(self) -> Json:
        chosen: Json = {"text": "All", "value": "$__all"} if self.takes_all else {}
        return {
            "name": self.name,
            "label": self.label,
            "type": "query",
            "datasource": DATASOURCE,
            "query": {"query": self.query, "refId": self.name},
            "definition": self.query,
            "refresh": 2,  # whenever the time range changes: a new sale appears by itself
            "sort": 1,
            "multi": self.takes_all,
            "includeAll": self.takes_all,
            "allValue": ".+" if self.takes_all else None,
            "current": chosen,
            "options": [],
            "hide": 0,
        }


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One page. `uid` is its address and stays; panels flow from left to right and wrap."""

    uid: str
    title: str
    description: str
    panels: Sequence[Panel]
    variables: Sequence[Variable] = field(default=())
    shows: str = "now-15m"

    def as_json(self) -> Json:
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["flashdrop"],
            "schemaVersion": SCHEMA,
            "version": 1,
            "editable": False,
            "graphTooltip": 1,
            "refresh": "5s",
            "time": {"from": self.shows, "to": "now"},
            "timepicker": {"refresh_intervals": ["5s", "10s", "30s", "1m"]},
            "timezone": "browser",
            "links": [
                {
                    "title": "Flashdrop",
                    "type": "dashboards",
                    "tags": ["flashdrop"],
                    "asDropdown": True,
                    "includeVars": True,
                    "keepTime": True,
                }
            ],
            "templating": {"list": [variable.as_json() for variable in self.variables]},
            "annotations": {"list": [_alerts()]},
            "panels": self._placed(),
        }

    def _placed(self) -> list[Json]:
        placed = []
        x = y = row_height = 0
        for number, panel in enumerate(self.panels, start=1):
            if x + panel.width > WIDTH:
                x, y, row_height = 0, y + row_height, 0
            placed.append(panel.as_json(number, x, y))
            x, row_height = x + panel.width, max(row_height, panel.height)
        return placed


def _alerts() -> Json:
    """A mark on every graph where an alert began."""
    return {
        "name": "Alerts",
        "datasource": DATASOURCE,
        "enable": True,
        "iconColor": RED,
        "expr": 'ALERTS{alertname=~"Flashdrop.+", alertstate="firing"}',
        "titleFormat": "{{alertname}}",
        "textFormat": "{{sku}} {{instance}}",
        "step": "5s",
    }


def figure(title: str, description: str, expr: str, unit: str = "none", legend: str = "", **more: Any) -> Panel:
    """One large figure; six of them stand side by side."""
    return Panel(title, description, [Ask(expr, legend)], unit, kind="stat", width=4, height=4, **more)
