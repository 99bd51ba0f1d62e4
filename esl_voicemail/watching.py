"""Whether the configuration's files changed since they were read, so that nobody has to send a signal.

Reads the configuration too, as only who reads it knows what was read. What a change brings is the app's.
"""

from collections.abc import Callable
from itertools import chain
from pathlib import Path

from gevent.event import Event

from esl_voicemail.config import Config, load
from esl_voicemail.config.folder import MAILBOXES_DIR, holds_mailbox
from esl_voicemail.config.templates import is_template
from esl_voicemail.workers import Workers

_EVERY_SECONDS = 2.0

# What tells one state of a file from the next: name, time, size and inode; of a file that is not to be
# seen, why. The time is that of its last change of any kind (inode(7)), permissions among them.
State = tuple[tuple[str | int, ...], ...]


class Watch:
    """Follows the configuration file, its folder of mailboxes, and its folders of templates."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        # Where the folder is unless the configuration names another.
        self._folder = (path.resolve().parent if path else Path.cwd()) / MAILBOXES_DIR
        self._templates: tuple[Path, ...] = ()
        self._read: State = ()
        self._before: State = ()
        self._told: tuple[State, State] = (), ()
        self._stopping = Event()

    def read(self) -> Config:
        """Read the configuration as it is now; ConfigError as from `load`. What changes later is a change."""
        self._read = self.look()
        config = load(self.path)
        if (config.mailboxes_dir, config.template_folders) == (self._folder, self._templates):
            return config
        self._folder, self._templates = config.mailboxes_dir, config.template_folders
        self._read = self.look()
        return load(self.path)

    def run(self, workers: Workers, changed: Callable[[], None]) -> None:
        """Say, until `stop`, when files have changed since they were read and then stood still for a look."""
        while not self._stopping.wait(_EVERY_SECONDS):
            if workers.run(self.noticed):
                changed()

    def noticed(self) -> bool:
        """Look once; tell whether files have changed since they were read, stand still, and it is news."""
        now, read = self.look(), self._read
        news = now == self._before and now != read and (now, read) != self._told
        self._before = now
        if news:
            self._told = now, read
        return news

    def look(self) -> State:
        """Return the files' state; whatever is wrong with them is a state too."""
        files = () if self.path is None else (_state(self.path),)
        templates = [_states(folder, is_template) for folder in self._templates]
        return (*files, *_states(self._folder, holds_mailbox), *chain.from_iterable(templates))

    def stop(self) -> None:
        """End `run`."""
        self._stopping.set()


def _states(folder: Path, counts: Callable[[Path], bool]) -> State:
    try:
        return tuple(map(_state, sorted(filter(counts, folder.iterdir()))))
    except OSError as error:
        return ((str(folder), str(error.errno)),)


def _state(path: Path) -> tuple[str | int, ...]:
    try:
        found = path.stat()
    except OSError as error:
        return str(path), str(error.errno)
    return str(path), found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
