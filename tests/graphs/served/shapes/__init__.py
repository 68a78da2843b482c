"""Graphs in every form in which a project may give them, and what else projects do."""
