"""What an encoder learns from, without labels: an objective turns images into a loss."""

from sarcast.runtime.table import table

OBJECTIVES = table(
    "an objective",
    local_masked_gradient="sarcast.objectives.local_masked_gradient:LocalMaskedGradient",
    across_dates="sarcast.objectives.across_dates:AcrossDates",
    gradient_jepa="sarcast.objectives.gradient_jepa:GradientJepa",
    dino="sarcast.objectives.dino:Dino",
    mae="sarcast.objectives.mae:Mae",
)
