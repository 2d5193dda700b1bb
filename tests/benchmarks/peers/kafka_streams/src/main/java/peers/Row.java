package peers;

/** A JSON record of the output: one group and window. */
public final class Row {
  public String host;
  public String route;
  public long window_start;
  public long count;
  public double sum;
  public double min;
  public double max;

  static Row of(String key, long start, Stats stats) {
    Row row = new Row();
    int cut = key.indexOf('|');
    row.host = key.substring(0, cut);
    row.route = key.substring(cut + 1);
    row.window_start = start;
    row.count = stats.count;
    row.sum = stats.sum;
    row.min = stats.min;
    row.max = stats.max;
    return row;
  }
}
