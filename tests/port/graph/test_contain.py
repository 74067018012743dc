"""A converter of others runs without a network, for a while, and leaves nothing running."""

import os
import sys
import time
from pathlib import Path

import pytest

from port.graph.contain import KERNEL, PYTHON, run_contained
from tests.paths import ROOT

OURS = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from port.graph.contain import *\n"


def contained(code, folder, seconds=60):
    return run_contained([sys.executable, "-c", OURS + code], folder, seconds, {})


def test_no_connection_leaves_it_by_whatever_way(tmp_path):
    ended = contained(
        """
import socket
print(close_network())
forbid_module("requests")
for way in (
    lambda: socket.create_connection(("127.0.0.1", 9), 1),
    lambda: socket.getaddrinfo("example.com", 80),
    lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"", ("127.0.0.1", 9)),
    lambda: __import__("requests").get("http://example.com"),
):
    try:
        way()
        print("went through")
    except (OSError, AttributeError) as error:
        print(error)
here, there = socket.socketpair()
""",
        tmp_path,
    )
    lines = ended.said.splitlines()
    assert lines[0] in (KERNEL, PYTHON)
    assert len(lines) == 5
    assert all("this process has no network" in line for line in lines[1:])
    assert ended.code == 0


def test_what_takes_too_long_is_ended_with_what_it_started(tmp_path):
    ended = contained(
        """
import os, subprocess, time
child = subprocess.Popen(["sleep", "60"])
print(child.pid, flush=True)
time.sleep(60)
""",
        tmp_path,
        seconds=2,
    )
    assert ended.code is None
    child = int(ended.said)
    for _ in range(100):
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{child}/stat").read_text().split()[2] == "Z":
            return
        time.sleep(0.05)
    pytest.fail("what it started runs on")
