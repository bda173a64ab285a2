"""One run from config to pictures, and going on with it."""
