"""What both frameworks share: tables, settings, data, metrics. Loads neither torch nor paddle."""
