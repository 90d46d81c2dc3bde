"""A site of many hosts, simulated event by event: servers, brokers and workers with their queues. No I/O.

What is left out, so that a figure can be followed by hand: the network, the database (its queries take the time that
they are given), answers of many bytes, and what a worker has fetched and not begun (it fetches no more than it runs).
"""

import heapq
import math
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count


@dataclass(frozen=True)
class Costs:
    """Seconds of one core for a call, as docs/performance.md has them."""

    server: float = 362e-6
    broker: float = 137e-6


@dataclass(frozen=True)
class Loss:
    """A region that is lost, as a cable that is cut: nothing is closed, and nothing passes.

    Attributes:
        at: when, in seconds.
        balancer: seconds until no more requests are sent there.
        pause: seconds without a leader of the queues.
        redelivery: seconds until what its workers had goes to others.
    """

    at: float
    balancer: float = 1.0
    pause: float = 1.0
    redelivery: float = 9.0


@dataclass(frozen=True)
class Site:
    """What there is, the same in each region.

    Attributes:
        workers: worker processes, in all regions together.
        threads: of each, which is also the number of its connections to the database.
        servers: server processes, in all regions together; a core each.
        brokers: cores of the brokers, in all regions together.
        regions: how many; with more than one, requests, servers, brokers and workers are spread evenly.
        timeout: seconds that a call may take; its query is ended then.
        in_flight: calls of each server process; what comes while there are as many is refused.
        loss: of the last region; None for none.
    """

    workers: int
    threads: int = 32
    servers: int = 1
    brokers: int = 1
    regions: int = 1
    timeout: float = 30.0
    in_flight: int = 1000
    costs: Costs = Costs()
    loss: Loss | None = None


class Request:
    """A request, from its arrival to its answer."""

    __slots__ = ("arrived", "deadline", "seconds", "region", "queued", "waited", "attempt", "over")

    def __init__(self, arrived: float, timeout: float, seconds: float, region: int) -> None:
        self.arrived = arrived
        self.deadline = arrived + timeout
        self.seconds = seconds
        self.region = region  # of the server
        self.queued = 0.0  # when its message came to the queue
        self.waited = 0.0  # seconds that it waited there, for a thread
        self.attempt = 0  # a run whose worker was lost is none that ends
        self.over = False  # nobody waits for it


@dataclass
class Outcome:
    """What became of the requests.

    Attributes:
        waits: seconds that each answered one waited for a thread.
        besides: seconds from its arrival to its answer, but for its query.
        latencies: all of these seconds.
        answered, refused, cut, expired: when each request was answered, was refused at once as too many were in flight,
            was cut off with its server, or ran out of time.
    """

    waits: list[float] = field(default_factory=list)
    besides: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    cut: list[float] = field(default_factory=list)
    expired: list[float] = field(default_factory=list)


class _Cores:
    """Cores that do one thing at a time, what comes first first."""

    def __init__(self, simulation: "_Simulation", number: int) -> None:
        self._simulation = simulation
        self._free = number
        self._waiting: deque[tuple[float, Callable[[], None]]] = deque()

    def lose(self, number: int) -> None:
        """So many are gone, once what they do is done."""
        self._free -= number

    def do(self, seconds: float, then: Callable[[], None]) -> None:
        if self._free > 0:
            self._begin(seconds, then)
        else:
            self._waiting.append((seconds, then))

    def _begin(self, seconds: float, then: Callable[[], None]) -> None:
        self._free -= 1
        self._simulation.after(seconds, lambda: self._end(then))

    def _end(self, then: Callable[[], None]) -> None:
        self._free += 1
        if self._waiting and self._free > 0:
            self._begin(*self._waiting.popleft())
        then()


class _Simulation:
    def __init__(self, site: Site, requests: Iterable[tuple[float, float]]) -> None:
        self._site = site
        self._requests = iter(requests)
        self._regions = list(range(site.regions))
        self._served = list(self._regions)  # by the balancer
        self._lost: int | None = None
        self._servers = [_Cores(self, site.servers // site.regions) for _ in self._regions]
        self._brokers = _Cores(self, site.brokers)
        self._threads = [site.workers * site.threads // site.regions for _ in self._regions]
        self._running: list[dict[Request, None]] = [{} for _ in self._regions]
        self._in_flight = [0 for _ in self._regions]
        self._entered: deque[Request] = deque()  # in the order of their deadlines
        self._queue: deque[Request] = deque()
        self._closed_until = 0.0  # the queue has no leader
        self._turn = 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self.now = 0.0
        self.outcome = Outcome()

    def run(self) -> None:
        """To the last request's end."""
        loss = self._site.loss
        if loss is not None:
            self.after(loss.at, self._lose)
        self._next()
        while self._events:
            self.now, _, event = heapq.heappop(self._events)
            event()
        self.now = math.inf
        self._expire()

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._order), event))

    # The way of a request, there and back.

    def _next(self) -> None:
        if (found := next(self._requests, None)) is not None:
            arrival, seconds = found
            self.after(arrival - self.now, lambda: self._arrive(seconds))

    def _arrive(self, seconds: float) -> None:
        self._next()
        self._expire()
        self._turn += 1
        region = self._served[self._turn % len(self._served)]
        site = self._site
        if region == self._lost:
            self.outcome.cut.append(self.now)
        elif self._in_flight[region] >= site.in_flight * site.servers // site.regions:
            self.outcome.refused.append(self.now)
        else:
            request = Request(self.now, site.timeout, seconds, region)
            self._in_flight[region] += 1
            self._entered.append(request)
            self._servers[region].do(site.costs.server / 2, lambda: self._send(request))

    def _send(self, request: Request) -> None:
        self._brokers.do(self._site.costs.broker / 2, lambda: self._enqueue(request))

    def _enqueue(self, request: Request) -> None:
        request.queued = self.now
        self._queue.append(request)
        self._dispatch()

    def _dispatch(self) -> None:
        if self.now < self._closed_until:
            return
        while self._queue:
            region = max(self._regions, key=self._threads.__getitem__)
            if self._threads[region] == 0:
                return
            request = self._queue.popleft()
            if request.over:
                continue
            request.waited += self.now - request.queued
            self._threads[region] -= 1
            self._running[region][request] = None
            self._run(request, region, request.attempt)

    def _run(self, request: Request, region: int, attempt: int) -> None:
        seconds = min(request.seconds, max(0.0, request.deadline - self.now))
        self.after(seconds, lambda: self._end(request, region, attempt))

    def _end(self, request: Request, region: int, attempt: int) -> None:
        if attempt != request.attempt:
            return  # by a worker that is lost
        del self._running[region][request]
        self._threads[region] += 1
        self._brokers.do(self._site.costs.broker / 2, lambda: self._reply(request))
        self._dispatch()

    def _reply(self, request: Request) -> None:
        if not request.over:
            self._servers[request.region].do(self._site.costs.server / 2, lambda: self._answer(request))

    def _answer(self, request: Request) -> None:
        self._expire()
        if not request.over:
            self._ends(request)
            self.outcome.answered.append(self.now)
            self.outcome.waits.append(request.waited)
            self.outcome.latencies.append(self.now - request.arrived)
            self.outcome.besides.append(self.now - request.arrived - request.seconds)

    def _expire(self) -> None:
        while self._entered and (self._entered[0].over or self._entered[0].deadline <= self.now):
            request = self._entered.popleft()
            if not request.over:
                self._ends(request)
                self.outcome.expired.append(request.deadline)

    def _ends(self, request: Request) -> None:
        request.over = True
        self._in_flight[request.region] -= 1

    # The loss of a region.

    def _lose(self) -> None:
        loss = self._site.loss
        assert loss is not None
        region = self._lost = self._regions.pop()
        self._threads[region] = 0
        self._brokers.lose(self._site.brokers // self._site.regions)
        for request in self._entered:
            if request.region == region and not request.over:
                self._ends(request)
                self.outcome.cut.append(self.now)
        self._closed_until = self.now + loss.pause
        taken, self._running[region] = list(self._running[region]), {}
        for request in taken:
            request.attempt += 1
        # Clients of the lost servers wait in vain; those of the others may have had their queries run there.
        self.after(loss.balancer, lambda: self._served.remove(region))
        self.after(loss.pause, self._dispatch)
        self.after(loss.redelivery, lambda: self._give_back(taken))

    def _give_back(self, taken: list[Request]) -> None:
        # In front, where they have been.
        for request in reversed(taken):
            request.queued = self.now
            self._queue.appendleft(request)
        self._dispatch()


def simulate(site: Site, requests: Iterable[tuple[float, float]]) -> Outcome:
    """What becomes of requests, in order: each is the second of its arrival, and the seconds that its query runs."""
    simulation = _Simulation(site, requests)
    simulation.run()
    return simulation.outcome


def poisson(rate: float, seconds: float, mean: float, seed: int) -> Iterator[tuple[float, float]]:
    """Requests by chance, `rate` a second for so many seconds; their queries run by chance, too, for `mean` seconds."""
    draw = random.Random(seed).expovariate
    now = draw(rate)
    while now < seconds:
        yield now, draw(1 / mean)
        now += draw(rate)


def quantile(values: Iterable[float], part: float) -> float:
    """The value that a part of them, from 0 to 1, is not above; 0 for none."""
    found = sorted(values)
    return found[min(len(found) - 1, int(part * len(found)))] if found else 0.0
