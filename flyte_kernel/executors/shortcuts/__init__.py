"""What the SDK does for each attempt, done with less: the same results by fewer functions, threads and files.

Each function that an attempt is the first to call in its forked process costs some copied pages. The modules here are
loaded by path, by warm processes, and import nothing of flyte_kernel. Their `take` or `remember` changes the SDK in
memory, or raises if it is not one that they know; a rehearsal then shows that attempts still come to their ends.
"""
