"""The machine and the process: whole files, locks and signals, cores, memory, other programs, progress."""
