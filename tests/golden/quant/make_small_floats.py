#!/usr/bin/env python3
"""Makes small_floats.txt: every code of the float formats below 16 bits, decoded by the ml_dtypes package (0.6).

One line per format: its name as in tensor_types.def, then the f32 bits of codes 0, 1, 2, ... (any NaN is 7fc00000).
"""
import pathlib

import ml_dtypes
import numpy as np

FORMATS = [("F8_E4M3", ml_dtypes.float8_e4m3fn, 256), ("F8_E5M2", ml_dtypes.float8_e5m2, 256),
           ("F8_E8M0", ml_dtypes.float8_e8m0fnu, 256), ("F8_E4M3FNUZ", ml_dtypes.float8_e4m3fnuz, 256),
           ("F8_E5M2FNUZ", ml_dtypes.float8_e5m2fnuz, 256), ("F4", ml_dtypes.float4_e2m1fn, 16),
           ("F6_E2M3", ml_dtypes.float6_e2m3fn, 64), ("F6_E3M2", ml_dtypes.float6_e3m2fn, 64)]

lines = []
for name, kind, n_codes in FORMATS:
    values = np.arange(n_codes, dtype=np.uint8).view(kind).astype(np.float32)
    bits = values.view(np.uint32).copy()
    bits[np.isnan(values)] = 0x7FC00000
    lines.append(name + " " + " ".join(f"{b:x}" for b in bits))
pathlib.Path(__file__).with_name("small_floats.txt").write_text("\n".join(lines) + "\n")
