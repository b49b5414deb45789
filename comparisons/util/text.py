"""Text that others wrote, as a terminal or a spreadsheet may show it without being told what to do."""

from __future__ import annotations

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What begins a formula in a spreadsheet."""


def printable(text: str) -> str:
    """The text with characters that steer a terminal, or reverse the text, written as escapes; lines and tabs stay."""
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    if character in "\n\t" or character.isprintable() or (character.isspace() and ord(character) > 0x9F):
        return character
    code = ord(character)
    # Joiners and variation selectors are parts of letters and pictures.
    if code in (0x200C, 0x200D):
        return character
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def no_formula(cell: object) -> object:
    """A cell of a table for spreadsheets: text that would be a formula gets an apostrophe, numbers stay."""
    if not isinstance(cell, str) or not cell.startswith(FORMULA):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell
