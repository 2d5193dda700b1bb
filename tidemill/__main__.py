"""`python -m tidemill`: the same as `tidemill`."""

from tidemill.main import main

if __name__ == "__main__":
    raise SystemExit(main())
