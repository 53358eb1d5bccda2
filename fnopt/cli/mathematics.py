"""Formulas of docstrings as text that a terminal shows: ``\\beta_1^t`` becomes ``β₁ᵗ``."""

from __future__ import annotations

import re

NAMES = {
    **dict(zip("alpha beta gamma delta epsilon eta theta kappa".split(), "αβγδεηθκ", strict=True)),
    **dict(zip("lambda mu nu pi rho sigma tau phi omega".split(), "λμνπρστφω", strict=True)),
    **dict(zip("Delta Lambda Pi sum prod".split(), "ΔΛΠΣΠ", strict=True)),
    **dict(zip("ge le in cdot sim dots top".split(), "≥≤∈·~…ᵀ", strict=True)),
    **dict(zip("langle rangle lfloor rfloor".split(), "⟨⟩⌊⌋", strict=True)),
    **dict.fromkeys(("lVert", "rVert"), "‖"),
    **dict.fromkeys(("lvert", "rvert"), "|"),
    **dict.fromkeys(("big", "bigl", "bigr", "Bigl", "Bigr", "textstyle"), ""),
    **dict.fromkeys((",", ";", "quad"), " "),
    "bmod": " mod ",
}
"""Commands that stand for a sign; one that is not listed, such as ``\\max``, for its name."""
LEFT, RIGHT = "\1", "\2"
"""The edges of a name such as ``max``, which a space divides from a letter."""
ACCENTS = {"hat": "\u0302", "bar": "\u0304", "tilde": "\u0303"}
LETTERS = "0123456789+-=()"
SUBSCRIPTS = dict(
    zip(LETTERS + "aehijklmnoprstuvxβγρφ", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓᵦᵧᵨᵩ", strict=True)
)
SUPERSCRIPTS = dict(
    zip(
        LETTERS + "abcdefghijklmnoprstuvwxyzTᵀ",
        "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻᵀᵀ",
        strict=True,
    )
)


def formula(latex: str) -> str:
    """A formula on one line.

    >>> formula(r"\\hat v_t = \\frac{v_t}{1 - \\beta_2^t}")
    'v̂ₜ = vₜ/(1 - β₂ᵗ)'
    """
    latex = re.sub(r"(\\l(?:Vert|vert|angle|floor)|[(])\s+", r"\1{}", latex)
    latex = re.sub(r"\s+(\\r(?:Vert|vert|angle|floor))", r"\1", latex)
    tokens = re.findall(r"\\[a-zA-Z]+|\\.|\s+|.", latex)
    text = _until(tokens[::-1], "")
    text = re.sub(rf"(?<=[\w)]){LEFT}|{RIGHT}(?=[^\W_]|√)", " ", text)
    return " ".join(_without_edges(text).split())


def equations(latex: str) -> list[str]:
    """The lines of a displayed formula: those of an alignment, and what is set far apart."""
    latex = re.sub(r"\s*&\s*", r",\\quad ", latex.replace("&=", "="))
    lines = re.split(r"\\\\|\\qquad", latex)
    return [line.rstrip(",") for line in map(formula, lines) if line]


def _until(tokens: list[str], end: str) -> str:
    """Text of the tokens, which are in reverse, up to one that ends it; takes them off."""
    parts: list[str] = []
    while tokens:
        if tokens[-1] == end:
            tokens.pop()
            break
        if tokens[-1] in "_^":
            signs = SUBSCRIPTS if tokens.pop() == "_" else SUPERSCRIPTS
            parts.append(_raised(_next(tokens), signs))
        else:
            parts.append(_next(tokens))
    return "".join(parts)


def _next(tokens: list[str]) -> str:
    """Text of the next token and of its arguments."""
    token = tokens.pop()
    if token == "{":
        return _until(tokens, "}")
    if not token.startswith("\\"):
        return token
    name = token[1:]
    if name in ("frac", "tfrac"):
        above, below = _argument(tokens), _argument(tokens)
        return f"{_bracketed(above)}/{_bracketed(below)}"
    if name == "sqrt":
        degree = ""
        if tokens[-1] == "[":
            tokens.pop()
            degree = _raised(_until(tokens, "]"), SUPERSCRIPTS)
        return f"{degree}√{_bracketed(_argument(tokens))}"
    if name in ACCENTS:
        inner = _argument(tokens)
        return inner + ACCENTS[name] if len(inner) == 1 else f"{name}({inner})"
    if name in ("text", "operatorname", "mathcal"):
        return _argument(tokens)
    if name in ("begin", "end"):
        _argument(tokens)
        return ""
    if name in NAMES:
        return NAMES[name]
    return LEFT + name + RIGHT


def _argument(tokens: list[str]) -> str:
    while tokens[-1].isspace():
        tokens.pop()
    return _next(tokens).strip()


def _bracketed(text: str) -> str:
    """Text in brackets, where it is more than one name with its marks."""
    whole = re.fullmatch(rf"[^\s/()⟨⟩‖+{LEFT}-]+|\([^()]*\)|‖[^‖]*‖\S*", text)
    return text if whole else f"({text})"


def _raised(text: str, signs: dict[str, str]) -> str:
    """Text as a subscript or a superscript, by the signs that there are."""
    text = _without_edges(text)
    letters = text.replace(" ", "")
    if all(letter in signs for letter in letters):
        return "".join(signs[letter] for letter in letters)
    mark = "_" if signs is SUBSCRIPTS else "^"
    return mark + (text if len(text) == 1 or text.isalpha() else f"({text})")


def _without_edges(text: str) -> str:
    return text.replace(LEFT, "").replace(RIGHT, "")
