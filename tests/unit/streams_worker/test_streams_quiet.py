"""A library that repeats itself is heard once, and counted."""

import asyncio
import gc
import logging

from aiokafka.errors import KafkaTimeoutError, ProducerFenced

from streams.worker.quiet import LogLimiter, pass_over_fenced


def test_the_same_message_passes_once_and_others_are_untouched(caplog):
    noisy, other = logging.getLogger("noisylib.client"), logging.getLogger("ours")
    with caplog.at_level(logging.DEBUG), LogLimiter("noisylib"):
        for number in range(20):
            noisy.error("no broker at %s", number)
            other.error("ours %s", number)
        noisy.error("something else")
        noisy.debug("for whoever asks")
    noisy.error("no broker at %s", "the end")
    texts = [record.getMessage() for record in caplog.records if record.name.startswith("noisylib")]
    assert texts == [
        "no broker at 0",
        "something else",
        "for whoever asks",
        "no broker at the end",
    ]
    assert len([r for r in caplog.records if r.name == "ours"]) == 20


def test_of_futures_that_nobody_looked_at_only_those_of_fenced_producers_are_passed_over(caplog):
    async def work() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(pass_over_fenced)
        for error in (ProducerFenced(), KafkaTimeoutError(), ValueError("a bug")):
            loop.create_future().set_exception(error)
        gc.collect()
        loop.call_exception_handler({"message": "a callback failed", "exception": ProducerFenced()})

    asyncio.run(work())
    told = [str(record.exc_info[1]) for record in caplog.records]
    assert told == [str(KafkaTimeoutError()), "a bug", str(ProducerFenced())]
