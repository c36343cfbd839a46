"""Draws the price of policies against the share of edits that they make harder, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from tsheadroom.simulate.summary import Row

_COLOURS = ("#888888", "#2e7d32", "#d1495b", "#1565c0", "#ef6c00", "#6a1b9a", "#00838f", "#5d4037")
_WIDTH, _HEIGHT, _LEFT, _TOP = 900, 480, 70, 40
_RIGHT, _BOTTOM = _WIDTH - 260, _HEIGHT - 55
_TICKS = 5
_HEAD = (
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
    ' font-family="sans-serif" font-size="13">'
)
_PRICE = "price, percent of forwarding as it is"
_HARM = "located edits whose old text is far or split, percent"
_MARGIN = 0.1  # of the range of prices, at both sides


def plot(rows: Sequence[Row]) -> str:
    """A point for each policy, over all conversations. Returns SVG.

    There are no intervals in it: they say how far all points may be off together, and policies are
    compared on the same conversations.
    """
    shown = [row for row in rows if row.set == rows[-1].set]
    low, high = min(row.price for row in shown), max(row.price for row in shown)
    margin = _MARGIN * ((high - low) or 1.0)
    scale = _Scale(low - margin, high + margin, max(map(_harm, shown)) * (1 + _MARGIN) or 1.0)
    return "\n".join(
        [
            _HEAD,
            f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
            f'<text x="{_LEFT - 40}" y="22">{_HARM}</text>',
            *scale.grid(),
            *(_point(row, scale, at) for at, row in enumerate(shown)),
            f'<text x="{_RIGHT}" y="{_HEIGHT - 12}" text-anchor="end">{_PRICE}</text></svg>\n',
        ]
    )


def _harm(row: Row) -> float:
    return row.far.percent + row.split.percent


class _Scale:
    """Where a price and a share stand in the picture."""

    def __init__(self, low: float, high: float, most: float) -> None:
        self._low, self._high, self._most = low, high, most

    def x(self, price: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * (price - self._low) / (self._high - self._low)

    def y(self, share: float) -> float:
        return _BOTTOM - (_BOTTOM - _TOP) * share / self._most

    def grid(self) -> list[str]:
        """Lines with their values, and what the axes show."""
        out = []
        for at in range(_TICKS + 1):
            price = self._low + (self._high - self._low) * at / _TICKS
            share = self._most * at / _TICKS
            x, y = self.x(price), self.y(share)
            out.append(
                f'<path d="M{x:.1f},{_TOP}V{_BOTTOM}M{_LEFT},{y:.1f}H{_RIGHT}" stroke="#ddd"/>'
                f'<text x="{x:.1f}" y="{_BOTTOM + 18}" text-anchor="middle">{price:.1f}</text>'
                f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{share:.1f}</text>'
            )
        return out


def _point(row: Row, scale: _Scale, at: int) -> str:
    colour = _COLOURS[at % len(_COLOURS)]
    name = f"{row.policy}: {row.price:.1f}, {_harm(row):.1f}%"
    return (
        f'<circle cx="{scale.x(row.price):.1f}" cy="{scale.y(_harm(row)):.1f}" r="5"'
        f' fill="{colour}" fill-opacity="0.7"/>'
        f'<text x="{_RIGHT + 12}" y="{_TOP + 14 + 20 * at}" fill="{colour}">{escape(name)}</text>'
    )
