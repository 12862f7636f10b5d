"""edgekit: compressed models for mobile runtimes, measured on the devices they ship to."""

from __future__ import annotations
