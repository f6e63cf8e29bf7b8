"""The parts of scripts/measure_trained.py."""
