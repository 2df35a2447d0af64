"""Sampling, training and evaluation, started as ``python -m training.engine SPEC.json``; no Django in here.

`spec`, `records`, `conversation`, `prompts`, `oracles`, `intervals` and `refusal` import no torch, so a web
process may use them.
"""
