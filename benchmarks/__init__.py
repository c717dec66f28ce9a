"""asv benchmarks of corgi; see README.md."""
