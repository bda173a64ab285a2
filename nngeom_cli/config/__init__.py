"""What can be asked for, checked: the schema of each section, and what is said of a wrong key or value."""
