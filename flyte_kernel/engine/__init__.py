"""The loop: inbox, journal, step, obey. Knows ports, never what stands behind them."""
