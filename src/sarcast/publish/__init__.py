"""What people look at: maps, vectors, catalogues, a report."""
