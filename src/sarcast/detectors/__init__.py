"""What is normal: a detector learns from history and scores every time and cell."""

from sarcast.runtime.table import table

DETECTORS = table(
    "a detector",
    coefficient_of_variation="sarcast.detectors.coefficient_of_variation:CoefficientOfVariation",
    cusum="sarcast.detectors.cusum:Cusum",
    ensemble="sarcast.detectors.ensemble:Ensemble",
    geometry_transformer="sarcast.detectors.geometry_transformer:GeometryTransformer",
    gru="sarcast.detectors.gru:GRU",
    linear_ar="sarcast.detectors.linear_ar:LinearAR",
    log_ratio="sarcast.detectors.log_ratio:LogRatio",
    lstm="sarcast.detectors.lstm:LSTM",
    mahalanobis="sarcast.detectors.mahalanobis:Mahalanobis",
    matched_filter="sarcast.detectors.matched_filter:MatchedFilter",
    omnibus="sarcast.detectors.omnibus:Omnibus",
    padim="sarcast.detectors.padim:PaDiM",
    probabilistic_transformer="sarcast.detectors.probabilistic_transformer:ProbabilisticTransformer",
    rx="sarcast.detectors.rx:RX",
    tcn="sarcast.detectors.tcn:TCN",
    transformer="sarcast.detectors.transformer:Transformer",
    z_score="sarcast.detectors.z_score:ZScore",
)
SCORERS = table(
    "a fitted detector",
    coefficient_of_variation="sarcast.detectors.coefficient_of_variation:CoefficientOfVariationScorer",
    cusum="sarcast.detectors.cusum:CusumScorer",
    ensemble="sarcast.detectors.ensemble:EnsembleScorer",
    geometry_transformer="sarcast.detectors.forecasting:ForecastScorer",
    gru="sarcast.detectors.forecasting:ForecastScorer",
    linear_ar="sarcast.detectors.linear_ar:LinearARScorer",
    log_ratio="sarcast.detectors.log_ratio:LogRatioScorer",
    lstm="sarcast.detectors.forecasting:ForecastScorer",
    mahalanobis="sarcast.detectors.mahalanobis:MahalanobisScorer",
    matched_filter="sarcast.detectors.matched_filter:MatchedFilterScorer",
    omnibus="sarcast.detectors.omnibus:OmnibusScorer",
    padim="sarcast.detectors.padim:PaDiMScorer",
    probabilistic_transformer="sarcast.detectors.forecasting:ForecastScorer",
    rx="sarcast.detectors.rx:RXScorer",
    tcn="sarcast.detectors.forecasting:ForecastScorer",
    transformer="sarcast.detectors.forecasting:ForecastScorer",
    z_score="sarcast.detectors.z_score:ZScorer",
)
