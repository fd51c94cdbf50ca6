"""What `treedyn demo` shows."""
