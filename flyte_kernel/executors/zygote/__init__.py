"""The warm process that attempts are forked from and supervised by; it runs in the interpreter of the tasks.

It imports the SDK once, and the libraries that earlier attempts needed, then forks a child for each attempt: some 13 ms
instead of 0.5 s. Any other command is run by exec. User code is imported by the child alone: an attempt starts from the
registered code, its own environment and a copy of its own, and what an import breaks stays in that attempt. Where many
attempts of one environment want the same module, a branch does better: a zygote, forked of this one, that has imported
that module too, if attempts cannot tell (see user_module).

The tasks' interpreter need not have flyte_kernel: `__main__.py` is run by its path and makes a package of its own out
of this folder, so that imports in here are relative and nothing else of flyte_kernel is imported.

An attempt's folder holds

    claim       locked (flock) from before the fork until its end is written down, by zygote and attempt; see claims
    log.txt     what it printed
    work/ tmp/  where it ran, removed or handed on when it ends by itself

so whoever holds the claim is the only one who may run the attempt, and whoever finds an exit there knows how it ended.
When the server closes the control socket (standard input), no new work is taken, the children are seen to their end,
and then the zygote ends too. Reports go to a pipe (standard output).
"""
