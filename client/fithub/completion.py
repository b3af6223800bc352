"""Completion scripts, made from the parser itself, so that no option is forgotten."""

from __future__ import annotations

import argparse


def script(shell: str, parser: argparse.ArgumentParser) -> str:
    """The script which a shell evaluates."""
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](commands_of(parser))


def commands_of(parser: argparse.ArgumentParser) -> dict[str, list[str]]:
    """Command → its long options."""
    found = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return {
        name: [text for action in one._actions for text in action.option_strings if text.startswith("--")]
        for name, one in found.choices.items()
    }


def _bash(commands: dict[str, list[str]]) -> str:
    cases = "\n".join(f'    {name}) words="{" ".join(options)}" ;;' for name, options in commands.items())
    return f"""_fithub() {{
  local words="" current="${{COMP_WORDS[COMP_CWORD]}}"
  if [ "$COMP_CWORD" -eq 1 ]; then words="{" ".join(commands)}"; else
  case "${{COMP_WORDS[1]}}" in
{cases}
  esac; fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _fithub fithub"""


def _zsh(commands: dict[str, list[str]]) -> str:
    return "autoload -U +X bashcompinit && bashcompinit\n" + _bash(commands)


def _fish(commands: dict[str, list[str]]) -> str:
    lines = [f"complete -c fithub -n __fish_use_subcommand -f -a '{' '.join(commands)}'"]
    for name, options in commands.items():
        lines += [f"complete -c fithub -n '__fish_seen_subcommand_from {name}' -l {option[2:]}" for option in options]
    return "\n".join(lines)
