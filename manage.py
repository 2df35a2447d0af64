#!/usr/bin/env python
"""The command line of a checkout, see `config.command_line`."""

from config.command_line import main

if __name__ == "__main__":
    main()
