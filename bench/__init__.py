"""What Remora costs, as ratios to plain programs measured in the same minute. `python -m remora.bench`."""
