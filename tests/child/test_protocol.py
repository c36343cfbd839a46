"""Both ends must agree on every byte of a chain."""

from tsheadroom.child.protocol import EMPTY_CHAIN, chain, form_token

ONE, TWO = "01" * 16, "02" * 16


def test_chain_is_what_every_release_computed() -> None:
    # Fixed values: decisions on disk outlive a daemon, and a child may be of another version.
    assert chain(EMPTY_CHAIN, ONE).hex() == "34f8f91b15cb5ca4c7f3941324d51c78"
    assert form_token([(["content", 0], "a\u00e9")]).hex() == "211bc30796c54370c8a1a0a099b4aef3"


def test_chain_tells_order_and_form() -> None:
    token = form_token([(["content"], "short")])
    chains = {
        chain(chain(EMPTY_CHAIN, ONE), TWO),
        chain(chain(EMPTY_CHAIN, TWO), ONE),
        chain(chain(EMPTY_CHAIN, ONE, token), TWO),
        chain(chain(EMPTY_CHAIN, ONE), TWO, token),
    }
    assert len(chains) == 4


def test_token_tells_slot_and_text() -> None:
    tokens = {
        form_token([(["a"], "x")]),
        form_token([(["b"], "x")]),
        form_token([(["a"], "y")]),
        form_token([(["a"], "x"), (["b"], "x")]),
        form_token([]),
    }
    assert len(tokens) == 5


def test_token_takes_half_a_surrogate_pair() -> None:
    assert form_token([(["a"], "\ud800")]) != form_token([(["a"], "\udc00")])
