"""The limit of infinite width, and finite layers on the way to it."""
