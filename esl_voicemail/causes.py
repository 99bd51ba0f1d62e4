"""FreeSWITCH's hang-up causes of a call that nobody took, by the reason they stand for. Pure.

A dialplan must not hang up on them, and what it leaves in `originate_disposition` is read by them.
"""

from esl_voicemail.model import Reason

CAUSES: dict[Reason, tuple[str, ...]] = {
    Reason.NO_ANSWER: (
        "NO_ANSWER",
        "ALLOTTED_TIMEOUT",
        "PROGRESS_TIMEOUT",
        "NO_PICKUP",
        "RECOVERY_ON_TIMER_EXPIRE",
    ),
    Reason.BUSY: ("USER_BUSY", "BUSY_EVERYWHERE", "CALL_REJECTED"),
    Reason.UNAVAILABLE: (
        "USER_NOT_REGISTERED",
        "SUBSCRIBER_ABSENT",
        "NO_USER_RESPONSE",
        "UNALLOCATED_NUMBER",
        "NO_ROUTE_DESTINATION",
        "NORMAL_TEMPORARY_FAILURE",
        "NETWORK_OUT_OF_ORDER",
        "DESTINATION_OUT_OF_ORDER",
        "INVALID_GATEWAY",
        "GATEWAY_DOWN",
    ),
}
