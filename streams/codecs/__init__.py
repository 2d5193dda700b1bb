"""How rows are written in records. A codec reads many records into columns, and back.

| codec | value of a record | key of a record |
|---|---|---|
| `Json` | a JSON object, or several, a line each | the `key` columns: text, or a JSON array |
| `Columnar` | many rows as one `streams.batch.Table` | none |
| `Text` | one string | none |
| `Raw` | one byte string | one byte string, or none |

A record that cannot be read is `Rejected`: it goes to the dead-letter topic, and the rest counts.
"""

from streams.codecs.columnar import Columnar
from streams.codecs.json_rows import Json
from streams.codecs.port import Codec, Decoded
from streams.codecs.raw import Raw
from streams.codecs.text import Text

__all__ = ["Codec", "Columnar", "Decoded", "Json", "Raw", "Text"]
