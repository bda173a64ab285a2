"""Starts and resumes runs, from config to figures."""
