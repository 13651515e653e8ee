"""sarcast forecasts SAR: what changed here, when, and should I believe it?"""

__version__ = "0.1.0"
