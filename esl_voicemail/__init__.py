"""Voicemail to e-mail for FreeSWITCH: call -> dialogue -> recording -> journal -> mail -> delivered."""

__version__ = "0.1.0"
