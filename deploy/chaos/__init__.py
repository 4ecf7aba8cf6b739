"""``make chaos``: load on the scaled-out suite while it is killed and starved, and a count of what that cost.

``load`` emits, enrols and deletes and writes into the ``ledger`` what was acknowledged; ``witnesses`` hear what the
platform tells; ``faults`` go wrong one after the other; ``audit`` compares all of it with what the platform has.
"""
