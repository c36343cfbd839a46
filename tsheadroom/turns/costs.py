"""What the steps of a call cost, in bytes that are taken apart. By that `offload` decides."""

from __future__ import annotations

from collections.abc import Mapping

from tsheadroom.aperture.call import HookCall
from tsheadroom.aperture.names import Digests
from tsheadroom.aperture.outline import Found
from tsheadroom.conversations.forms import Form

# What a pass over one item or one value costs beside that over its bytes.
ITEM_COST = 256
VALUE_COST = 64
# What it costs to find out, beside that pass, what is left out of an item's name.
RESPELLED_COST = 1024
# Known bytes are hashed and copied, but not taken apart: that is so much faster.
KNOWN_SHARE = 8


def of_all(body: bytes) -> int:
    """To take all of a call apart."""
    return max(len(body), VALUE_COST * body.count(b","))


def of_rest(body: bytes, found: Found) -> int:
    """To take the rest of it apart, and one pass over what is known."""
    known = found.resume - found.start
    values = body.count(b",", 0, found.start) + body.count(b",", found.resume)
    return max(len(body) - known, VALUE_COST * values) + known // KNOWN_SHARE


def of_forms(call: HookCall, digests: Digests, forms: Mapping[int, Form]) -> int:
    """To find where these forms stand in items that are spelled otherwise than they are named."""
    respelled = forms.keys() & digests.respelled
    anew = [call.items[index] for index in respelled - digests.known_moves.keys()]
    return sum(RESPELLED_COST + end - start for start, end in anew)
