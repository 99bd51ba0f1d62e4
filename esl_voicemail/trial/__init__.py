"""The stand-in switch: places a call as FreeSWITCH does, for trials and tests; production does without it."""
