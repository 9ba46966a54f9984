"""The bandwidth of History.combine beside that of a plain copy of the same bytes."""

from __future__ import annotations

import torch
from measure import paired, record

import forecastcache as fc

PAIRS = 15


def main() -> None:
    rows = []
    for dtype in (torch.float32, torch.bfloat16):
        for depth in (2, 3):
            for megabytes in (1, 16, 128):
                size = megabytes * 2**20 // dtype.itemsize
                history = fc.History(depth)
                for i in range(depth):
                    history.observe(fc.Step(i, 0.0), torch.randn(size).to(dtype))
                row = [(-1.0) ** i * (i + 1.5) for i in range(depth)]
                source = torch.stack(history.features)
                combine, copy, ratio = paired(
                    lambda history=history, row=row: history.combine(row), source.clone, PAIRS
                )
                read = depth * megabytes / 1024
                rows.append(
                    {
                        "dtype": str(dtype).removeprefix("torch."),
                        "depth": depth,
                        "feature_mib": megabytes,
                        "combine_gib_per_s": round(read / combine, 2),
                        "copy_gib_per_s": round(read / copy, 2),
                        "combine_to_copy_seconds": round(ratio, 2),
                    }
                )
    record("combine", rows)


if __name__ == "__main__":
    main()
