"""The material and the grammar behind datasets/: see scripts/make-datasets.py."""
