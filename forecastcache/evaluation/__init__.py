"""What forecasting gains and costs, seen and measured."""
