"""What can be measured: the interface between networks and those who measure them, and modules of torch behind it."""
