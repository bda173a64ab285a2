"""What is measured at a checkpoint, as labelled arrays."""
