# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for applying configurations to a running robot, as one transaction over several nodes.

Everything here blocks for a bounded time: it belongs into a thread that does not spin.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any

from tl_adapt.adaptation.events import Configuration
from tl_adapt.adaptation.records import NodeValues
from tl_adapt.errors import InputError
from tl_adapt.ros.change import Change, Listener, Obstacle, Outcome
from tl_adapt.ros.parameters import (
    Assignment,
    ParameterClient,
    ParameterError,
    RefusedError,
    UnfitParameterError,
    assignments,
)
from tl_adapt.ros.restart import Restarts
from tl_adapt.ros.tuned import Tuned, merged, without
from tl_adapt.ros.values import Snapshot
from tl_adapt.space import Space

__all__ = ['Applier', 'Change', 'Listener', 'Obstacle', 'Outcome']

# s that a node which was there may take to be found: what is restored must not wait for the dead.
_PATIENCE = 0.5
_PROBE = 1.0  # s that a node which gave no answer may take for the next one
_HEARD = 0.5  # s that the event of a set may come later than what is read after it
_LOOK = 0.01  # s between two looks for it
_UNFIT = 'what was there before is outside of the space, and is not restored'
_NOBODY: frozenset[bytes] = frozenset()


class Applier:
    """Read and set the parameters that a study's space names, and no others."""

    def __init__(
        self,
        space: Space,
        client: ParameterClient,
        *,
        distribution: str | None = None,
        restarts: Restarts | None = None,
        listener: Listener | None = None,
    ) -> None:
        """
        Use `client`, whose node another thread spins; `distribution` picks apply modes.

        Without `restarts` what needs a restart is refused; without a `listener` a value that was
        taken can't be told from one that was not, once someone else has set another.
        """
        self._space = space
        self._client = client
        self._distribution = distribution
        self._restarts = restarts or Restarts(client)
        self._listener = listener or Listener()
        self._tuned = Tuned(space, client.full_name)
        self.names = self._tuned.names
        self.nodes = tuple(self.names)

    def obstacle(self) -> Obstacle | None:
        """Return why nothing can be set now: a node is missing, or there more than once."""
        for node in self.nodes:
            count = self._client.count(node)
            if count > 1:
                return Obstacle(
                    f'{count} nodes have the name {node}: none is touched (after a restart this '
                    'passes by itself)', True,
                )
            try:
                self._client.wait_for_nodes([node], deadline=0.0)
            except ParameterError as error:
                return Obstacle(error.reason)
        return None

    def read(self) -> Configuration | None:
        """
        Return the configuration that the nodes have.

        None if the targets of one parameter don't agree. It may be outside of the space. Raises
        ParameterError if a node does not answer or lacks a parameter.
        """
        return self.decode(self.read_values())

    def read_values(self) -> Snapshot:
        """Return all tuned parameters of all nodes; raises ParameterError."""
        return self._client.get_many(self.names)

    def waits_for_idle(self, configuration: Configuration) -> bool:
        """Tell whether the change sets anything that must not change while a mission runs."""
        return any(item.mode != 'live' for item in self._differing(configuration))

    def apply(self, configuration: Configuration) -> Outcome:
        """Set what differs, verify it, and on any failure restore what was there."""
        try:
            change = self.plan(configuration)
        except ParameterError as error:
            return Outcome(False, error.reason)
        return change if isinstance(change, Outcome) else self.carry_out(change)

    def plan(self, configuration: Configuration) -> Change | Outcome:
        """
        Return what has to be sent, or the outcome if nothing can be; nothing is sent here.

        The space is checked here once more: nothing outside of it is ever sent. Raises
        ParameterError if a node does not answer: that may pass.
        """
        try:
            wanted = self._space.validate(configuration)
        except InputError as error:
            return Outcome(False, f'never sent: {error}', refused=True)
        try:
            present = self.read_values()
            after, before = self._client.changes(self._assign(wanted), present)
        except UnfitParameterError as error:
            return Outcome(False, error.reason)
        named: dict[str, list[str]] = {}
        for item in self._differing(wanted, present):
            if item.mode == 'restart':
                named.setdefault(self._client.full_name(item.node), []).append(item.name)
        for node, names in named.items():
            if not self._restarts.possible(node):
                return Outcome(
                    False, f'{", ".join(names)} can only be set by a restart of {node}, and the '
                    "study names no way: neither the environment's lifecycle_nodes nor "
                    'adaptation.restart hold it', self.decode(present), refused=True,
                    values=present,
                )
        unfit = self._tuned.unfit(before)
        return Change(
            dict(wanted), present, without(before, unfit), after, tuple(named), unfit)

    def carry_out(self, change: Change) -> Outcome:
        """
        Send a change to all nodes, verify it, and on any failure restore what was there.

        What has another value in the end than was verified, or was there before, is someone
        else's (or the node's own doing, which can't be told from that): it stays, and is no
        failure. So is what has another value right after it was set, if the node's events tell
        that it took ours first. Without that it is a refusal: such a node ignores values, or
        limits them.
        """
        live = {n: each for n, each in change.after.items() if n not in change.restarting}
        anew = {n: each for n, each in change.after.items() if n in change.restarting}
        known = self._client.identities()
        errors = self._client.set_each(live, patience=_PATIENCE)
        deaf = {node for node, error in errors.items() if isinstance(error, RefusedError)}

        def taken(node: str, name: str, sent: Any, found: Any) -> bool:
            if self._tuned.same(node, name, sent, found):
                return True
            if node in self._restarted(known) or not self._was_taken(node, name, sent):
                self._listener.limited(node, name, found)
                return False
            return True

        errors = errors or self._client.verify_each(live, patience=_PATIENCE, taken=taken)
        touched: Collection[str] = ()
        if not errors and anew:
            touched = tuple(anew)
            errors = self._restarts.give(anew, change.wanted)
        if not errors:
            values, errors = self._client.get_each(self.names, patience=_PATIENCE)
            if not errors:
                foreign = self._tuned.differing(values, change.wanted)
                if foreign:
                    # A new process has its own initial values: they are nobody's change.
                    for node in self._restarted(known) - set(touched):
                        foreign.pop(node, None)
                return Outcome(True, configuration=dict(change.configuration), values=values,
                               foreign=foreign)
        restarted = self._restarted(known) - set(touched)
        for node in restarted & errors.keys():
            # It did not refuse our values.
            errors[node] = ParameterError(node, f'{node} restarted in the middle of a change')
        return self._undo(change, errors, touched, deaf, restarted)

    def reopen(self, open_nodes: Snapshot) -> tuple[Snapshot, dict[str, str]]:
        """
        Restore nodes that could not be restored, as far as they answer now.

        Return those that are left, and why others refused what they had before. A value that was
        sent may still wait in a node that has hung. It takes requests in the order in which they
        came: so the values are sent even where they are there already.
        """
        left: Snapshot = {}
        refused: dict[str, str] = {}
        for node, values in open_nodes.items():
            one = {node: values}
            count = self._client.count(node)
            anew = self.restarting(one)
            if count == 1:
                _, errors = self._client.get_each(
                    {node: list(values)}, patience=0.0, deadline=_PROBE
                )
                if not errors and anew:
                    errors = self._restarts.give(one, one)
                elif not errors:
                    errors = self._client.set_each(one, patience=0.0)
                    errors = errors or self._client.verify_each(one, patience=0.0)
            elif count == 0 and self._restarts.starts(node):
                errors = self._restarts.give(one, one)
            else:
                errors = {node: ParameterError(node, f'{count} nodes have the name {node}')}
            if isinstance(error := errors.get(node), RefusedError):
                refused[node] = error.reason  # asking again would not help
            elif errors:
                left[node] = values
        return left, refused

    def put_back(self, before: NodeValues, after: NodeValues) -> Outcome:
        """
        Restore what an adapter before this one was setting when it was killed.

        Only tuned parameters that read as `after` are set back to `before`: any other value is
        someone else's. What was outside of the ranges stays as it is, and all of it does if that
        would not be inside of the space. A node that refuses what it had keeps what it has: the
        outcome is not ok then. Raises ParameterError if a node does not answer.
        """
        ours = self._ours(before, after)
        anew = self.restarting(ours)
        present = self.read_values()
        back = {
            node: {name: value for name, value in each.items()
                   if present[node][name] == after[node][name]}
            for node, each in ours.items()
        }
        if not self._tuned.fits(merged(present, back)):
            back = {node: {} for node in back}
        back = {
            node: each for node, each in back.items()
            if each or (node in anew and not self._restarts.is_up(node))
        }
        live = {node: each for node, each in back.items() if node not in anew}
        restarting = {node: each for node, each in back.items() if node in anew}
        errors = self._client.set_each(live)
        _raise_any(errors, but=RefusedError)
        errors |= self._client.verify_each({n: e for n, e in live.items() if n not in errors})
        _raise_any(errors, but=RefusedError)
        errors |= self._restarts.give(restarting, merged(present, restarting))
        _raise_any(errors, but=RefusedError)
        values = self.read_values()
        told = ', '.join(f'{node} {name}' for node, each in back.items() if node not in errors
                         for name in each)
        reasons = [f'restored {told}'] if told else []
        reasons += [error.reason for error in errors.values()]
        return Outcome(not errors, '; '.join(reasons) or 'nothing was left to restore',
                       self.decode(values), values=values)

    def start_gone(self, before: NodeValues, after: NodeValues) -> None:
        """
        Start the nodes whose restart was cut short, as nobody else does; raises as above.

        They get what they had if all that was there is inside of the space, else what was wanted.
        """
        wanted = {node: {**each, **after.get(node, {})} for node, each in before.items()}
        known = {
            node: {name: value for name, value in each.items() if name in self.names[node]}
            for node, each in wanted.items() if node in self.names
        }
        had = {
            node: {name: before[node][name] for name in each} for node, each in known.items()
        }
        unfit = {
            node: {name: known[node][name] for name in each}
            for node, each in self._tuned.unfit(had).items()
        }
        had = merged(had, unfit)
        every = had if self._tuned.fits(had) else known
        for node in self.restarting(self._ours(before, after)):
            if self._restarts.starts(node) and self._client.count(node) == 0:
                one = {node: every[node]}
                _raise_any(self._restarts.give(one, one))

    def disturbs_mission(self, before: NodeValues, after: NodeValues) -> bool:
        """Tell whether `put_back` may set what must not change while a mission runs."""
        ours = self._ours(before, after)
        return any(
            item.mode != 'live' and item.name in ours.get(self._client.full_name(item.node), {})
            for item in self._assign(self._space.default())
        )

    def _ours(self, before: NodeValues, after: NodeValues) -> Snapshot:
        """Return the values of `before` that differ, of what the space names and allows."""
        found = {
            node: {
                name: before[node][name] for name, value in each.items()
                if name in self.names[node] and before.get(node, {}).get(name, value) != value
            }
            for node, each in after.items() if node in self.names
        }
        return without(found, self._tuned.unfit(found))

    def restarting(self, values: Snapshot) -> list[str]:
        """Return the nodes of which some value is taken by a restart only."""
        modes = {
            (self._client.full_name(item.node), item.name): item.mode
            for item in self._assign(self._space.default())
        }
        return [
            node for node, each in values.items() if self._restarts.possible(node)
            and any(modes.get((node, name)) == 'restart' for name in each)
        ]

    def _restarted(self, known: Mapping[str, frozenset[bytes]]) -> set[str]:
        """Return the nodes that have another process than in `known`."""
        present = self._client.identities()
        return {
            node for node in self.nodes
            if present.get(node, _NOBODY) - known.get(node, _NOBODY)
        }

    def _was_taken(self, node: str, name: str, value: Any, patience: float = _HEARD) -> bool:
        """Tell whether a node told that it took a value, be it that it has another one by now."""
        end = time.monotonic() + patience
        while not self._listener.told(node, name, value):
            if time.monotonic() >= end:
                return False
            time.sleep(_LOOK)
        return True

    def _foreign(
        self,
        change: Change,
        present: Snapshot,
        errors: Mapping[str, ParameterError],
        deaf: Collection[str],
    ) -> Snapshot:
        """
        Return what someone else set while a change failed, with the values before that.

        `deaf` are the nodes that refused all that was sent to them.
        """
        found: Snapshot = {}
        for node, each in present.items():
            sent = {} if node in deaf else change.after.get(node, {})
            for name, value in each.items():
                was = change.present[node][name]
                if self._tuned.same(node, name, value, was):
                    continue
                if name in sent:
                    was = sent[name]
                    # Where a node has an error its events were waited for.
                    patience = 0.0 if node in errors else _HEARD
                    if self._tuned.same(node, name, value, was) or not self._was_taken(
                        node, name, was, patience
                    ):
                        continue
                found.setdefault(node, {})[name] = was
        return found

    def _defaults(self, change: Change, nodes: Collection[str]) -> Snapshot:
        """Return the default values of all that is tuned of some nodes."""
        differing, _ = self._client.changes(
            self._assign(self._space.default()), change.present
        )
        default = merged(change.present, differing)
        return {node: default[node] for node in nodes}

    def _undo(
        self,
        change: Change,
        errors: Mapping[str, ParameterError],
        touched: Collection[str],
        deaf: Collection[str],
        restarted: Collection[str],
    ) -> Outcome:
        """
        Restore what is not as before on all nodes that answer; tell what is in force.

        What was outside of its range is not sent: it stays as it is now. So does what someone
        else set meanwhile. If what was there is not inside of the space with that, nothing of it
        comes back piece by piece: all stays as it was sent, as something that nobody knows, so
        that a known configuration is set next. Only a node that has to come up again gets its
        defaults.
        """
        first = sorted(errors.values(), key=lambda error: not isinstance(error, RefusedError))[0]
        refused = isinstance(first, RefusedError)
        # What was sent to these may still be waiting in them: reading them tells nothing yet.
        silent = {
            node for node, error in errors.items()
            if node in change.after and node not in touched and not isinstance(error, RefusedError)
        }
        present, failed = self._client.get_each(
            {n: each for n, each in self.names.items() if n not in silent and n not in touched},
            patience=_PATIENCE,
        )
        failed = {node: error for node, error in failed.items() if node in change.before}
        foreign = self._foreign(
            change, {n: each for n, each in present.items() if n not in restarted}, errors, deaf
        )
        back = without(
            self._tuned.differing(present, {n: change.before.get(n, {}) for n in present}),
            foreign,
        )
        values = merged(merged(change.restored, present), back)
        fits = self._tuned.fits(values)
        if not fits:
            back = {}
            values = merged(merged(change.wanted, present), self._defaults(change, touched))
        failed.update(self._client.set_each(back, patience=_PATIENCE))
        failed.update(self._client.verify_each(
            {n: each for n, each in back.items() if n not in failed}, patience=_PATIENCE,
            taken=lambda node, name, sent, found: self._was_taken(node, name, sent),
        ))
        again = {node: change.before[node] if fits else values[node] for node in touched}
        if again:
            failed.update(self._restarts.give(again, values))
        left = {
            # A new process knows none of its values.
            node: dict(values[node] if node in touched else each)
            for node, each in (change.before if fits else change.after).items()
            if node in silent or node in failed
        }
        if not left:
            # What can be restarted with the old values only did not take the new ones.
            refused = refused or first.node in touched
            reason = first.reason if fits else f'{first.reason}; {_UNFIT}'
            found = self.decode(values) if fits else None
            return Outcome(False, reason, found, refused, values=values, foreign=foreign)
        reasons = [first.reason, *(
            error.reason for node, error in failed.items() if error.reason != first.reason
        )]
        known = {node: each for node, each in values.items() if node not in left}
        return Outcome(False, '; and then '.join(reasons), None, refused, known, left, foreign)

    def _assign(self, configuration: Mapping[str, object]) -> list[Assignment]:
        return assignments(self._space, configuration, distribution=self._distribution)

    def _differing(
        self, configuration: Configuration, present: Snapshot | None = None
    ) -> list[Assignment]:
        """Return the assignments whose ROS parameter would change."""
        wanted = self._assign(configuration)
        changed, _ = self._client.changes(wanted, present)
        return [
            item for item in wanted
            if item.name in changed.get(self._client.full_name(item.node), {})
        ]

    def decode(self, values: Snapshot) -> Configuration | None:
        """Turn the nodes' values into a configuration; None if that can't be done."""
        return self._tuned.decode(values)


def _raise_any(
    errors: Mapping[str, ParameterError], *, but: type[ParameterError] | tuple[()] = ()
) -> None:
    """Raise the first error that is not of the type `but`."""
    for error in errors.values():
        if not isinstance(error, but):
            raise error
