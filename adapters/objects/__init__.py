"""Where files lie: on disk, or in a bucket."""
