"""What the SDK does for each attempt, done with less: the same results by fewer functions, threads and files.

Each function that an attempt is the first to call in its forked process costs some copied pages. `take` and `remember`
change the SDK in memory, or raise if it is not one that they know; a rehearsal then shows that attempts still come to
their ends.
"""
