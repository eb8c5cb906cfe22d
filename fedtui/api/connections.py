"""Who may hold a connection: slots kept for known addresses, and the silent ones that give way when there are none.

An address is known once a request from it was judged to be a peer's. Strangers hold half of all connections at most,
and unfinished handshakes are bounded apart. Where a bound is met, a connection gives way of the address that has the
most silent ones, the one that has been silent for the longest: who floods loses its own.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiohttp import StreamReader, web

MOST_KNOWN = 10_000


@dataclass(eq=False, slots=True)
class Connection:
    """One connection. `open`: TLS is finished; `working`: requests on it that do not wait for its client."""

    address: str
    known: bool
    table: Connections = field(repr=False)
    close: Callable[[], object] = field(default=lambda: None, repr=False)
    open: bool = False
    working: int = 0
    body: StreamReader | None = field(default=None, repr=False)
    """Of the newest request on it."""

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """A request is being answered: the connection is not silent meanwhile."""
        with self._counted(1):
            yield

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """What is done waits for the client: to send its body."""
        with self._counted(-1):
            yield

    @contextmanager
    def _counted(self, step: int) -> Iterator[None]:
        self._work(step)
        try:
            yield
        finally:
            self._work(-step)

    def _work(self, step: int) -> None:
        with self.table.moving(self):
            self.working += step

    def admit(self) -> None:
        """A request on it was a peer's."""
        with self.table.moving(self):
            self.known = True
        self.table.remember(self.address)


class Connections:
    """The connections of one listener. To be used on its event loop alone."""

    def __init__(self, *, most: int, per_address: int, handshakes: int) -> None:
        self._most, self._per_address, self._handshakes = most, per_address, handshakes
        self._held: set[Connection] = set()
        self._addresses: Counter[str] = Counter()
        self._groups: Counter[tuple[bool, bool]] = Counter()
        """How many there are, by `known` and `open`."""
        self._silent: dict[tuple[bool, bool], dict[str, OrderedDict[Connection, None]]] = {
            (known, finished): {} for known in (False, True) for finished in (False, True)
        }
        self._known: OrderedDict[str, None] = OrderedDict()
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._held)

    @property
    def unfinished(self) -> int:
        """How many have not finished TLS."""
        return self._groups[False, False] + self._groups[True, False]

    def remember(self, address: str) -> None:
        """This address is known from now on."""
        self._known[address] = None
        self._known.move_to_end(address)
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)

    def enter(self, address: str) -> Connection | None:
        """A new connection from an address, for which another may have to give way; None where there is no room."""
        known = address in self._known
        if self._addresses[address] >= self._per_address and not self._evict(address, (known, False)):
            return None
        if self.unfinished >= self._handshakes and not self._give_way(known, (False,)):
            return None
        strangers = self._groups[False, False] + self._groups[False, True]
        if (len(self) >= self._most or (not known and strangers >= self._most // 2)) and not self._give_way(
            known, (False, True)
        ):
            return None
        connection = Connection(address, known, self)
        self._held.add(connection)
        self._addresses[address] += 1
        self._add(connection)
        return connection

    def opened(self, connection: Connection) -> None:
        """TLS is finished."""
        with self.moving(connection):
            connection.open = True

    def leave(self, connection: Connection) -> None:
        """The connection is over. Once more is no harm."""
        if connection not in self._held:
            return
        self._take(connection)
        self._held.discard(connection)
        self._addresses[connection.address] -= 1
        if not self._addresses[connection.address]:
            del self._addresses[connection.address]

    @contextmanager
    def moving(self, connection: Connection) -> Iterator[None]:
        """Change what a connection is, and keep count."""
        held = connection in self._held
        if held:
            self._take(connection)
        yield
        if held:
            self._add(connection)

    def _add(self, connection: Connection) -> None:
        group = (connection.known, connection.open)
        self._groups[group] += 1
        if connection.working <= 0:
            self._silent[group].setdefault(connection.address, OrderedDict())[connection] = None

    def _take(self, connection: Connection) -> None:
        group = (connection.known, connection.open)
        self._groups[group] -= 1
        mine = self._silent[group].get(connection.address)
        if mine is not None:
            mine.pop(connection, None)
            if not mine:
                del self._silent[group][connection.address]

    def _give_way(self, known: bool, finished: tuple[bool, ...]) -> bool:
        """End a stranger's silent connection, or, for a known address alone, another known one's."""
        for group in [(False, one) for one in finished] + [(True, one) for one in finished if known]:
            silent = self._silent[group]
            if silent and self._evict(max(silent, key=lambda address: len(silent[address])), group):
                return True
        return False

    def _evict(self, address: str, group: tuple[bool, bool]) -> bool:
        mine = self._silent[group].get(address)
        if not mine:
            return False
        oldest = next(iter(mine))
        self.leave(oldest)
        self.evicted += 1
        oldest.close()
        return True


KEY = web.RequestKey("connection", Connection)


def of(request: web.Request) -> Connection | None:
    """The connection that a request came by; None where no listener of ours took it."""
    return request.get(KEY)


@contextmanager
def waiting(request: web.Request) -> Iterator[None]:
    """The request waits for its client."""
    connection = of(request)
    if connection is None:
        yield
        return
    with connection.waiting():
        yield


def admitted(request: web.Request) -> None:
    """The request was judged to be a peer's."""
    connection = of(request)
    if connection is not None:
        connection.admit()
