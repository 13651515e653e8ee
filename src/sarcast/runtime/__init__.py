"""Settings, artefacts, progress, plug-in tables: what every step uses and no science."""
