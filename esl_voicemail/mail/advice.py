"""What to mend when a mail server takes no mail at all from us, by what it or the network said. Pure."""

import re

# Which setting of mail.smtp is to blame, and what to do; the first that fits.
_BY_WORDS = (
    (r"STARTTLS", "security", "set it to tls (port 465), or to none where the server is on this machine"),
    (r"AUTH PLAIN", "username", "leave it out, or log in by the security and port that the server names"),
    (r"(?i)hostname mismatch|IP address mismatch", "host", "name the server as its certificate does"),
    (r"CERTIFICATE_VERIFY_FAILED", "ca_file", "name the file of the authority that signed the certificate"),
    (r"SSL", "security", "the server speaks another TLS there, or none: set it to starttls, or mend port"),
    (r"Errno -\d", "host", "mend the name, or this machine's DNS"),
    (r"(?i)refused", "port", "nobody listens there: mend host and port, or start the server"),
    (r"(?i)timed out|unreachable|no route", "host", "mend host and port, or let it through the firewall"),
    (r"(?i)closed|reset|lost", "port", "the server hangs up: mend port and security, or see its log"),
)
_BY_CODE = {
    530: ("username", "give one, with password_file: the server wants a login"),
    534: ("username", "ask whoever runs the server how it is logged in to"),
    535: ("username", "mend it, or the password in password_file"),
    538: ("security", "set it to starttls or tls: the server takes no login in the clear"),
}


def advice(code: int | None, reply: str) -> tuple[str, str]:
    """Return the setting of `mail.smtp` to look at, and what to do."""
    if code in _BY_CODE:
        return _BY_CODE[code]
    if code is not None:
        later = "the server takes nothing now: ask again later, or see its log"
        return "host", "ask whoever runs the server why it takes nothing from here" if code >= 500 else later
    found = (one[1:] for one in _BY_WORDS if re.search(one[0], reply))
    return next(found, ("host", "mend mail.smtp, or see the server's log"))
