"""Evaluation: one loop for every task, an evaluator each."""
