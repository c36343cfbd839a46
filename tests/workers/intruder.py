"""A compression that tries to get out of its worker: what it was told to try, by what it got."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

from tests.workers.standin import Result
