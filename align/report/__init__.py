"""Words and numbers: JSON, page, JUnit, terminal. Runs nothing."""
