"""What the scripts beside this package open; no part of tsheadroom.

door            what a script does first: go on in .venv's Python
traffic         recorded conversations as Aperture sends them; used by all three
bench           options of scripts/bench; its modes are latency, crowd, micro and profiling,
                made of growing (conversations), client, daemon and profiled
demo            the life of scripts/demo, with demo_setup, demo_tailnet and demo_savings
simulate        options and tables of scripts/simulate, with agent_turns (what is sent), policies
                (what is forwarded), prompt_cache (what it costs) and price_plot
json_heavy      makes tests/data/json_heavy.jsonl
"""
