"""One task's life: restore, replay, run, commit, fence, close. A core: no I/O, no clock."""
