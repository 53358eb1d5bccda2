"""The command line: ``fnopt train``, ``fnopt optimizers``, ``fnopt schedules``."""

from fnopt.cli.command import main as main
