"""What a frozen encoder's vectors tell, by simple models on few labels. No test label chooses anything.

A probe is a function: labelled vectors, their labels, vectors to judge, and by name `groups` (of the labelled
vectors) and `rng` -> what it says of each vector to judge.
"""

from sarcast.runtime.table import table

PROBES = table(
    "a probe",
    knn="sarcast.probes.nearest:nearest",
    knn_plain="sarcast.probes.nearest:plain",
    logistic="sarcast.probes.logistic:logistic",
    linear="sarcast.probes.linear:linear",
    ridge="sarcast.probes.ridge:ridge",
)
