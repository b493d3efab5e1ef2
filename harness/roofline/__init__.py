"""What a model costs, what the machine could do at best, and how far a cell is from that."""
