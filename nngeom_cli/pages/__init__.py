"""Pages: a run or a sweep as one HTML file, and the same page served while a run is running."""
