"""SAR arithmetic: arrays in, arrays out. No files, no torch."""
