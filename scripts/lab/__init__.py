"""The code of scripts/bench, scripts/demo and scripts/simulate; no part of tsheadroom.

door            what a script does first: it goes on in .venv's Python
traffic         recorded conversations as Aperture sends them; all three scripts use it
bench           the command of scripts/bench; its modes are latency, crowd, micro and profiling,
                which use growing (conversations), client, daemon and profiled
demo            the command of scripts/demo, with demo_setup, demo_tailnet and demo_savings
simulate        the command of scripts/simulate, with agent_turns (what is sent), policies (what is
                forwarded), prompt_cache (what that costs) and price_plot
json_heavy      makes tests/data/json_heavy.jsonl
"""
