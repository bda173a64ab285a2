"""Hydra: configs composed, jobs launched, its errors said as ours. All that imports it is here or in cli."""
