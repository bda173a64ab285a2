"""The training problems: data, labels and losses."""
