#!/usr/bin/python3
"""Draws what `tmux capture-pane -e -p -N` gives as OUT.svg and OUT.png.

    picture.py COLUMNSxROWS dark|light OUT < capture

Every character stands in its own cell, box lines are drawn as lines, so that the picture has the terminal's grid
whatever font looks at it. Never a claim of its own: what is not in the capture is not in the picture.
"""
import re
import sys
import unicodedata
from typing import NamedTuple
from xml.sax.saxutils import escape

# Width and height of a cell, room around all of them, size of the letters; pixels.
CELL_X, CELL_Y, ROOM, LETTER = 10, 20, 14, 16
SHADES = 10
FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSansMono{}.ttf"

# The sixteen colours of a terminal, then the paper and the ink, as a calm terminal has them.
THEMES = {
    "dark": ("2b303b e06c75 8fc379 e0b860 6aa9ec c78add 56b6c2 c8ccd4 "
             "5c6370 f28b94 a9d795 f2d07e 8fc1f7 dca6ec 7cd1dc f0f2f5", "14171c", "c8ccd4"),
    "light": ("1f2328 b3261e 22702f 8a5a00 1c5fb8 8b2fa0 0b6a78 6a737d "
              "57606a cf3a30 2e8540 a06c00 2f74d0 a344b8 12808f 8c959f", "fbfbf9", "24292f"),
}
# Box characters: which of left, right, up, down a line goes to from the middle of the cell.
LINES = {"─": "lr", "│": "ud", "┌": "rd", "┐": "ld", "└": "ru", "┘": "lu", "├": "udr", "┤": "udl", "┬": "lrd",
         "┴": "lru", "┼": "lrud", "╭": "rd", "╮": "ld", "╰": "ru", "╯": "lu"}


class Style(NamedTuple):
    ink: object = None      # number of a colour, or three numbers
    paper: object = None
    bold: bool = False
    dim: bool = False
    underline: bool = False
    reverse: bool = False


class Cell(NamedTuple):
    text: str = " "
    width: int = 1
    style: Style = Style()


def styled(style, codes):
    """The style after an escape sequence of attributes."""
    codes = [int(code or 0) for code in re.split("[;:]", codes)]
    while codes:
        code = codes.pop(0)
        if code == 0:
            style = Style()
        elif code in (1, 2, 4, 7):
            style = style._replace(**{{1: "bold", 2: "dim", 4: "underline", 7: "reverse"}[code]: True})
        elif code == 22:
            style = style._replace(bold=False, dim=False)
        elif code in (24, 27):
            style = style._replace(**{{24: "underline", 27: "reverse"}[code]: False})
        elif code in (38, 48):
            kind = codes.pop(0)
            color = codes.pop(0) if kind == 5 else tuple(codes.pop(0) for _ in range(3))
            style = style._replace(**{"ink" if code == 38 else "paper": color})
        elif code in (39, 49):
            style = style._replace(**{"ink" if code == 39 else "paper": None})
        else:
            for first, field, add in ((30, "ink", 0), (40, "paper", 0), (90, "ink", 8), (100, "paper", 8)):
                if first <= code < first + 8:
                    style = style._replace(**{field: code - first + add})
    return style


def grid(capture, columns, rows):
    """The cells of the screen, row by row; a wide character is one cell of width two."""
    out, style = [], Style()
    for line in capture.split("\n")[:rows]:
        row, used = [], 0
        for codes, text in re.findall("\x1b\\[([0-9;:]*)m|(?:\x1b[^m]*m|\x1b\\][^\x07\x1b]*(?:\x07|\x1b\\\\))|(.)", line):
            if not text:
                style = styled(style, codes)
            elif unicodedata.combining(text) and row:
                row[-1] = row[-1]._replace(text=row[-1].text + text)
            else:
                width = 2 if unicodedata.east_asian_width(text) in "WF" else 1
                if used + width > columns:
                    sys.exit(f"a row is wider than {columns} columns: {line!r}")
                row.append(Cell(text, width, style))
                used += width
        out.append(row)
    return out


def colors(style, theme):
    """Ink and paper as they are seen; no paper where it is the terminal's own."""
    palette, paper, ink = theme

    def rgb(color, own):
        if color is None:
            return own
        if isinstance(color, tuple):
            return color
        if color < 16:
            return of_hex(palette.split()[color])
        if color > 231:
            return (8 + 10 * (color - 232),) * 3
        return tuple((0, 95, 135, 175, 215, 255)[(color - 16) // n % 6] for n in (36, 6, 1))

    paper = of_hex(paper)
    front, back = rgb(style.ink, of_hex(ink)), rgb(style.paper, paper)
    if style.dim:
        front = tuple((a * 58 + b * 42) // 100 for a, b in zip(front, back))
    if style.reverse:
        front, back = back, front
    return front, None if back == paper else back


def of_hex(text):
    return tuple(int(text[i:i + 2], 16) for i in (0, 2, 4))


def runs(row):
    """Cells of one style beside each other: (column, cells)."""
    at = 0
    out = []
    for cell in row:
        if out and out[-1][1][-1].style == cell.style:
            out[-1][1].append(cell)
        else:
            out.append((at, [cell]))
        at += cell.width
    return out


def strokes(text):
    """The lines of a box character from the middle of its cell, in pixels of the cell: whole ones, at .5."""
    x, y = CELL_X // 2, CELL_Y // 2
    ends = {"l": (0, y), "r": (CELL_X, y), "u": (x, 0), "d": (x, CELL_Y)}
    return [((x, y), ends[way]) for way in LINES.get(text, "")]


def svg(cells, columns, rows, theme):
    def hexed(color):
        return "#%02x%02x%02x" % color

    width, height = columns * CELL_X + 2 * ROOM, rows * CELL_Y + 2 * ROOM
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
           f'<rect width="{width}" height="{height}" rx="6" fill="#{theme[1]}"/>',
           f'<g font-family="DejaVu Sans Mono,Menlo,Consolas,monospace" font-size="{LETTER}" xml:space="preserve">']
    for y, row in enumerate(cells):
        for x, run in runs(row):
            style = run[0].style
            ink, paper = colors(style, theme)
            left, top, wide = ROOM + x * CELL_X, ROOM + y * CELL_Y, sum(cell.width for cell in run) * CELL_X
            if paper:
                out.append(f'<rect x="{left}" y="{top}" width="{wide}" height="{CELL_Y}" fill="{hexed(paper)}"/>')
            path, at, words = "", left, []
            for cell in run:
                for (x1, y1), (x2, y2) in strokes(cell.text):
                    path += f"M{at + x1} {top + y1}L{at + x2} {top + y2}"
                if cell.text not in LINES and cell.text != " ":
                    # A word is kept together, so that it can be found and copied; each is as wide as its cells.
                    if words and words[-1][0] + words[-1][2] == at:
                        words[-1][1] += cell.text
                        words[-1][2] += cell.width * CELL_X
                    else:
                        words.append([at, cell.text, cell.width * CELL_X])
                at += cell.width * CELL_X
            if path:
                out.append(f'<path d="{path}" stroke="{hexed(ink)}"/>')
            bold = ' font-weight="bold"' if style.bold else ""
            if words:
                # One element a run: the place of each word is its own.
                spans = "".join(f'<tspan x="{at}" textLength="{wide}" lengthAdjust="spacingAndGlyphs">{escape(text)}</tspan>'
                                for at, text, wide in words)
                out.append(f'<text y="{top + 15}" fill="{hexed(ink)}"{bold}>{spans}</text>')
            if style.underline:
                out.append(f'<path d="M{left} {top + 18}h{wide}" stroke="{hexed(ink)}"/>')
    return "\n".join([*out, "</g></svg>", ""])


def png(cells, columns, rows, theme, path):
    from PIL import Image, ImageDraw, ImageFont
    fonts = [ImageFont.truetype(FONT.format(weight), LETTER) for weight in ("", "-Bold")]
    picture = Image.new("RGB", (columns * CELL_X + 2 * ROOM, rows * CELL_Y + 2 * ROOM), of_hex(theme[1]))
    draw = ImageDraw.Draw(picture)
    for y, row in enumerate(cells):
        for x, run in runs(row):
            style = run[0].style
            ink, paper = colors(style, theme)
            left, top, wide = ROOM + x * CELL_X, ROOM + y * CELL_Y, sum(cell.width for cell in run) * CELL_X
            if paper:
                draw.rectangle([left, top, left + wide - 1, top + CELL_Y - 1], fill=paper)
            at = left
            for cell in run:
                for (x1, y1), (x2, y2) in strokes(cell.text):
                    draw.line([at + x1, top + y1, at + x2, top + y2], fill=ink)
                if cell.text not in LINES and cell.text != " ":
                    draw.text((at, top + 15), cell.text, fill=ink, font=fonts[style.bold], anchor="ls")
                at += cell.width * CELL_X
            if style.underline:
                draw.line([left, top + 18, left + wide, top + 18], fill=ink)
    # Few colours are on a terminal: each ink on each paper, in a few shades of its edges. So the file is small and exact.
    paper = of_hex(theme[1])
    pairs = {(ink, behind or paper) for row in cells for cell in row for ink, behind in [colors(cell.style, theme)]}
    shades = {tuple((a * n + b * (SHADES - n)) // SHADES for a, b in zip(*pair)) for pair in pairs for n in range(SHADES + 1)}
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for shade in sorted(shades)[:256] for part in shade] + list(paper) * (256 - min(256, len(shades))))
    picture.quantize(palette=palette, dither=Image.Dither.NONE).save(path, optimize=True)


def main():
    size, name, out = sys.argv[1:]
    columns, rows = (int(n) for n in size.split("x"))
    theme = THEMES[name]
    cells = grid(sys.stdin.read(), columns, rows)
    with open(out + ".svg", "w", encoding="utf-8") as file:
        file.write(svg(cells, columns, rows, theme))
    png(cells, columns, rows, theme, out + ".png")


main()
