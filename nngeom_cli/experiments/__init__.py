"""Experiments that are sweeps, one file a question: its numbers and its figure together."""
