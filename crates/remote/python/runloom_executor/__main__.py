"""Where the process starts: tied to its worker, and its lines captured, before anything large is imported."""

from . import logs, parent

parent.die_with_parent()
logs.capture_prints()

from .main import main  # noqa: E402

main()
