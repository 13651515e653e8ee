"""One file per verb: its settings and one function of the same name."""
