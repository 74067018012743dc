"""Logs of several trainings laid over each other."""
