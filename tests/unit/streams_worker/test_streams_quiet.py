"""A library that repeats itself is heard once, and counted."""

import logging

from streams.worker.quiet import LogLimiter


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
