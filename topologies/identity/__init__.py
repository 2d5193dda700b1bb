"""What a stream is, whatever its encoding; see ``canonical`` for the bytes that decide it."""

from topologies.encodings.otlp import all_points_have_time
from topologies.identity.series import SeriesTable
from topologies.identity.split import MalformedError, canonical_resource_key, split_by_resource
from topologies.identity.stream import GroupLabels, Stream, group_labels

__all__ = [
    "GroupLabels",
    "MalformedError",
    "SeriesTable",
    "Stream",
    "all_points_have_time",
    "canonical_resource_key",
    "group_labels",
    "split_by_resource",
]
