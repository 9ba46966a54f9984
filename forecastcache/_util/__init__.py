"""Small helpers that know nothing of forecasting."""
