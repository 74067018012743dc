"""One alignment: set up, record, force, judge; what it found."""
