"""`python -m flyte_kernel.cli` is `flyte-kernel`."""

from flyte_kernel.cli.main import main

main()
