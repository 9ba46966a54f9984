"""What forecasting gains and costs: measured, tabled and drawn."""
