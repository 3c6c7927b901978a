"""One look for every figure: light, colour-blind safe, plain type."""

from typing import Any

import altair as alt

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#5B5B5B", "#882255")
"""Okabe and Ito's palette (2008) without its yellow, which vanishes on white; grey and wine make eight."""

SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-left", "triangle-right")
"""Shapes repeat what colours say, for readers of grey prints."""

INK = "#222222"
MUTED = "#5f5f5f"
RULE = "#dddddd"

FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
"""Fonts found everywhere, so that a PNG looks like the page."""


def themed(chart: Any, *, title: str, subtitle: str | list[str] = "") -> Any:
    """The chart with its title and the shared configuration; `subtitle` says what the marks and intervals mean."""
    return (
        chart.properties(
            title=alt.TitleParams(title, subtitle=subtitle, anchor="start", frame="group", offset=12),
            background="white",
            padding=12,
        )
        .configure(font=FONT)
        .configure_view(stroke=None)
        .configure_title(fontSize=16, color=INK, subtitleFontSize=12, subtitleColor=MUTED, subtitlePadding=4)
        .configure_axis(
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
        )
        .configure_legend(
            orient="top", labelFontSize=12, titleFontSize=12, titleFontWeight="normal", titleColor=MUTED, labelLimit=320
        )
        .configure_header(labelFontSize=13, labelColor=INK, labelFontWeight="bold", titleFontSize=12)
    )


def colour_scale(names: list[str]) -> alt.Scale:
    """A fixed colour per name, in the order given; past eight the colours repeat and shapes tell them apart."""
    return alt.Scale(domain=names, range=[COLOURS[number % len(COLOURS)] for number in range(len(names))])


def shape_scale(names: list[str]) -> alt.Scale:
    """A fixed shape per name, in the order given; offset past eight so that no pair of colour and shape repeats."""
    return alt.Scale(
        domain=names, range=[SHAPES[(number + number // len(COLOURS)) % len(SHAPES)] for number in range(len(names))]
    )
