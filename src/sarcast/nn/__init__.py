"""Building blocks of networks: patches, relative position, attention, masks, time encodings, EMA."""
