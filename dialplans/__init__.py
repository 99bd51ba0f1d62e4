"""Dialplans to drop into a FreeSWITCH, shipped with the package."""
