"""How right the readings are: metrics, confusions, reports."""
