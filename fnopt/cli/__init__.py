"""The command line: ``fnopt train``, ``fnopt sweep``, ``fnopt optimizers``, ``fnopt schedules``."""

from fnopt.cli.command import main as main
