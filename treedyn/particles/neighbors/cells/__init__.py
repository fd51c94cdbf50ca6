"""Cell lists, from which neighbor lists are built."""
