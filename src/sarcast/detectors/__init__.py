"""What is normal: a detector learns from history and scores every time and cell."""

from sarcast.runtime.table import table

DETECTORS = table(
    "a detector",
    linear_ar="sarcast.detectors.linear_ar:LinearAR",
    matched_filter="sarcast.detectors.matched_filter:MatchedFilter",
    padim="sarcast.detectors.padim:PaDiM",
    rx="sarcast.detectors.rx:RX",
    transformer="sarcast.detectors.transformer:Transformer",
    z_score="sarcast.detectors.z_score:ZScore",
)
SCORERS = table(
    "a fitted detector",
    linear_ar="sarcast.detectors.linear_ar:LinearARScorer",
    matched_filter="sarcast.detectors.matched_filter:MatchedFilterScorer",
    padim="sarcast.detectors.padim:PaDiMScorer",
    rx="sarcast.detectors.rx:RXScorer",
    transformer="sarcast.detectors.forecasting:ForecastScorer",
    z_score="sarcast.detectors.z_score:ZScorer",
)
