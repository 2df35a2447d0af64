"""`manage.py up`: the whole of Rankloop on one machine, as `make run` starts it."""
