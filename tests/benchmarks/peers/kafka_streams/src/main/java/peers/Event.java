package peers;

/** A JSON record of the input. */
public final class Event {
  public String host;
  public String route;
  public String method;
  public int status;
  public double value;
  public long at;
}
