# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
A restart hook, as an operator might write it: end a node's process and start it anew.

Its arguments are a file with the process id (or none yet), the parameter file, the node's name and
its initial parameters as JSON.
"""

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

if __name__ == '__main__':
    pid, parameters, name, initial = sys.argv[1:]
    if Path(pid).exists():
        old = os.pidfd_open(int(Path(pid).read_text()))
        signal.pidfd_send_signal(old, signal.SIGTERM)
        select.select([old], [], [], 10.0)
    argument = json.dumps({'name': name, 'parameters': json.loads(initial)})
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name('fake_robot.py')), argument,
         '--ros-args', '--params-file', parameters],
        stdin=subprocess.DEVNULL, start_new_session=True,
    )
    Path(pid).write_text(str(process.pid))
