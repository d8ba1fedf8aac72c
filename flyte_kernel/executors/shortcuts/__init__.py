"""What the SDK does for each attempt, done with less: the same results by fewer functions, threads and files.

Each function that an attempt is the first to call in its forked process costs some copied pages. The modules here are
loaded by path, by warm processes, and import nothing of flyte_kernel. `take` of each changes the SDK in memory or raises
if that SDK is not as it expects; a rehearsal then shows that attempts still come to their ends.
"""
