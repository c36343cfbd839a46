"""Draws what conversations cost by turn, with a line for each policy, as SVG."""

from __future__ import annotations

from scripts.lab.prompt_cache import Bill, percent

COLOURS = ("#888888", "#d1495b", "#2e7d32", "#1565c0", "#ef6c00", "#6a1b9a", "#00838f", "#5d4037")
WIDTH, HEIGHT, LEFT, TOP = 900, 460, 70, 30
RIGHT, BOTTOM = WIDTH - 20, HEIGHT - 50
HEAD = (
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
    ' font-family="sans-serif" font-size="13">'
)
TITLE = "Cumulative price of input tokens by turn (Anthropic, 100% = all conversations as they are)"


def plot(results: dict[str, dict[str, Bill]]) -> str:
    """Draw the cumulative price by turn over all conversations. Returns SVG."""
    curves = {name: _curve(list(bills.values())) for name, bills in results.items()}
    base = curves["as it is"][-1]
    most = max(curve[-1] for curve in curves.values()) or 1.0
    length = max(len(curve) for curve in curves.values()) - 1 or 1
    return "\n".join(
        [
            HEAD,
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
            f'<text x="{LEFT}" y="18">{TITLE}</text>',
            *_grid(base, most),
            *_lines(curves, base, most, length),
            f'<text x="{WIDTH / 2}" y="{HEIGHT - 14}">turns</text></svg>\n',
        ]
    )


def _curve(bills: list[Bill]) -> list[float]:
    """The sum of the costs up to each turn, one conversation after another."""
    total, curve = 0.0, [0.0]
    for bill in bills:
        curve += [total + cost for cost in bill.curve]
        total = curve[-1]
    return curve


def _y(share: float) -> str:
    """The height in the picture of a share of the highest cost."""
    return f"{TOP + (BOTTOM - TOP) * (1 - share):.1f}"


def _grid(base: float, most: float) -> list[str]:
    """A line for each quarter of what forwarding everything as it is costs."""
    out = []
    for share in range(0, int(100 * most / base) + 1, 25):
        y = _y(base * share / 100 / most)
        out.append(
            f'<path d="M{LEFT:.1f},{y}H{RIGHT}" stroke="#ddd"/>'
            f'<text x="{LEFT - 8}" y="{float(y) + 4}" text-anchor="end">{share}%</text>'
        )
    return out


def _lines(curves: dict[str, list[float]], base: float, most: float, length: int) -> list[str]:
    """Each policy's line and its name."""
    out = []
    for index, (name, curve) in enumerate(curves.items()):
        points = " ".join(
            f"{LEFT + (RIGHT - LEFT) * turn / length:.1f},{_y(cost / most)}"
            for turn, cost in enumerate(curve)
        )
        colour = COLOURS[index % len(COLOURS)]
        out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        label = f"{name} {percent(curve[-1], base)}%"
        out.append(
            f'<text x="{LEFT + 12}" y="{TOP + 20 + 18 * index}" fill="{colour}">{label}</text>'
        )
    return out
