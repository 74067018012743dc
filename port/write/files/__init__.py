"""A file of the port as text: its place, its origin, and marks that go out again."""
