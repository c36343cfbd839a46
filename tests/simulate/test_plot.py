"""The plot has a point for each policy: higher for more harm, further left for a lower price."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.simulate import made
from tsheadroom.simulate import plot, policies, summary
from tsheadroom.simulate.blocks import Counter
from tsheadroom.simulate.replay import Replay
from tsheadroom.simulate.summary import Row, Share

SVG = "{http://www.w3.org/2000/svg}"


def row(tmp_path: Path) -> Row:
    outcome = Replay(made.recorded(tmp_path, made.two_reads()), Counter()).run(policies.as_it_is)
    (found,) = summary.rows({"as it is": [outcome]}, "as it is")
    return found


def points(svg: str) -> list[tuple[float, float]]:
    circles = ET.fromstring(svg).iter(f"{SVG}circle")
    return [(float(c.attrib["cx"]), float(c.attrib["cy"])) for c in circles]


def test_points_stand_where_they_should(tmp_path: Path) -> None:
    base = row(tmp_path)
    cheap = dataclasses.replace(base, policy="<cheap>", price=80.0, far=Share(5, 5.0, (1.0, 9.0)))
    svg = plot.plot([base, cheap])
    (x, y), (cheap_x, cheap_y) = points(svg)
    assert cheap_x < x
    assert cheap_y < y
    assert "&lt;cheap&gt;: 80.0, 5.0%" in svg


def test_only_the_last_set_is_shown(tmp_path: Path) -> None:
    base = row(tmp_path)
    assert len(points(plot.plot([base, dataclasses.replace(base, set="all")]))) == 1
