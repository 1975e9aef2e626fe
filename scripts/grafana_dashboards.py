"""The Grafana dashboards as JSON, from boards/: `python -m scripts.grafana_dashboards` writes compose/grafana/dashboards.

A test compares. Data source and job are variables of each dashboard, so the files can be imported anywhere.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BigValueTextMode,
    GraphDrawStyle,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from scripts.boards import BOARDS
from scripts.boards.panel import IN_JOB, Board, Kind, Panel, Query

FOLDER = Path(__file__).parent.parent / "compose" / "grafana" / "dashboards"
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
TAG = "zjp"
STAT_ROWS = 4
PANEL_ROWS = 8
AnyPanel = timeseries.Panel | stat.Panel | table.Panel | heatmap.Panel | statetimeline.Panel


def texts() -> dict[str, str]:
    """Name of the file -> its content."""
    return {f"{board.name}.json": json.dumps(_built(board), indent=2, sort_keys=True) + "\n" for board in BOARDS}


def _built(board: Board) -> Any:
    made = (
        dashboard.Dashboard(board.title)
        .uid(f"zjp-{board.name}")
        .description(board.about)
        .tags([TAG])
        .readonly()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .refresh("10s")
        .time("now-1h", "now")
        .timezone("browser")
        .link(
            dashboard.DashboardLink("zjp")
            .type(DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .include_vars(True)
            .keep_time(True)
        )
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(_variable("job", "label_values(zjp_up, job)"))
    )
    for label, metric in board.variables:
        choice = _variable(label, f"label_values({metric}{{{IN_JOB}}}, {label})")
        made.with_variable(
            choice.multi(True).include_all(True).all_value(".*").current(VariableOption(text="All", value="$__all"))
        )
    for panel in board.panels:
        made.with_panel(_panel(panel))
    return json.loads(json.dumps(made.build(), cls=JSONEncoder))


def _variable(name: str, query: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(name.capitalize())
        .datasource(SOURCE)
        .query({"query": query, "refId": name})
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )


def _panel(panel: Panel) -> AnyPanel:
    made = _of_kind(panel)
    made.title(panel.title).description(panel.about).datasource(SOURCE).unit(panel.unit).span(panel.width)
    made.height(STAT_ROWS if panel.kind is Kind.STAT else PANEL_ROWS)
    for number, query in enumerate(panel.queries):
        made.with_target(_target(query, panel.kind).ref_id(chr(ord("A") + number)))
    return made


def _target(query: Query, kind: Kind) -> prometheus.Dataquery:
    made = prometheus.Dataquery().expr(query.expr).datasource(SOURCE)
    if query.legend:
        made.legend_format(query.legend)
    if kind is Kind.TABLE:
        made.instant().format(PromQueryFormat.TABLE)
    elif kind is Kind.STAT and query.legend:
        made.instant()  # names what is there now, not what was once
    elif kind is Kind.HEAT:
        made.range().format(PromQueryFormat.HEATMAP)
    else:
        made.range()
    return made


def _of_kind(panel: Panel) -> AnyPanel:
    if panel.kind is Kind.STAT:
        return _stat(panel)
    if panel.kind is Kind.TABLE:
        return table.Panel().show_header(True)
    if panel.kind is Kind.HEAT:
        return heatmap.Panel().calculate(False).show_tooltip()
    if panel.kind is Kind.STATES:
        return _states()
    return _lines(is_stacked=panel.kind is Kind.STACK)


def _states() -> statetimeline.Panel:
    names = {"0": ValueMappingResult(text="no", color="text"), "1": ValueMappingResult(text="yes", color="green")}
    return statetimeline.Panel().merge_values(True).show_value(VisibilityMode.NEVER).mappings([ValueMap(options=names)])


def _lines(*, is_stacked: bool) -> timeseries.Panel:
    legend = (
        common.VizLegendOptions()
        .display_mode(LegendDisplayMode.LIST)
        .placement(LegendPlacement.BOTTOM)
        .show_legend(True)
    )
    tooltip = common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
    made = timeseries.Panel().min(0).draw_style(GraphDrawStyle.LINE).legend(legend).tooltip(tooltip)
    if is_stacked:
        made.stacking(common.StackingConfig().mode(StackingMode.NORMAL).group("A"))
    return made.fill_opacity(30 if is_stacked else 0)


def _stat(panel: Panel) -> stat.Panel:
    made = stat.Panel().reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    if any(query.legend for query in panel.queries):
        made.text_mode(BigValueTextMode.NAME)
    if panel.bad_from is not None:
        return made.thresholds(_thresholds("green", panel.bad_from, "red"))
    if panel.bad_below is not None:
        return made.thresholds(_thresholds("red", panel.bad_below, "green"))
    return made


def _thresholds(first: str, value: float, then: str) -> dashboard.ThresholdsConfig:
    steps = [Threshold(value=None, color=first), Threshold(value=value, color=then)]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def main() -> None:
    for name, text in texts().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
