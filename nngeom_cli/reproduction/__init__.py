"""The paper's figures and claims again, with a verdict on each."""
