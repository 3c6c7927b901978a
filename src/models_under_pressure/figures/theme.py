"""One look for every figure: light, colour-blind safe, plain type; several small charts share scales and a legend."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import altair as alt

from models_under_pressure.figures import NOTHING, Row

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#5B5B5B", "#882255")
"""Okabe and Ito's palette (2008) without its yellow, which vanishes on white; grey and wine make eight."""
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-left", "triangle-right")
"""Shapes repeat what colours say, for readers of grey prints."""
INK = "#222222"
MUTED = "#5f5f5f"
RULE = "#dddddd"
BLUES, ORANGES = ("#f4f8fb", "#7fb2dc"), ("#fdf6ef", "#efa35f")
"""Ends of the fills of cells: on the darkest, ink still has a contrast of 7 to 1 (WCAG 2.2, 1.4.6)."""
FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
"""Fonts found everywhere, so that a PNG looks like the page."""
SIDE = 200
"""Width and height of a panel, in pixels."""
_LINE = {"strokeWidth": 2}

AnyRow = TypeVar("AnyRow", bound=Mapping[str, Any])


def themed(chart: Any, *, title: str, subtitle: str | list[str] = "") -> Any:
    """The chart, given its title and the shared configuration; `subtitle` says what the marks and intervals mean."""
    # set, not `configure_…`, each of which would copy all the chart
    chart.title = alt.TitleParams(title, subtitle=subtitle, anchor="start", frame="group", offset=12)
    chart.background, chart.padding = "white", 12
    chart.config = alt.Config(
        font=FONT,
        view=alt.ViewConfig(stroke=None),
        title=alt.TitleConfig(fontSize=16, color=INK, subtitleFontSize=12, subtitleColor=MUTED, subtitlePadding=4),
        axis=alt.AxisConfig(
            labelFontSize=12,
            titleFontSize=12,
            titleFontWeight="normal",
            labelColor=INK,
            titleColor=MUTED,
            gridColor=RULE,
            domainColor=MUTED,
            tickColor=MUTED,
            labelLimit=320,
            labelFlush=False,
        ),
        legend=alt.LegendConfig(
            orient="top", labelFontSize=12, titleFontSize=12, titleFontWeight="normal", titleColor=MUTED, labelLimit=320
        ),
        header=alt.HeaderConfig(labelFontSize=13, labelColor=INK, labelFontWeight="bold", titleFontSize=12),
    )
    return chart


def panels(charts: Sequence[Any], *, title: str, subtitle: str | list[str], columns: int = 4) -> alt.ConcatChart:
    """Charts in rows of `columns`, themed."""
    return themed(alt.concat(*charts, columns=columns, spacing=24), title=title, subtitle=subtitle)


def paired_columns(rows: Sequence[Row], most: int = 4) -> int:
    """Columns for panels of each dataset and probe: whole datasets in a row, at most `most` panels when they fit."""
    probes = len({row["probe"] for row in rows}) or 1
    return probes * max(1, most // probes)


def split(rows: Sequence[AnyRow], *keys: str) -> dict[tuple[Any, ...], list[AnyRow]]:
    """Rows by the values of `keys`, in the order of appearance."""
    parts: dict[tuple[Any, ...], list[AnyRow]] = {}
    for row in rows:
        parts.setdefault(tuple(row[key] for key in keys), []).append(row)
    return parts


def panel(*layers: Any, **properties: Any) -> alt.LayerChart:
    """Layers of one panel, with its size and title."""
    # Altair takes a layered chart with a size for one that may be facetted.
    return cast(alt.LayerChart, alt.layer(*layers).properties(**properties))


def inline(rows: Sequence[Row], *fields: str) -> alt.Chart:
    """A chart that carries its own rows, only their `fields` when given."""
    # a tuple: Altair copies a list, row by row, for every chart that this one becomes part of
    return alt.Chart(alt.InlineData(values=tuple({key: row[key] for key in fields or row} for row in rows)))


def tips(*fields: str | alt.Tooltip) -> list[alt.Tooltip]:
    """What a mark says when it is pointed at."""
    # Altair makes a channel of a string, too, but looks at all classes that it has for each
    return [alt.Tooltip(field) if isinstance(field, str) else field for field in fields]


def heading(text: str, note: str | list[str] = "", *, offset: int | None = 6) -> alt.TitleParams:
    """The title of a panel, with a note below."""
    return alt.TitleParams(
        text,
        subtitle=note or alt.Undefined,
        anchor="start",
        frame="group",
        fontSize=13,
        offset=alt.Undefined if offset is None else offset,
    )


def dataset_heading(rows: Sequence[Row], note: str | list[str] = "") -> alt.TitleParams:
    """The title of a panel that shows a dataset, or the mean over several: its name and number of records."""
    name = rows[0]["dataset"]
    what = f"mean of {rows[0]['datasets']} sets" if name == "mean" else name
    return heading(f"{what} (n = {rows[0]['n']:,})", note)


def titled(chart: Any, row: Row, *, by_probe: bool = False, width: int = SIDE, height: int = SIDE) -> Any:
    """A panel of the common size under its dataset and number of records, and its probe where it shows one only."""
    title = heading(f"{row['dataset']} (n = {row['n']:,})", row["probe"] if by_probe else "")
    return chart.properties(width=width, height=height, title=title)


def named(rows: Sequence[Row], field: str = "probe") -> list[str]:
    """The values of a field, in the order of appearance."""
    return list(dict.fromkeys(row[field] for row in rows))


def colour_scale(names: Sequence[str]) -> alt.Scale:
    """A fixed colour per name, in the order given; past eight the colours repeat and shapes tell them apart."""
    return alt.Scale(domain=list(names), range=[COLOURS[number % len(COLOURS)] for number in range(len(names))])


def shape_scale(names: Sequence[str]) -> alt.Scale:
    """A fixed shape per name, in the order given; offset past eight so that no pair of colour and shape repeats."""
    shapes = [SHAPES[(number + number // len(COLOURS)) % len(SHAPES)] for number in range(len(names))]
    return alt.Scale(domain=list(names), range=shapes)


def colour_by(field: str, names: Sequence[str], title: str | None = "Monitor", *, legend: Any = alt.Undefined) -> Any:
    """Colour by a field, the same in every panel."""
    return alt.Color(f"{field}:N", title=title, scale=colour_scale(names), sort=list(names), legend=legend)


def shape_by(field: str, names: Sequence[str], title: str | None = "Monitor", *, legend: Any = alt.Undefined) -> Any:
    """Shape by a field, which says again what colour says."""
    return alt.Shape(f"{field}:N", title=title, scale=shape_scale(names), sort=list(names), legend=legend)


def auroc_scale(rows: Sequence[Row], low: str = "auroc_low") -> alt.Scale:
    """From just under the lowest interval, or chance, to 1."""
    lowest = min([0.5, *(row[low] for row in rows if low in row)])
    return alt.Scale(domain=[max(0.0, lowest - 0.02), 1.0], zero=False, nice=False)


def share_axis(field: str, title: str, axis: type[alt.X] | type[alt.Y]) -> Any:
    """An axis from 0 to 1."""
    return axis(
        f"{field}:Q",
        title=title,
        scale=alt.Scale(domain=[0, 1]),
        axis=alt.Axis(values=[0, 0.2, 0.4, 0.6, 0.8, 1], tickCount=6, format=".1f", labelOverlap=False),
    )


def powers_axis(values: Sequence[float], *, most: int = 5) -> alt.Axis:
    """An axis for a logarithmic scale that holds these values: ticks and grid at powers of ten only, at most `most`."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    step = max(1, math.ceil((high - low) / most))
    powers = range(low, high + step, step)
    names = [f"1e{power}" for power in powers]
    return alt.Axis(
        values=[10.0**power for power in powers],
        labelExpr=f"{names}[round((log(datum.value) / LN10 - {low}) / {step})]",
        labelOverlap=False,
    )


def reference(*points: tuple[float, float]) -> alt.Chart:
    """A dashed line through points."""
    rows = [{"x": x, "y": y} for x, y in points]
    return inline(rows).mark_line(strokeDash=[4, 4], color=MUTED, strokeWidth=1).encode(x="x:Q", y="y:Q")


def upright(x: float, dash: Sequence[int] = (2, 3)) -> alt.Chart:
    """A dashed upright line at `x`."""
    return inline([{"x": x}]).mark_rule(strokeDash=list(dash), color=MUTED).encode(x="x:Q")


def level_bars(
    base: alt.Chart, low: alt.X, value: str, high: str = "", *, size: int, shape: Any = alt.Undefined, **looks: Any
) -> list[alt.Chart]:
    """Level intervals from `low` to `high`, by default `<value>_high`, and a point at each estimate."""
    bars = base.mark_rule(strokeWidth=2, **looks).encode(x=low, x2=f"{high or f'{value}_high'}:Q")
    points = base.mark_point(filled=True, size=size, opacity=1, **looks).encode(x=f"{value}:Q", shape=shape)
    return [bars, points]


def joined_bars(
    base: alt.Chart,
    low: alt.Y,
    value: Any,
    high: str = "auroc_high",
    *,
    size: int,
    shape: alt.Shape,
    bar: Mapping[str, Any],
    line: Mapping[str, Any] = _LINE,
    order: Any = alt.Undefined,
) -> list[alt.Chart]:
    """Upright intervals, a line through the estimates, and a point at each; `bar` and `line` are looks of marks."""
    return [
        base.mark_rule(**bar).encode(y=low, y2=f"{high}:Q"),
        base.mark_line(**line).encode(y=value, order=order),
        base.mark_point(filled=True, size=size, opacity=1).encode(y=value, shape=shape),
    ]


def means(rows: Sequence[AnyRow]) -> list[AnyRow]:
    """The rows of means over datasets."""
    return [row for row in rows if row["dataset"] == "mean"]


def estimate(row: Row, name: str = "auroc") -> str:
    """A metric with its interval, in words."""
    return f"{row[name]:.2f} [{row[f'{name}_low']:.2f}, {row[f'{name}_high']:.2f}]"


def of_each_probe(rows: Sequence[Row], sentence: Callable[[str, list[Row]], str]) -> str:
    """A sentence for every probe."""
    return " ".join(sentence(probe, part) for (probe,), part in split(rows, "probe").items()) or NOTHING


def lowest_to_highest(rows: Sequence[Row], number: Callable[[list[Row]], float], sentence: str) -> str:
    """The sentence for every probe, with a number's least and greatest value over datasets."""

    def told(probe: str, part: list[Row]) -> str:
        numbers = {dataset: number(own) for (dataset,), own in split(part, "dataset").items()}
        lowest, highest = min(numbers, key=lambda name: numbers[name]), max(numbers, key=lambda name: numbers[name])
        ends = {"low": numbers[lowest], "lowest": lowest, "high": numbers[highest], "highest": highest}
        return sentence.format(probe=probe, **ends)

    return of_each_probe(rows, told)
