"""What both frameworks share: tables, settings, data and metrics. Loads neither torch nor paddle."""
