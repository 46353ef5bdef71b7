"""Many pictures, each its own run: planned (`plan`), painted (`worker`), spread over processes or machines (`run`),
kept as PNG files that tell how they were made and one table (`table`), and shown (`report`)."""
