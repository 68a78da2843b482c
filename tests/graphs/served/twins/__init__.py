"""The graphs of `runloom dev --test-graphs`, written in Python: the same names, states and behaviour."""
