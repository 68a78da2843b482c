"""Executes a deployment's LangGraph graphs for a Runloom worker.

The worker starts `python -m runloom_executor` and speaks with it over two sockets; `docs/executor.md` is the
contract. Nothing here is meant to be imported by graphs.
"""

PROTOCOL = 1
"""The version of the protocol that this package speaks."""
