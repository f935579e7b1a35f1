"""How long a name is without a leader: when one gives it back, and when one dies."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Final

from poolguard.client import LeaseClient
from poolguard.client.holding import Holding
from poolguard.client.term import boottime
from tests.soak.noise import Noise, bound_beside, echo
from tests.soak.stage import Pod, pods, postgres
from tests.soak.verdict import Figure, Part, quantile
from tests.support.network import Network

GRACEFUL: Final = 100
CRASHES: Final = 8
CRASH_TTL: Final = 4.0
GRACEFUL_MS: Final = 150.0
LONG_TTL: Final = 60.0
SETTLE_SECONDS: Final = 0.3


def run(seconds: float, seed: int, say: Callable[[str], None]) -> Part:
    """Hand a lease to and fro between two pods, for at most *seconds* each way."""
    del seed
    part = Part("handover")
    with ExitStack() as stack:
        running = stack.enter_context(postgres())
        network = Network()
        stack.callback(network.close)
        both = stack.enter_context(pods(running, network, 2))
        noise = stack.enter_context(echo())
        graceful = _hand_over(both, GRACEFUL, seconds, LONG_TTL, _give_back, noise)
        say(f"{len(graceful)} hand-overs")
        crashes = _hand_over(both, CRASHES, seconds, CRASH_TTL, _die, noise)
        say(f"{len(crashes)} takeovers")
        noise_p99 = quantile(noise.milliseconds, 0.99)
        most = bound_beside(noise_p99, GRACEFUL_MS)
        if most is None:
            part.notes.append(f"p99 is not judged (at most {GRACEFUL_MS:g} ms), the machine's own noise is too loud")
    part.figures += [
        Figure("graceful hand-overs", len(graceful), least=1),
        Figure("graceful hand-over: p50", quantile(graceful, 0.5) * 1000, "ms"),
        Figure("graceful hand-over: p99", quantile(graceful, 0.99) * 1000, "ms", most=most),
        Figure("noise of the machine: an echo, p99", noise_p99, "ms"),
        Figure("takeovers after a crash", len(crashes), least=1),
        Figure("takeover after a crash: p50", quantile(crashes, 0.5), "s"),
        Figure("takeover after a crash: longest", max(crashes), "s", most=CRASH_TTL + 1.0),
    ]
    return part


def _hand_over(
    both: list[Pod], times: int, seconds: float, ttl: float, leave: Callable[[Holding], None], noise: Noise
) -> list[float]:
    took: list[float] = []
    deadline = boottime() + seconds
    with ThreadPoolExecutor(1) as waiting:
        held = _standing(both[0], ttl)
        held.start()
        while len(took) < times and boottime() < deadline:
            following = _standing(both[(len(took) + 1) % 2], ttl)
            entered = waiting.submit(_entered, following)
            # It must be waiting by then, not about to ask for the first time.
            following.lost.wait(SETTLE_SECONDS)
            noise.ask()
            left_at = boottime()
            leave(held)
            took.append(entered.result(60) - left_at)
            held = following
        held.close()
    return took


def _standing(pod: Pod, ttl: float) -> Holding:
    with LeaseClient(pod.url) as client:
        return client.hold("handed-over", holder=pod.name, ttl_seconds=ttl, wait_seconds=60)


def _entered(holding: Holding) -> float:
    holding.start()
    return boottime()


def _give_back(holding: Holding) -> None:
    holding.close()


def _die(holding: Holding) -> None:
    holding.leave()
