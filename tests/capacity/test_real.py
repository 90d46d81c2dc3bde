"""The simulation of one and of two workers beside a real stack of them, given the same requests."""

from dataclasses import replace

import pytest

from deploy.local.process import free_port
from deploy.local.services import Services
from tests.capacity.model import Site, poisson, quantile, simulate
from tests.capacity.real import ask
from tests.conftest import Start, celery_worker, ready

pytestmark = [pytest.mark.gen_test(timeout=120)]

SITE = Site(workers=1, threads=4)
MEAN = 0.2  # seconds of a query: a machine that is busy otherwise is late by less than that
LOAD = 0.8
_ROUNDS = 3  # at most, of those in which the machine stood still
_LATE = 0.05  # seconds by which requests are sent too late then: those who were to send them stood still as well


async def test_it_serves_and_waits_as_the_simulation_has_it(services: Services, vhost: str, start: Start) -> None:
    settings = {"broker_url": vhost, "database_url": services.database_url}
    port = free_port()
    server = start("server", "server", port=port, demo=1, **settings)
    for workers in (1, 2):
        celery_worker(start, "tasks", "-P", "threads", "-c", str(SITE.threads), **settings)
        url, site = ready(server, port), replace(SITE, workers=workers)
        # More than they can do: what counts is how long it takes.
        flooded = await ask(url, [(0.0, MEAN)] * 60 * workers)
        bound = max(simulate(site, flooded.requests).answered)
        most, simulated_most = 60 * workers / flooded.seconds, 60 * workers / bound
        print(f"{workers} workers: {most:.1f}/s at most, simulated {simulated_most:.1f}/s")
        assert flooded.seconds == pytest.approx(bound, rel=0.3)
        # By chance, as many as keep the threads busy for a part of the time. From one task to the next a thread waits
        # for the broker, which takes longer on a busy machine.
        turn = (flooded.seconds - bound) * site.threads / 60
        rate = LOAD * workers * site.threads / (MEAN + turn)
        for number in range(_ROUNDS):
            measured = await ask(url, list(poisson(rate, 6.0, MEAN, seed=_ROUNDS * workers + number)))
            simulated = simulate(site, [(sent, run + turn) for sent, run in measured.requests])
            # Half of them hardly wait: nothing would be too much for such a bound.
            real, model = ([quantile(each.waits, part) for part in (0.9, 0.99)] for each in (measured, simulated))
            print(f"{workers} workers, {rate:.0f}/s: p90 and p99 waits {real} s, simulated {model} s")
            print(f"sent up to {measured.late:.3f} s late")
            if measured.late < _LATE:
                break
        assert real == pytest.approx(model, rel=0.3, abs=0.1)
