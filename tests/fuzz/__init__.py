"""Structure-aware fuzzing of everything that reads what somebody else wrote: `make fuzz`.

A case is made from its seed and number alone, so each finding can be made again.
"""
