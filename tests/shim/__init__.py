"""Tests of the shim's runtime."""
