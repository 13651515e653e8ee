"""What is normal: a detector learns from history and scores every time and cell."""

from sarcast.runtime.table import table

DETECTORS = table(
    "a detector",
    linear_ar="sarcast.detectors.linear_ar:LinearAR",
    padim="sarcast.detectors.padim:PaDiM",
    rx="sarcast.detectors.rx:RX",
    transformer="sarcast.detectors.transformer:Transformer",
    z_score="sarcast.detectors.z_score:ZScore",
)
SCORERS = table(
    "a fitted detector",
    linear_ar="sarcast.detectors.linear_ar:LinearARScorer",
    padim="sarcast.detectors.padim:PaDiMScorer",
    rx="sarcast.detectors.rx:RXScorer",
    transformer="sarcast.detectors.transformer:TransformerScorer",
    z_score="sarcast.detectors.z_score:ZScorer",
)
