"""Statistics over replicates and runs, their intervals, and tables of them; no torch."""
