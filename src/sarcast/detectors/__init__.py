"""What is normal: a detector learns from history and scores every time and cell."""

from sarcast.runtime.table import table

DETECTORS = table(
    "a detector",
    ensemble="sarcast.detectors.ensemble:Ensemble",
    geometry_transformer="sarcast.detectors.geometry_transformer:GeometryTransformer",
    gru="sarcast.detectors.gru:GRU",
    linear_ar="sarcast.detectors.linear_ar:LinearAR",
    lstm="sarcast.detectors.lstm:LSTM",
    matched_filter="sarcast.detectors.matched_filter:MatchedFilter",
    padim="sarcast.detectors.padim:PaDiM",
    probabilistic_transformer="sarcast.detectors.probabilistic_transformer:ProbabilisticTransformer",
    rx="sarcast.detectors.rx:RX",
    tcn="sarcast.detectors.tcn:TCN",
    transformer="sarcast.detectors.transformer:Transformer",
    z_score="sarcast.detectors.z_score:ZScore",
)
SCORERS = table(
    "a fitted detector",
    ensemble="sarcast.detectors.ensemble:EnsembleScorer",
    geometry_transformer="sarcast.detectors.forecasting:ForecastScorer",
    gru="sarcast.detectors.forecasting:ForecastScorer",
    linear_ar="sarcast.detectors.linear_ar:LinearARScorer",
    lstm="sarcast.detectors.forecasting:ForecastScorer",
    matched_filter="sarcast.detectors.matched_filter:MatchedFilterScorer",
    padim="sarcast.detectors.padim:PaDiMScorer",
    probabilistic_transformer="sarcast.detectors.forecasting:ForecastScorer",
    rx="sarcast.detectors.rx:RXScorer",
    tcn="sarcast.detectors.forecasting:ForecastScorer",
    transformer="sarcast.detectors.forecasting:ForecastScorer",
    z_score="sarcast.detectors.z_score:ZScorer",
)
