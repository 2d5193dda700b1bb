"""The transaction coordinator's durable records: one a transactional id, msgpack on both sides."""

import msgspec

from broker.coordination import Record
from broker.transactions.transaction import Transaction


class UnknownRowError(ValueError):
    """A row of a kind that this version does not know: the data is of a newer version."""


_TRANSACTION = msgspec.msgpack.Decoder(Transaction)


def record(transactional_id: str, transaction: Transaction | None) -> Record:
    """A record to append; None deletes the id."""
    key = msgspec.msgpack.encode(["transaction", transactional_id])
    return Record(key, None if transaction is None else msgspec.msgpack.encode(transaction))


def decode_key(key: bytes) -> str:
    """The transactional id; raises `UnknownRowError`."""
    match msgspec.msgpack.decode(key):
        case ["transaction", str(transactional_id)]:
            return transactional_id
        case other:
            text = f"the transaction log holds a row of an unknown kind: {other!r}"
            raise UnknownRowError(text)


def decode_value(value: bytes) -> Transaction:
    """The transaction as it was appended."""
    return _TRANSACTION.decode(value)
