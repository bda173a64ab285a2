"""A user's table, whatever program saved it: from bytes to columns of numbers and classes."""
