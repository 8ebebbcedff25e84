"""Chaos: the whole stack as processes, killed again and again while bots trade.

    python -m chaos --kills 500 --bots 50 --seed 7

Every process is ended by SIGKILL at moments drawn from a seed, while alerts and commands arrive and
the exchange misbehaves. Then everything settles, and the books of the platform are compared with
those of the exchange.
"""
