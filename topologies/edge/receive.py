"""From a body to records, and from what became of them to an answer (C)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from topologies.edge.answers import Answer, Encoding, failure, success, unavailable
from topologies.edge.config import EdgeConfig
from topologies.edge.cut import RefusedPiece, UnparsableError, cut
from topologies.edge.head import Admitted, too_large
from topologies.edge.inflate import CorruptError, TooLargeError, inflate
from topologies.edge.otlp_json import JsonError, request_to_protobuf
from topologies.edge.records import Outcome, Record
from topologies.epochs import ONE_EPOCH, Epochs

DEAD_LETTER_KEY = b"edge"


@dataclass(frozen=True, slots=True)
class Accepted:
    """Records to append, all of them, before the answer of `answer_for`."""

    records: tuple[Record, ...]  # the pieces, then the dead letters
    pieces: int
    refused: tuple[RefusedPiece, ...]
    inflated: int


@dataclass(frozen=True, slots=True)
class Kept:
    """A body that is refused for good: `letter` is to be on the log before `answer` is given."""

    letter: Record
    answer: Answer


def receive(
    request: Admitted,
    body: bytes,
    config: EdgeConfig,
    *,
    received_ns: int,
    partitions: int,
    epochs: Epochs = ONE_EPOCH,
) -> Accepted | Kept | Answer:
    """Decide what is to be appended for a body, or why it is refused. Takes CPU time, no I/O.

    `partitions` is the raw topic's count, `epochs` are those after it, `received_ns` is the wall
    clock in unix nanoseconds.
    """
    try:
        plain = inflate(body, request.coding, config.max_body)
    except TooLargeError:
        return too_large(request.encoding, config)
    except CorruptError as error:
        message = f"the body is said to be {request.coding}, but {error}"
        written = f"{_letter_encoding(request.encoding)}+{request.coding}"
        return _keep(request, body, config, "corrupt-compression", message, written, received_ns)
    encoded = _letter_encoding(request.encoding)
    try:
        protobuf = plain if request.encoding is Encoding.PROTOBUF else request_to_protobuf(plain)
        cutting = cut(
            protobuf,
            tenant=request.tenant,
            topic=config.raw_topic,
            partitions=partitions,
            received_ns=received_ns,
            limit=config.max_record,
            epochs=epochs,
        )
    except (JsonError, UnparsableError) as error:
        return _keep(request, plain, config, "unparsable", str(error), encoded, received_ns)
    letters = tuple(
        dead_letter(
            config, request.tenant, piece.value, piece.code, piece.reason, "otlp", received_ns
        )
        for piece in cutting.refused
    )
    return Accepted(cutting.records + letters, len(cutting.records), cutting.refused, len(plain))


def answer_for(
    request: Admitted, accepted: Accepted, outcomes: Sequence[Outcome], config: EdgeConfig
) -> Answer:
    """The answer once the log has spoken of every record.

    Anything in doubt: the agent sends the whole request again, and the digests recognise the
    pieces that did arrive. Refused for good: partial success, which agents do not repeat.
    """
    if Outcome.UNKNOWN in outcomes or Outcome.REFUSED in outcomes[accepted.pieces :]:
        return log_away(request.encoding, config)
    if Outcome.REFUSED in outcomes:
        return failure(
            413,
            "refused-by-log",
            f"the log refuses records as large as these; raise max.message.bytes of topic "
            f"{config.raw_topic} to {config.max_record} or send smaller batches",
            request.encoding,
        )
    points = sum(piece.points for piece in accepted.refused)
    reasons = "; ".join(dict.fromkeys(piece.reason for piece in accepted.refused))
    return success(request.encoding, points, reasons)


def kept_answer(
    request: Admitted, kept: Kept, outcomes: Sequence[Outcome], config: EdgeConfig
) -> Answer:
    """The refusal, if its body is kept; else the agent is to try again."""
    appended = all(outcome is Outcome.APPENDED for outcome in outcomes)
    return kept.answer if appended else log_away(request.encoding, config)


def log_away(encoding: Encoding, config: EdgeConfig) -> Answer:
    """503: the log did not acknowledge everything."""
    message = "the log can't take records at the moment; send the request again"
    return unavailable("log-away", message, encoding, config.retry_after_log_away)


def busy(encoding: Encoding, config: EdgeConfig) -> Answer:
    """503: too many bytes are under way already."""
    message = "too much is on its way to the log already; send the request again"
    return unavailable("busy", message, encoding, config.retry_after_busy)


def dead_letter(
    config: EdgeConfig,
    tenant: str,
    value: bytes,
    code: str,
    reason: str,
    encoding: str,
    received_ns: int,
) -> Record:
    """A record that keeps `value` and why it can't be processed.

    More than `max_record` bytes are cut off; the header `length` then tells how many there were.
    """
    headers = [
        ("reason", reason.encode("utf-8", "replace")[:1000]),
        ("code", code.encode()),
        ("tenant", tenant.encode()),
        ("encoding", encoding.encode()),
        ("received", str(received_ns).encode()),
    ]
    if len(value) > config.max_record:
        headers.append(("length", str(len(value)).encode()))
        value = value[: config.max_record]
    return Record(config.dead_letter_topic, 0, DEAD_LETTER_KEY, value, tuple(headers))


def _keep(
    request: Admitted,
    body: bytes,
    config: EdgeConfig,
    code: str,
    message: str,
    encoding: str,
    received_ns: int,
) -> Kept:
    letter = dead_letter(config, request.tenant, body, code, message, encoding, received_ns)
    told = f"{message}; the body is kept in {config.dead_letter_topic}. Do not send it again"
    return Kept(letter, failure(400, code, told, request.encoding))


def _letter_encoding(encoding: Encoding) -> str:
    return "otlp" if encoding is Encoding.PROTOBUF else "otlp-json"
