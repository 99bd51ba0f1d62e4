"""The sounds that callers hear, shipped with the package; `make-greetings` makes them from `texts.yaml`."""
