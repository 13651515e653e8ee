"""What we look at: an encoder turns a stack into one vector for every time and cell."""

from sarcast.runtime.table import table

ENCODERS = table(
    "an encoder",
    statistics="sarcast.encoders.statistics:Statistics",
    pixels="sarcast.encoders.pixels:Pixels",
    gradients="sarcast.encoders.gradients:Gradients",
    vit="sarcast.encoders.vit:Vit",
)
