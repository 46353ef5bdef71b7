"""The figures of the lessons: what they share in `base`, then one file a room."""
