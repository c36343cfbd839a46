"""The code of the scripts beside it that are Python; no part of tsheadroom.

door            what a script does first: it goes on in .venv's Python
traffic         recorded conversations as Aperture sends them; bench and demo use it
agreement       the command of scripts/agreement, with agreement_turns (what is sent) and
                agreement_provider (which asks)
bench           the command of scripts/bench; its modes are latency, crowd, micro and profiling,
                which use growing (conversations), client, daemon and profiled
clients         a package, the command of scripts/clients
demo            the command of scripts/demo, with demo_setup, demo_tailnet and demo_savings
json_heavy      makes tests/data/json_heavy.jsonl
"""
