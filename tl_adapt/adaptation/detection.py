# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for telling a bad run from a changed environment.

Hawkins 1987 (self-starting CUSUM charts): each window is standardised by what was to be expected
given those before it, so that without any change the residuals are independent standard normal.
A model's error at one configuration is shared by all windows there; it is learnt window by window
as a random effect, and so is the noise there. Two-sided CUSUM charts (Page 1954) sum the
residuals; what is rare (a failed mission, a residual far off) has a count of its own, after
Shiryaev and Roberts. Thresholds come from the mean time between false alarms: Siegmund 1985 for
the charts, Pollak 1987 for the counts.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable, Mapping

from scipy.optimize import brentq
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from tl_adapt.adaptation.events import Band

# Half of the shift, in standard deviations, that the charts find the fastest.
REFERENCE = 0.75
# Siegmund's correction for the jumps of normal sums over a threshold.
_OVERSHOOT = 1.166
# Degrees of freedom of what a model says of the noise, and the most that windows can have ...
_NOISE_WORTH, _NOISE_MOST = 4.0, 100.0
# ... of which one difference of two windows has so many, as successive ones overlap.
_DIFFERENCE_WORTH = 2.0 / 3.0
# Standard deviations that a difference counts for at most, and what that leaves of its square.
_FAR_OFF_NOISE, _KEPT_SQUARE = 2.0, 0.92
# Standard deviations that a window moves what is known of the level by at most (Huber 1964): a bad
# first run must not make the good ones after it look odd.
_FAR_OFF_LEVEL = 1.5
# Windows that what a model says of one configuration is worth, at most ...
_LEVEL_WORTH = 1.0
_NEW_LEVEL = 1e-3  # ... and once it is known to be wrong there
# Share of windows far off that is nothing new (missions have heavy tails), and its worth.
_FAR_OFF, _FAR_OFF_WORTH = 0.01, 50.0
_FAILURE_WORTH = 30.0
# Shares of the way from a usual rate to 1 that a raised rate may have gone.
_RAISED = (0.5, 0.98)

# No metric can have these names.
FAILURES, LIMITS = 'the missions', 'the limits'


def average_run_length(
    threshold: float, shift: float = 0.0, reference: float = REFERENCE
) -> float:
    """
    Return how many windows a one-sided CUSUM chart takes to an alarm in the mean.

    `shift` is that of the residuals in standard deviations, 0 for no change. Siegmund 1985,
    equation 2.57: for normal residuals.
    """
    b = threshold + _OVERSHOOT
    drift = shift - reference
    if abs(drift) < 1e-6:
        return b * b
    exponent = min(-2.0 * drift * b, 700.0)
    return (math.exp(exponent) - exponent - 1.0) / (2.0 * drift * drift)


@functools.lru_cache(maxsize=64)
def chart_threshold(run_length: float, reference: float = REFERENCE) -> float:
    """Return the threshold of a one-sided chart that has this average run length unchanged."""
    def excess(threshold: float) -> float:
        return math.log(average_run_length(threshold, 0.0, reference)) - math.log(run_length)

    return float(brentq(excess, 0.0, 400.0)) if excess(0.0) < 0.0 else 0.0


@dataclasses.dataclass(frozen=True)
class Expectation:
    """Hold what the next window should give: Student's distribution, on the model's scale."""

    mean: float
    scale: float
    freedom: float

    def residual(self, value: float) -> float:
        """Return the residual of a value on the model's scale, made standard normal."""
        t = (value - self.mean) / self.scale
        return math.copysign(float(ndtri(stdtr(self.freedom, -abs(t)))), t)

    def reach(self, deviations: float) -> float:
        """Return how far from the mean a residual of so many standard deviations is."""
        return self.scale * float(stdtrit(self.freedom, ndtr(deviations)))


class Expected:
    """
    Learn one metric window by window: its noise, and how far the model is off, at each place.

    Of what a model does not know about one run it can hardly tell which part is noise and which
    is its own error, for that needs repeats; and the noise differs from place to place. So it is
    learnt from the differences of successive windows (von Neumann 1941), which a lasting shift
    leaves alone, beginning with a share of what the model says of both.
    """

    def __init__(self) -> None:
        """Begin with what the model says."""
        self._noise: dict[str, tuple[float, float]] = {}  # sum of squares, and its worth
        self._levels: dict[str, tuple[float, float]] = {}  # sum of errors, and their number
        self._guesses: dict[str, tuple[float, float]] = {}
        self._last: dict[str, float] = {}
        self._model_wrong = False

    def noise(self, place: str, band: Band) -> tuple[float, float]:
        """Return the standard deviation of windows at a place, and its degrees of freedom."""
        squares, worth = self._noise.get(place, (0.0, 0.0))
        first = 0.5 * band.noise_std**2 + 0.5 * band.std**2
        freedom = _NOISE_WORTH + worth
        return max(math.sqrt((_NOISE_WORTH * first + squares) / freedom), 1e-12), freedom

    def level(self, place: str, band: Band) -> tuple[float, float]:
        """Return how far the model is off at a place, and how many windows tell so."""
        noise, _ = self.noise(place, band)
        worth = min((noise / max(band.model_std, 1e-12)) ** 2, _LEVEL_WORTH)
        off, worth = self._guesses.get(place, (0.0, _NEW_LEVEL if self._model_wrong else worth))
        total, number = self._levels.get(place, (0.0, 0.0))
        return (off * worth + total) / (worth + number), worth + number

    def guess(self, place: str, off: float, worth: float) -> None:
        """Say before any window how far the model is off at a place, and what that is worth."""
        self._guesses[place] = off, worth

    def share_noise(self, place: str, other: str) -> None:
        """Take the noise at one place for that at another."""
        if place in self._noise:
            self._noise[other] = self._noise[place]

    def next(self, place: str, band: Band) -> Expectation:
        """Return what the next window at this place should give."""
        off, worth = self.level(place, band)
        noise, freedom = self.noise(place, band)
        return Expectation(band.mean + off, noise * math.sqrt(1.0 + 1.0 / worth), freedom)

    def learn(self, place: str, band: Band, value: float) -> None:
        """Learn from a window's value on the model's scale; one that is far off counts less."""
        expectation = self.next(place, band)
        noise, _ = self.noise(place, band)
        reach = _FAR_OFF_LEVEL * expectation.scale
        error = min(max(value - expectation.mean, -reach), reach) + expectation.mean - band.mean
        total, number = self._levels.get(place, (0.0, 0.0))
        self._levels[place] = total + error, number + 1.0
        last = self._last.get(place)
        if last is not None:
            squares, worth = self._noise.get(place, (0.0, 0.0))
            square = min(0.5 * (value - last) ** 2, (_FAR_OFF_NOISE * noise) ** 2)
            fade = min(1.0, _NOISE_MOST / (worth + _DIFFERENCE_WORTH))
            self._noise[place] = (
                fade * (squares + _DIFFERENCE_WORTH * square / _KEPT_SQUARE),
                fade * (worth + _DIFFERENCE_WORTH),
            )
        if math.isfinite(value):
            self._last[place] = value

    def renew(self, *, model_wrong: bool) -> None:
        """Forget the levels; where the model is wrong, the next windows alone will tell."""
        self._levels.clear()
        self._guesses.clear()
        self._model_wrong = model_wrong


class RareEvents:
    """
    Count events that should be rare, and tell when they are no longer.

    Shiryaev and Roberts: the sum over all times at which the rate may have risen of the ratio of
    likelihoods. Without a change it grows by 1 per window in the mean, so that its mean time to
    an alarm is at least the threshold (Pollak 1987). The usual rate is learnt, too (Beta).
    """

    def __init__(self, run_length: float, least: int, worth: float) -> None:
        """Alarm at `run_length` windows, and not before `least` events; `worth` in windows."""
        self._run_length = run_length
        self._least = least
        self._worth = worth
        self.renew()

    def steer(self, run_length: float, least: int) -> None:
        """Alarm at other numbers from now on; the count so far stays."""
        self._run_length = run_length
        self._least = least

    def renew(self) -> None:
        """Begin a new count and forget what was usual."""
        self._seen = self._events = 0
        self.forget()

    def forget(self) -> None:
        """Begin a new count; the usual rate stays."""
        self._sums = [0.0] * len(_RAISED)
        self.count = self.windows = 0

    def add(self, event: bool, rate: float) -> bool:
        """Note a window, in which the event has this usual `rate`; return whether to alarm."""
        rate = (self._worth * rate + self._events) / (self._worth + self._seen)
        rate = min(max(rate, 0.005), 0.95)
        for i, share in enumerate(_RAISED):
            raised = rate + share * (1.0 - rate)
            ratio = raised / rate if event else (1.0 - raised) / (1.0 - rate)
            self._sums[i] = min((1.0 + self._sums[i]) * ratio, 1e15)
        self._seen += 1
        self._events += event
        self.windows += 1
        self.count += event
        total = sum(self._sums) / len(_RAISED)
        if not event and total < 1.0:
            self.count = self.windows = 0
        return event and self.count >= self._least and total >= self._run_length


class Chart:
    """Sum the residuals of one metric to one side, as a CUSUM chart does."""

    def __init__(self, sign: float, run_length: float, band: float, confirm: int) -> None:
        """Look upwards (`sign` 1) or downwards (-1); `run_length` in windows."""
        self._sign = sign
        self._threshold = chart_threshold(run_length)
        self._band = band
        self._confirm = confirm
        self._far_off = RareEvents(run_length, confirm, _FAR_OFF_WORTH)
        self.forget()

    def steer(self, run_length: float, band: float, confirm: int) -> None:
        """Alarm at other numbers from now on; the sum so far stays."""
        self._threshold = chart_threshold(run_length)
        self._band = band
        self._confirm = confirm
        self._far_off.steer(run_length, confirm)

    def forget(self) -> None:
        """Begin a new sum."""
        self.sum = 0.0
        self.windows = 0
        self._shifts = 0.0
        self._start: dict[str, float] = {}
        self._far_off.forget()

    @property
    def doubtful(self) -> bool:
        """Tell whether half of the way to an alarm is gone."""
        return self.windows >= self._confirm and 2.0 * self.sum >= self._threshold

    @property
    def shift(self) -> float:
        """Return the mean shift since the sum began to rise, on the model's scale."""
        return self._shifts / max(self.windows, 1)

    def add(self, residual: float, place: str, level: float, off: float) -> bool:
        """
        Add a window and return whether to alarm.

        `off` is how far the window is from the model, `level` what was known of that before. One
        window counts for no more than `band`, so that none can do it alone.
        """
        up = self._sign * residual
        far_off = self._far_off.add(up > self._band, _FAR_OFF)
        self.sum = max(0.0, self.sum + min(up, self._band) - REFERENCE)
        if self.sum == 0.0:
            self.windows, self._shifts, self._start = 0, 0.0, {}
            return False
        self.windows += 1
        self._shifts += off - self._start.setdefault(place, level)
        return self.windows >= self._confirm and (far_off or self.sum >= self._threshold)


@dataclasses.dataclass(frozen=True)
class Alarm:
    """
    Say that something is no longer as it was.

    `what` is a metric, FAILURES or LIMITS; it has lasted for `windows`. `shift` is that of the
    metric, on the model's scale.
    """

    what: str
    windows: int
    text: str
    shift: float = 0.0


class Detector:
    """
    Watch some metrics, the outcome and the limits of windows for a lasting change.

    There are `false_alarms` per window in the mean while nothing changes, equally shared by the
    metrics and by outcome and limits; no alarm comes from fewer than `confirm` windows, and in
    none does a residual count for more than `band` standard deviations.
    """

    def __init__(
        self, metrics: Iterable[str], *, false_alarms: float, band: float, confirm: int
    ) -> None:
        """Compute the thresholds."""
        names = sorted(metrics)
        run_length = (len(names) + 1) / false_alarms
        self._band = band
        self._expected = {name: Expected() for name in names}
        self._charts = {
            name: [Chart(sign, 4.0 * run_length, band, confirm) for sign in (1.0, -1.0)]
            for name in names
        }
        self._failures = RareEvents(2.0 * run_length, confirm, _FAILURE_WORTH)
        self._limits = RareEvents(2.0 * run_length, confirm, _FAILURE_WORTH)
        self._absorbed = dict.fromkeys(names, 0.0)

    def steer(self, *, false_alarms: float, band: float, confirm: int) -> None:
        """Take other numbers from now on; what was summed and learnt so far stays."""
        run_length = (len(self._charts) + 1) / false_alarms
        self._band = band
        for chart in (chart for both in self._charts.values() for chart in both):
            chart.steer(4.0 * run_length, band, confirm)
        for count in (self._failures, self._limits):
            count.steer(2.0 * run_length, confirm)

    @property
    def doubtful(self) -> list[str]:
        """Return the metrics that are on their way to an alarm."""
        return [name for name, both in self._charts.items() if any(c.doubtful for c in both)]

    def forget(self) -> None:
        """Begin new sums and counts; what is known of levels and noise stays."""
        for chart in (chart for both in self._charts.values() for chart in both):
            chart.forget()
        self._failures.forget()
        self._limits.forget()

    def renew(self, *, model_wrong: bool = False) -> None:
        """Begin anew with another model, or with the same that is known to be wrong now."""
        self.forget()
        for expected in self._expected.values():
            expected.renew(model_wrong=model_wrong)
        self._failures.renew()
        self._limits.renew()
        self._absorbed = dict.fromkeys(self._absorbed, 0.0)

    def expect(self, place: str, bands: Mapping[str, Band]) -> dict[str, Expectation]:
        """Return what the next window at this place should give, for each metric watched."""
        return {
            name: expected.next(place, bands[name])
            for name, expected in self._expected.items() if name in bands
        }

    def observe(
        self, place: str, values: Mapping[str, float], bands: Mapping[str, Band]
    ) -> list[Alarm]:
        """Learn from the values of a good window and return what has lastingly changed."""
        alarms = []
        for name, expectation in self.expect(place, bands).items():
            value = bands[name].scaled(values[name]) if name in values else math.nan
            if math.isnan(value):
                continue
            band, expected = bands[name], self._expected[name]
            residual = expectation.residual(value)
            level = expected.level(place, band)[0]
            noise = expected.noise(place, band)[0]
            most = 1e6 * noise
            off = max(min(value - band.mean, most), -most)
            for chart in self._charts[name]:
                if chart.add(residual, place, level, off):
                    sd = chart.shift / noise
                    text = f'{name} is off by {sd:+.1f} sd for {chart.windows} windows'
                    shift = chart.shift + self._absorbed[name]
                    alarms.append(Alarm(name, chart.windows, text, shift))
            expected.learn(place, band, value)
        return alarms

    def absorb(self, alarm: Alarm) -> None:
        """Take a change that is worth nothing for what is usual from now on."""
        name = alarm.what
        self._absorbed[name] = alarm.shift
        self._expected[name].renew(model_wrong=True)
        for chart in self._charts[name]:
            chart.forget()

    def observe_outcome(
        self, *, failed: bool, broken: bool, valid: float, kept: float
    ) -> list[Alarm]:
        """
        Note whether a window failed and whether it broke a limit; return what has changed.

        `valid` and `kept` are the model's probabilities that it does not.
        """
        alarms = []
        if self._failures.add(failed, 1.0 - valid):
            text = f'{self._failures.count} of {self._failures.windows} missions failed'
            alarms.append(Alarm(FAILURES, self._failures.windows, text))
        if self._limits.add(broken, 1.0 - kept):
            text = f'{self._limits.count} of {self._limits.windows} windows broke a limit'
            alarms.append(Alarm(LIMITS, self._limits.windows, text))
        return alarms
