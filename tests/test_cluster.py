"""A Dask scheduler answers or is refused in a sentence; a server of another kind never makes anybody wait."""

import socket
import threading
import time

import pytest

from cs348k_diffusion import cluster


@pytest.mark.parametrize("hangs_up", [True, False])
def test_a_server_of_another_kind_is_no_scheduler(monkeypatch, hangs_up):
    """One that hangs up, and one that waits for whoever connects to speak first, as a web server does."""
    monkeypatch.setattr(cluster, "PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up():
            connection, _ = server.accept()
            connection.close()

        if hangs_up:
            threading.Thread(target=hang_up, daemon=True).start()
        began = time.monotonic()
        with pytest.raises(OSError, match="Dask scheduler"):
            cluster.answers(f"tcp://127.0.0.1:{server.getsockname()[1]}")
        assert time.monotonic() - began < 5
