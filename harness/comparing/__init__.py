"""What two measurements differ by: which cells answer to which, by how much, and whether that can be told."""
