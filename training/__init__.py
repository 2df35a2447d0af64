"""Machines: runs on accelerators, and the engine that carries them out."""
