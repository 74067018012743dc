"""The words of what commands print, in English and Chinese."""
