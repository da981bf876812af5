"""An implementation under test: in the same process, or in a worker that speaks the protocol."""
