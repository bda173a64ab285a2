"""Networks with a replicate axis, one step of all of them, and the loop that yields checkpoints."""
