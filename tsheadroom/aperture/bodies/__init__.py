"""The body shapes of the providers: where the conversation is, and what an item says."""

from __future__ import annotations

from collections.abc import Container

from tsheadroom.aperture.bodies.gemini import GEMINI
from tsheadroom.aperture.bodies.messages import MESSAGES
from tsheadroom.aperture.bodies.parts import Json, Part, Shape, Slot
from tsheadroom.aperture.bodies.responses import RESPONSES

__all__ = ["Json", "Part", "Shape", "Slot", "shape_of"]

# Bedrock Converse and OpenAI Chat share the member name and nearly all of the walk.
_SHAPES: tuple[Shape, ...] = (MESSAGES, RESPONSES, GEMINI)


def shape_of(members: Container[str]) -> Shape | None:
    """The shape of a request body that has these members; None when it holds no conversation."""
    return next((shape for shape in _SHAPES if shape.key in members), None)
