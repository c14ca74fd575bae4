# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Answer a configuration as JSON, well or badly as it says; a program for tests."""

import json
import os
import signal
import subprocess
import sys


def hang():
    """Wait for ever."""
    while True:
        signal.pause()


def hold(seed):
    """Log the run; from the N-th run on hang, if the environment names a log and an N."""
    log = os.environ.get('TL_ADAPT_TEST_LOG')
    if not log:
        return
    with open(log, 'a') as file:
        file.write(f'{seed} {os.getpid()}\n')
    with open(log) as file:
        runs = len(file.readlines())
    if runs >= int(os.environ.get('TL_ADAPT_TEST_HOLD', '1000000')):
        hang()


request = json.load(sys.stdin)
configuration, seed = request['configuration'], request['seed']
behaviour = configuration.get('behaviour', 'good')
hold(seed)
print('a remark on standard error', file=sys.stderr)
metrics = {
    'loss': configuration['x'] ** 2 + seed % 1000 / 1000,
    'seconds': configuration['n'] * 0.5,
    'more than asked for': 1,
}
answer = {'metrics': metrics, 'sim_time': 1.5}
if behaviour == 'crash':
    raise RuntimeError('no such luck')
elif behaviour == 'abort':
    os.abort()
elif behaviour == 'silent':
    sys.exit(0)
elif behaviour == 'text':
    print('all is well')
    sys.exit(0)
elif behaviour == 'list':
    answer = [1, 2]
elif behaviour == 'missing':
    del metrics['seconds']
elif behaviour == 'word':
    metrics['seconds'] = 'many'
elif behaviour == 'nan':
    metrics['loss'] = float('nan')
elif behaviour == 'infinite':
    metrics['loss'] = float('inf')
elif behaviour == 'refuse':
    answer.update(valid=False, reason='solver gave up', cost=0.25)
elif behaviour == 'hang':
    hang()
elif behaviour == 'spawn':
    # A child that keeps the output open and outlives its parent.
    subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'])
elif behaviour == 'chatty':
    print('x' * 1000000, file=sys.stderr)
    print('step 1 of 1')
print(json.dumps(answer))
