import asyncio

import pytest

from poolguard.aio.tasks import TaskOwner

Failures = list[tuple[str, BaseException]]


@pytest.fixture
def failures() -> Failures:
    return []


@pytest.fixture
def owner(failures: Failures) -> TaskOwner:
    return TaskOwner(lambda name, error: failures.append((name, error)))


async def test_a_task_runs_under_its_name(owner: TaskOwner, failures: Failures, loop_kind: str) -> None:
    names: list[str] = []

    async def work() -> None:
        task = asyncio.current_task()
        assert task is not None
        names.append(task.get_name())

    await owner.spawn(work(), name=f"janitor on {loop_kind}")
    assert (names, failures) == ([f"janitor on {loop_kind}"], [])


async def test_a_failure_is_reported_with_the_tasks_name(owner: TaskOwner, failures: Failures) -> None:
    trouble = ValueError("trouble")

    async def fail() -> None:
        raise trouble

    task = owner.spawn(fail(), name="janitor")
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert failures == [("janitor", trouble)]
    await owner.close()


async def test_close_ends_what_runs_and_reports_no_failure(owner: TaskOwner, failures: Failures) -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def forever() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    task = owner.spawn(forever(), name="janitor")
    await started.wait()
    await owner.close()
    assert task.cancelled()
    assert ended.is_set()
    assert failures == []


async def test_close_waits_for_a_cleanup_that_takes_a_while(owner: TaskOwner) -> None:
    cleaned, started = asyncio.Event(), asyncio.Event()

    async def forever() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(5):
                await asyncio.sleep(0)
            cleaned.set()

    owner.spawn(forever(), name="janitor")
    await started.wait()
    await owner.close()
    assert cleaned.is_set()


async def test_a_failing_cleanup_is_reported_and_others_still_end(owner: TaskOwner, failures: Failures) -> None:
    trouble = RuntimeError("cleanup")
    started = asyncio.Semaphore(0)

    async def forever(error: Exception | None) -> None:
        started.release()
        try:
            await asyncio.Event().wait()
        finally:
            if error is not None:
                raise error

    tasks = [owner.spawn(forever(error), name=name) for name, error in (("bad", trouble), ("good", None))]
    for _ in tasks:
        await started.acquire()
    await owner.close()
    assert all(task.done() for task in tasks)
    assert failures == [("bad", trouble)]


async def test_closing_an_owner_of_nothing_does_nothing(owner: TaskOwner) -> None:
    await owner.close()
    await owner.close()


async def test_finishing_waits_for_what_ends_by_itself_and_not_for_ever() -> None:
    tasks = TaskOwner(lambda _, error: None)
    gate = asyncio.Event()

    async def wait() -> None:
        await gate.wait()

    tasks.spawn(wait(), name="waits")
    assert not await tasks.finish(0.001)
    asyncio.get_running_loop().call_soon(gate.set)
    assert await tasks.finish(5.0)
    await tasks.close()


async def test_a_branch_reports_to_the_same_and_ends_on_its_own() -> None:
    failures: list[str] = []
    tasks = TaskOwner(lambda name, error: failures.append(name))
    branch = tasks.branch()

    async def fail() -> None:
        raise RuntimeError

    branch.spawn(fail(), name="branch's")
    assert await branch.finish(5.0)
    assert failures == ["branch's"]
    await tasks.close()
