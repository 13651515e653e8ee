"""What encoders tell, by models taught on few labels. No test label chooses anything.

A probe is a function.
- Of vectors: labelled vectors, their labels, vectors to judge, and by name `groups` (of the labelled vectors)
  and `rng` -> what it says of each vector to judge.
- Of maps: labelled maps of tokens, what is to be learned of their pixels (a `Goal`), maps to judge, and by
  name `rng` and `device` -> what it says of each pixel.
- Of chips: an encoder, labelled chips as it takes them, what is to be learned of them, chips to judge, and by
  name `rng` and `device` -> what it says of each chip or pixel.
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
MAP_PROBES = table("a probe of maps", decoder="sarcast.probes.decoder:decode")
CHIP_PROBES = table("a probe of chips", finetune="sarcast.probes.finetune:finetune")
