"""Edges: they translate between the engine and the outside, and never decide."""
