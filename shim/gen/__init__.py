"""The generator: shim/api (facts of the header, the table of calls) to code, schema, docs and tests.

One small file per output; `python -m remora.shim.gen` writes them all, `--check` compares.
Must not know: the transport, the engine's inside, the shim's runtime."""
