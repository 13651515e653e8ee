"""From scenes to one co-registered stack on one grid, and the stores of stacks and cells."""
