"""Any model whose forward takes a timestep, at its output."""

from forecastcache.adapter import ANY_MODEL, Adapter

GENERIC = Adapter(name="generic", models=(ANY_MODEL,), time=("timestep", "timesteps", "t"))
