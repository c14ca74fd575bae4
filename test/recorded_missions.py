# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Make the messages of missions of the demo's robot, as a recorder would have received them."""

import math

import numpy as np
from bag_files import STORE, TYPES, Item, header, scan

from tl_adapt.bags import recorded
from tl_adapt.metrics import needed_fields
from tl_adapt.study import load_study
from tl_adapt.trace import Trace, extract, make_topic

DEMO = load_study('demo')
SECOND = 1_000_000_000
TICK = 50_000_000
WALL = 1_700_000_000 * SECOND  # when the first bag was recorded, system time


class Raw(Item):
    """A message that is serialised already."""

    def __init__(self, topic, time, kind, raw):
        object.__setattr__(self, 'topic', topic)
        object.__setattr__(self, 'time', time)
        object.__setattr__(self, 'message', (kind, raw))

    @property
    def type(self):
        return self.message[0]

    @property
    def raw(self):
        return self.message[1]


def status(log, goals):
    """A message with the states of goals: number -> (status, accepted at [ns])."""
    Time, Info = TYPES['builtin_interfaces/msg/Time'], TYPES['action_msgs/msg/GoalInfo']
    UUID, Status = TYPES['unique_identifier_msgs/msg/UUID'], TYPES['action_msgs/msg/GoalStatus']
    return Item('/navigate_to_pose/_action/status', log, TYPES['action_msgs/msg/GoalStatusArray']([
        Status(Info(UUID(np.full(16, number, np.uint8)), Time(*divmod(accepted, SECOND))), state)
        for number, (state, accepted) in goals.items()
    ]))


def parameters(log, configuration, study=DEMO):
    """Messages with the parameters of the nodes that a study tunes."""
    nodes = {}
    for parameter in study.space.parameters:
        target = parameter.targets[0]
        nodes.setdefault(f'/{target.node}', {})[target.name] = target.to_ros(
            configuration[parameter.name]
        )
    kind = recorded.TYPES[recorded.PARAMETERS]
    return [
        Raw(recorded.PARAMETERS, log + i, kind, recorded.encode_parameters(node, values, log))
        for i, (node, values) in enumerate(nodes.items())
    ]


def event(log, node, **values):
    """A change of parameters as nodes announce it."""
    raw = recorded.encode_parameters(node, values, log)
    message = recorded.typestore().deserialize_cdr(raw, 'rcl_interfaces/msg/ParameterEvent')
    message.new_parameters, message.changed_parameters = [], message.new_parameters
    raw = bytes(recorded.typestore().serialize_cdr(message, message.__msgtype__))
    return Raw('/parameter_events', log, message.__msgtype__, raw)


def clock(log, time):
    stamp = TYPES['builtin_interfaces/msg/Time'](*divmod(time, SECOND))
    return Item('/clock', log, TYPES['rosgraph_msgs/msg/Clock'](stamp))


def located(topic, log, time, x, y):
    covariance = TYPES['geometry_msgs/msg/PoseWithCovariance']
    kind = TYPES['geometry_msgs/msg/PoseWithCovarianceStamped']
    point = TYPES['geometry_msgs/msg/Point'](x, y, 0.0)
    rotation = TYPES['geometry_msgs/msg/Quaternion'](0.0, 0.0, 0.0, 1.0)
    pose = TYPES['geometry_msgs/msg/Pose'](point, rotation)
    return Item(topic, log, kind(header(time, 'map'), covariance(pose, np.zeros(36))))


def battery(log, time, voltage, current):
    zeros = np.zeros(0, np.float32)
    return Item('/battery_state', log, TYPES['sensor_msgs/msg/BatteryState'](
        header(time, 'base'), voltage, 20.0, current, 1.0, 1.0, 1.0, 0.5, 0, 0, 0, True,
        zeros, zeros, '', '',
    ))


def collision(log, value):
    return Item('/collision', log, TYPES['std_msgs/msg/Int8'](value))


def result(log, time, what):
    return Item('/navigator/result', log, header(time, what))


def goal(log):
    pose = TYPES['geometry_msgs/msg/Pose'](
        TYPES['geometry_msgs/msg/Point'](2.3, 2.2, 0.0),
        TYPES['geometry_msgs/msg/Quaternion'](0.0, 0.0, 0.0, 1.0),
    )
    return Item('/goal_pose', log, TYPES['geometry_msgs/msg/PoseStamped'](header(0), pose))


def processes(log, time, used):
    raw = recorded.encode_processes({
        name: recorded.ProcessSample(used * share, 1000, 2, (number,))
        for number, (name, share) in enumerate({'/navigator': 1.0, '/localizer': 2.0}.items(), 1)
    }, time, 'host')
    return Raw(recorded.PROCESSES, log, recorded.TYPES[recorded.PROCESSES], raw)


def mission(
    number, *, log=WALL, seconds=6.0, outcome='succeeded', ends=True, beams=12, crash=None,
    begin=0,
):
    """
    Return the messages of one mission of the demo, which begins at sim time `begin` [ns].

    `log` is the system time at which its goal is sent; a step of 50 ms takes 10 ms of it.
    """
    rng = np.random.default_rng(number)
    found = [goal(log), status(log + 1000, {number: (1, 0)})]
    ticks = round(seconds * SECOND / TICK)
    log += 2000
    for tick in range(1, ticks + 1):
        time, log = begin + tick * TICK, log + TICK // 5
        x, y = math.sin(tick / 30), tick * 0.02
        found.append(clock(log, time))
        found.append(located('/ground_truth', log + 10, time, x, y))
        found.append(battery(log + 20, time, 12.0 + rng.normal(), -1.5 + 0.1 * rng.normal()))
        if tick % 2 == 0:
            found.append(located('/pose', log + 40, time - 3, x + 0.1 * rng.normal(), y))
        if tick % 4 == 0:
            ranges = rng.uniform(0.3, 4.0, beams + tick % 3)
            ranges[0] = np.inf
            found.append(Item('/scan', log + 30, scan(time - 7, ranges)))
            found.append(processes(log + 35, time, tick * 0.001))
        if tick % 10 == 0:
            found.append(collision(log + 50, int(crash is not None and tick * 0.05 >= crash)))
    if ends:
        state = {'succeeded': 4, 'aborted': 6, 'canceled': 5}[outcome]
        found.append(result(log + 60, begin + ticks * TICK, outcome))
        found.append(status(log + 70, {number: (state, 0)}))
    return found, log + 100


def live_trace(messages, study=DEMO, *, outcome='succeeded', start=TICK, end=None):
    """Return the trace that the live recorder makes of a mission's messages."""
    ticks = [(m.time, _time(m.message.clock)) for m in messages if m.topic == '/clock']
    logs, times = [t for t, _ in ticks], [t for _, t in ticks]
    rows = {}
    for topic, fields in needed_fields(study.metrics.values()).items():
        stamps, received, columns = [], [], {field: [] for field in fields}
        for m in messages:
            if m.topic != '/' + topic:
                continue
            message = STORE.deserialize_cdr(m.raw, m.type)
            at = times[max(int(np.searchsorted(logs, m.time, 'right')) - 1, 0)]
            received.append(at)
            has_header = hasattr(message, 'header')
            stamps.append(_time(message.header.stamp) if has_header else at)
            for field in fields:
                columns[field].append(extract(message, field))
        rows[topic] = make_topic(stamps, received, columns)
    for name in ('navigator', 'localizer'):
        samples = [recorded.decode_processes(m.raw) for m in messages
                   if m.topic == recorded.PROCESSES]
        stamps = [stamp for stamp, _ in samples]
        rows[f'process/{name}'] = make_topic(stamps, stamps, {
            key: [getattr(s[f'process/{name}'], key) for _, s in samples]
            for key in ('cpu_time', 'rss')
        })
    end = times[-1] if end is None else end
    return Trace(rows, {'outcome': outcome, 'pids': {}}).clip(start, end)


def _time(stamp):
    return stamp.sec * SECOND + stamp.nanosec

