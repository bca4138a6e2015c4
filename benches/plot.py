#!/usr/bin/env python3
"""A picture of a trace: operations a second over time, as SVG.

    beach bench fillrandom overwrite --num 40000000 --trace overwrite.csv
    benches/plot.py overwrite.csv overwrite.svg [--workload overwrite] [--title TEXT]

The mean is a solid line, a third of it a dashed one: a second below that is a stall.
"""

import argparse
import csv
import math
import sys
from html import escape

WIDTH, HEIGHT = 960, 420
LEFT, RIGHT, TOP, BOTTOM = 84, 150, 56, 56
INK, FAINT, LINE, MEAN, THIRD = "#222222", "#dddddd", "#1f6f8b", "#c05621", "#9b2c2c"


def step_of(most, count=6):
    """A round number, so that about `count` of it reach `most`."""
    rough = max(most, 1e-9) / count
    power = 10 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)


def short(value):
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:g} {unit}"
    return f"{value:g}"


def ticks(most):
    step = step_of(most)
    return [index * step for index in range(int(most / step + 1e-9) + 1)]


def read(path, workload):
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    names = list(dict.fromkeys(row["workload"] for row in rows))
    name = workload or (names[-1] if names else None)
    rows = [row for row in rows if row["workload"] == name]
    if not rows:
        sys.exit(f"{path}: no workload {name!r}; there are: {' '.join(names)}")
    at = [float(row["second"]) for row in rows]
    return name, at, [float(row["ops_per_second"]) for row in rows], [int(row["ops"]) for row in rows]


def plot(title, at, rates, ops):
    mean = sum(ops) / at[-1]
    # A splinter of a second at the end is drawn and not counted.
    whole = [rate for end, begin, rate in zip(at, [0, *at], rates) if end - begin > 0.9] or rates
    worst = min(whole)
    x_most, y_most = at[-1], max(rates) * 1.05
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    x = lambda second: LEFT + (right - LEFT) * second / x_most
    y = lambda rate: bottom - (bottom - TOP) * rate / y_most
    text = lambda px, py, words, more="": (
        f'<text x="{px:.1f}" y="{py:.1f}" fill="{INK}" {more}>{escape(words)}</text>')
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
             f'width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="13">',
             f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
             text(LEFT, 26, title, 'font-size="17" font-weight="bold"'),
             text(LEFT, 45, f"mean {short(float(f'{mean:.3g}'))}, worst second "
                            f"{short(float(f'{worst:.3g}'))} ({worst / mean:.0%} of it)")]
    for value in ticks(y_most):
        parts.append(f'<path d="M{LEFT} {y(value):.1f}H{right}" stroke="{FAINT}"/>')
        parts.append(text(LEFT - 8, y(value) + 4, short(value), 'text-anchor="end"'))
    for value in ticks(x_most):
        parts.append(f'<path d="M{x(value):.1f} {bottom}v5" stroke="{INK}"/>')
        parts.append(text(x(value), bottom + 20, f"{value:g}", 'text-anchor="middle"'))
    points = [f"{x(second):.1f} {y(rate):.1f}" for second, rate in zip([0, *at], [rates[0], *rates])]
    parts.append(f'<path d="M{"L".join(points)}" fill="none" stroke="{LINE}" stroke-width="1.5"/>')
    for value, color, dashes, name in [(mean, MEAN, "", "mean"),
                                       (mean / 3, THIRD, 'stroke-dasharray="7 5"', "a third of it")]:
        parts.append(f'<path d="M{LEFT} {y(value):.1f}H{right}" stroke="{color}" stroke-width="1.5" {dashes}/>')
        parts.append(text(right + 8, y(value) + 4, f"{name}: {short(float(f'{value:.3g}'))}", f'style="fill:{color}"'))
    parts += [f'<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="{INK}"/>',
              text((LEFT + right) / 2, HEIGHT - 14, "seconds", 'text-anchor="middle"'),
              text(0, 0, "operations a second",
                   f'text-anchor="middle" transform="translate(22 {(TOP + bottom) / 2:.0f}) rotate(-90)"'),
              "</svg>"]
    return "\n".join(parts) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("trace")
    parser.add_argument("picture")
    parser.add_argument("--workload", help="which one of the trace [the last]")
    parser.add_argument("--title")
    args = parser.parse_args()
    name, at, rates, ops = read(args.trace, args.workload)
    with open(args.picture, "w") as file:
        file.write(plot(args.title or f"{name}: operations in each second", at, rates, ops))


if __name__ == "__main__":
    main()
