"""What a line may read as: automata that take one character after the other; those of check digits."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Protocol

State = Hashable
"""Where an automaton stands; None is never one."""


class Acceptor(Protocol):
    """A deterministic automaton over characters, whose states are made as they are reached."""

    @property
    def start(self) -> State:
        """Where it stands before the first character."""

    def step(self, state: Any, char: str) -> State | None:
        """Return the state after a character; None if no text of the language goes on so."""

    def accepts(self, state: Any) -> bool:
        """Tell whether a text may end here."""


def matches(acceptor: Acceptor, text: str) -> bool:
    """Tell whether a text is in the language."""
    state: State | None = acceptor.start
    for char in text:
        if (state := acceptor.step(state, char)) is None:
            return False
    return acceptor.accepts(state)


@dataclass(frozen=True)
class Both:
    """What two automata accept."""

    one: Acceptor
    other: Acceptor

    @property
    def start(self) -> State:
        """Where both start."""
        return self.one.start, self.other.start

    def step(self, state: Any, char: str) -> State | None:
        """Return the state after a character."""
        one, other = self.one.step(state[0], char), self.other.step(state[1], char)
        return None if one is None or other is None else (one, other)

    def accepts(self, state: Any) -> bool:
        """Tell whether a text may end here."""
        return self.one.accepts(state[0]) and self.other.accepts(state[1])


class IdCard:
    """A Chinese identity number: 17 digits and a check character, 0 to 9 or X (GB 11643-1999, ISO 7064 MOD 11-2)."""

    start: State = (0, 0)

    def step(self, state: tuple[int, int], char: str) -> State | None:
        """Return the state after a character: how many there are, and their weighted sum modulo 11."""
        count, total = state
        value = 10 if count == 17 and char in "Xx" else _digit(char)
        if value is None or count == 18:
            return None
        after = (total + value * pow(2, 17 - count, 11)) % 11
        return None if count == 17 and after != 1 else (count + 1, after)

    def accepts(self, state: tuple[int, int]) -> bool:
        """Tell whether the number is whole."""
        return state[0] == 18


class BankCard:
    """A card number of 13 to 19 digits with Luhn's check digit (ISO/IEC 7812-1); spaces may stand between digits."""

    start: State = (0, 0, 0, True)

    def step(self, state: tuple[int, int, int, bool], char: str) -> State | None:
        """Return the state: digits so far, the sums with even and with odd places doubled, whether a space was last."""
        count, even, odd, space = state
        if char == " ":
            return None if space else (count, even, odd, True)
        value = _digit(char)
        if value is None or count == 19:
            return None
        doubled = 2 * value - 9 * (value > 4)
        first, second = (doubled, value) if count % 2 == 0 else (value, doubled)
        return count + 1, (even + first) % 10, (odd + second) % 10, False

    def accepts(self, state: tuple[int, int, int, bool]) -> bool:
        """Tell whether the digits are enough and the sum is a multiple of ten, counted from the last one."""
        count, even, odd, space = state
        return count >= 13 and not space and (odd if count % 2 else even) == 0


class Iban:
    """An international account number (ISO 13616, MOD 97-10), of 15 to 34 characters; spaces may stand in it."""

    start: State = (0, "", 0, True)

    def step(self, state: tuple[int, Any, int, bool], char: str) -> State | None:
        """Return the state: how many characters, the first four or their value, the rest modulo 97, a last space."""
        count, head, rest, space = state
        if char == " ":
            return None if space else (count, head, rest, True)
        if not (char.isascii() and char.isalnum()) or char.islower() or count == 34:
            return None
        if count < 4:
            if char.isdigit() != (count >= 2):
                return None
            head += char
            return count + 1, int("".join(str(int(each, 36)) for each in head)) % 97 if count == 3 else head, 0, False
        value = int(char, 36)
        return count + 1, head, (rest * (10 if value < 10 else 100) + value) % 97, False

    def accepts(self, state: tuple[int, Any, int, bool]) -> bool:
        """Tell whether the remainder is one, once the first four characters stand last."""
        count, head, rest, space = state
        return count >= 15 and not space and (rest * 10**6 + head) % 97 == 1


class Vin:
    """A vehicle identification number: 17 characters, of which the ninth checks the others (ISO 3779, 49 CFR 565)."""

    start: State = (0, 0, -1)
    _WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
    _VALUES = dict(zip("ABCDEFGHJKLMNPRSTUVWXYZ0123456789", map(int, "123456781234579234567890123456789"), strict=True))

    def step(self, state: tuple[int, int, int], char: str) -> State | None:
        """Return the state: how many characters, their weighted sum modulo 11, and what it has to be."""
        count, total, check = state
        if count == 17 or char not in self._VALUES:
            return None
        if count == 8:
            if not (char.isdigit() or char == "X"):
                return None
            check = 10 if char == "X" else int(char)
        after = (total + self._WEIGHTS[count] * self._VALUES[char]) % 11
        return None if count == 16 and after != check else (count + 1, after, check)

    def accepts(self, state: tuple[int, int, int]) -> bool:
        """Tell whether the number is whole."""
        return state[0] == 17


CHECKS: dict[str, Callable[[], Acceptor]] = {"id-card": IdCard, "bank-card": BankCard, "iban": Iban, "vin": Vin}


def _digit(char: str) -> int | None:
    return int(char) if char.isascii() and char.isdigit() else None
