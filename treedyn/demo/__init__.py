"""Demonstrations for `treedyn demo`."""
