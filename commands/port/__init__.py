"""The command that ports a net: record, write, prove, repair."""
