# SPDX-License-Identifier: Apache-2.0
"""A terminal that is painted again and again, for the demo's live displays."""
import select
import shutil
import sys
import termios
import tty

BOLD, DIM, GREEN, RED, PLAIN = "\033[1m", "\033[2m", "\033[32m", "\033[31m", "\033[0m"


class Terminal:
    """The alternate buffer of the terminal at stdout; `close` puts back what was there.

    With `keys`, single keys of stdin are read as they are pressed. Ctrl-C stays what it is.
    """

    def __init__(self, keys=False):
        self._settings = None
        if keys and sys.stdin.isatty():
            self._settings = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin)
        sys.stdout.write("\033[?1049h\033[?25l")

    def close(self):
        sys.stdout.write("\033[?25h\033[?1049l")
        sys.stdout.flush()
        if self._settings:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._settings)

    def key(self):
        """The next key that was pressed, or ''."""
        if self._settings and select.select([sys.stdin], [], [], 0)[0]:
            return sys.stdin.read(1)
        return ""

    @staticmethod
    def paint(lines):
        """Show these lines, cut to the terminal's size."""
        width, height = shutil.get_terminal_size()
        # Cut, erase to the end of each line and below: no flicker, as nothing is cleared first.
        text = "".join(f"{cut(line, width)}{PLAIN}\033[K\n" for line in list(lines)[:height - 1])
        sys.stdout.write(f"\033[H{text}\033[J")
        sys.stdout.flush()


def cut(line, width):
    """The line without what does not fit; escape sequences take no room."""
    kept, room, characters = [], width, iter(line)
    for character in characters:
        if character == "\033":
            kept.append(character)
            for character in characters:
                kept.append(character)
                if character.isalpha():
                    break
        elif room:
            kept.append(character)
            room -= 1
    return "".join(kept)
