"""Random deliveries to a topology of the DSL: any order of partitions, any cuts, and crashes."""

from streams.codecs import Json
from streams.operators.entry import idle_mark
from streams.values import values_of


def deliver(driver, records, schema, chance, crashes):
    """Pipe `records` (by partition; a number is an idle mark, else rows of one record) into the
    topic `rows` and run to the end. crashes: how probable one is, for each task and record."""
    places = [0] * len(records)
    while left := [p for p in range(len(records)) if places[p] < len(records[p])]:
        p = chance.choice(left)
        record = records[p][places[p]]
        places[p] += 1
        if isinstance(record, int):
            mark = idle_mark("rows", p, record)
            driver.log.append("rows", p, mark.value, headers=mark.headers)
        else:
            columns = _columns_of(record, schema)
            lines = b"\n".join(value for _, value in Json(schema).encode(columns, len(record)))
            driver.pipe_record("rows", lines, partition=p)
        _disturb(driver, chance, crashes)
    driver.run()


def _columns_of(rows, schema):
    return {name: values_of(kind, [row[name] for row in rows]) for name, kind in schema.items()}


def _disturb(driver, chance, crashes):
    for task in driver.tasks:
        if chance.random() < 0.1:
            for _ in range(chance.randrange(25)):
                task.turn()
            if chance.random() < 0.3:
                task.advance(chance.choice([50, 150, 400]))
        if chance.random() < crashes:
            task.crash(lose_disk=chance.random() < 0.5)
            task.start()
    if chance.random() < 0.02:
        driver.run()
