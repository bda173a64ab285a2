"""The limit of infinite width, and finite layers that approach it."""
