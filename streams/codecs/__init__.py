"""How rows are written in records. A codec reads many records into columns, and back.

| codec | value of a record | key of a record |
|---|---|---|
| `Json` | a JSON object, or several, a line each | the `key` columns: text, or a JSON array |
| `Csv` | a line of fields (RFC 4180), or many; a bad line is refused alone | none |
| `Columnar` | many rows as one `streams.batch.Table` | none |
| `Text` | one string | none |
| `Raw` | one byte string | one byte string, or none |

What a codec writes is columns again (`streams.task.outputs.Written`); one of your own may give
pairs of key and value instead, which takes longer. A record that cannot be read is `Rejected`: it
goes to the dead-letter topic, and the rest counts.
"""

from streams.codecs.columnar import Columnar
from streams.codecs.csv_rows import Csv
from streams.codecs.json_rows import Json
from streams.codecs.port import Codec, Decoded
from streams.codecs.raw import Raw
from streams.codecs.text import Text

__all__ = ["Codec", "Columnar", "Csv", "Decoded", "Json", "Raw", "Text"]
