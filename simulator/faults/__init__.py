"""Faults on purpose: which there are, when one acts, and what clients then see. Pure.

Nothing here reads a clock or a source of randomness: venue time is handed in, and every draw is a
function of the plan's seed, so that the same questions get the same answers in every run.
"""

from simulator.faults.drawing import draw_faults
from simulator.faults.fault import Fault, fault_of, json_of
from simulator.faults.kinds import BadFaultError, CallName, Kind
from simulator.faults.plan import Entry, FaultPlan, Hit, Situation, UnknownFaultError

__all__ = [
    "BadFaultError",
    "CallName",
    "Entry",
    "Fault",
    "FaultPlan",
    "Hit",
    "Kind",
    "Situation",
    "UnknownFaultError",
    "draw_faults",
    "fault_of",
    "json_of",
]
