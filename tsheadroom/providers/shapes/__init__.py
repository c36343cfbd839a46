"""The body shapes of the providers: where the conversation is, and what an item holds."""

from __future__ import annotations

from collections.abc import Container

from tsheadroom.providers.shapes.gemini import GEMINI
from tsheadroom.providers.shapes.messages import MESSAGES
from tsheadroom.providers.shapes.parts import COMPACTIONS, Json, Part, Shape, Slot
from tsheadroom.providers.shapes.responses import RESPONSES

__all__ = ["COMPACTIONS", "SHAPES", "Json", "Part", "Shape", "Slot", "shape_of"]

# MESSAGES is also for Bedrock Converse and OpenAI Chat: same member, and nearly the same items.
SHAPES: tuple[Shape, ...] = (MESSAGES, RESPONSES, GEMINI)


def shape_of(members: Container[str]) -> Shape | None:
    """The shape of a request body with these members; None if it holds no conversation."""
    return next((shape for shape in SHAPES if shape.key in members), None)
