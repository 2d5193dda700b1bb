"""Columns of text: what goes in comes out, whatever the characters and however they are mixed."""

from hypothesis import given
from hypothesis import strategies as st

from streams.schema import binary, string
from streams.values import values_of

ASCII = st.text(st.characters(max_codepoint=127))
ANY = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(ASCII) | st.lists(ANY) | st.lists(ASCII | ANY))
def test_strings_come_back_as_they_are(rows):
    column = values_of(string, rows)
    assert column.to_list() == rows
    assert list(column.texts) == [row.encode() for row in rows]


@given(st.lists(ASCII | ANY | st.none()))
def test_strings_with_gaps_come_back_with_their_gaps(rows):
    assert values_of(string.optional, rows).to_list() == rows


@given(st.lists(ASCII | ANY.map(str.encode)))
def test_strings_may_be_given_as_utf8(rows):
    wanted = [row if isinstance(row, str) else row.decode() for row in rows]
    assert values_of(string, rows).to_list() == wanted


@given(st.lists(st.binary() | st.none()))
def test_bytes_come_back_as_they_are(rows):
    assert values_of(binary.optional, rows).to_list() == rows
