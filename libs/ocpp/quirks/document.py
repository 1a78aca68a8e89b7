"""The rules in force as a page of the documentation."""

from __future__ import annotations

from libs.ocpp.quirks.book import in_force
from libs.ocpp.quirks.rules import RULES_FOLDER, QuirkRule, load_file


def rules_document(header: str) -> str:
    """Return the table of all rules, under `header`."""
    lines = [
        header,
        "# What real chargers do",
        "",
        "Every habit that Voltbus knows, the rule or code that answers it, and where that is proved. *Concerns* is",
        "empty for what is dealt with for every charger. How rules are written and tried: [quirks.md](quirks.md).",
        "",
    ]
    for path in sorted(RULES_FOLDER.glob("*.yaml")):
        lines += [
            f"## {path.stem}",
            "",
            "| rule | concerns | what | flags | proved by |",
            "|---|---|---|---|---|",
        ]
        lines += [_row(rule) for rule in load_file(path)]
        lines.append("")
    acting = sum(1 for rule in in_force().rules if rule.effects)
    lines.append(f"{len(in_force().rules)} rules, {acting} of them for particular models.")
    return "\n".join(lines) + "\n"


def _row(rule: QuirkRule) -> str:
    proofs = [f"{len(rule.examples)} examples"] if len(rule.examples) > 1 else ["an example"]
    tests = sorted({test.split("::")[0] for test in rule.tests})
    cells = [
        f"`{rule.name}`",
        _concerns(rule),
        " ".join(rule.about.split()),
        ", ".join(f"`{flag}`" for flag in rule.all_flags),
        ", ".join([*(proofs if rule.examples else []), *(f"`{test}`" for test in tests)]),
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _concerns(rule: QuirkRule) -> str:
    match = rule.match
    if match is None or not rule.effects:
        return ""
    model = f" {match.model}" if match.model != "*" else ""
    firmware = f", firmware {match.firmware}" if match.firmware else ""
    version = f", {match.version}" if match.version else ""
    return f"{match.vendor}{model}{firmware}{version}".replace("*", "\\*")
