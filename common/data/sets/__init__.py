"""Data sets: folders of files as samples."""
