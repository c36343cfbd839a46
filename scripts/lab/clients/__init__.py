"""Real coding agents against the hook: they run, their requests are recorded, the records judged.

The agents come from npm. All else is here: a gateway that stands in for Aperture, and a provider
whose model is a script. They run in a network namespace that has only a loopback device.
"""
