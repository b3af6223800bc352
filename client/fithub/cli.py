"""`fithub`: the command line. Answers go to stdout, progress and refusals to stderr; exit codes are in errors.py."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from fithub import __version__
from fithub.choosing import KEYS
from fithub.errors import BadRequest, FitHubError

COMMANDS = ("fit", "why", "pull", "variants", "devices", "run", "measure", "device", "completion")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    said = list(sys.argv[1:] if arguments is None else arguments)
    wants_json = "--json" in said  # also of a command which cannot be read
    try:
        given = build_parser().parse_args(said)
        wants_json = given.json
        with _bars(hidden=wants_json):
            answer, words = given.act(given)
    except FitHubError as error:
        if wants_json:
            print(json.dumps({"error": str(error), "exit_code": error.exit_code, **error.detail}))
        print(f"fithub: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    try:
        print(json.dumps(answer, indent=2) if wants_json else words, flush=True)
    except BrokenPipeError:  # `fithub … | head`
        sys.stderr.close()
    return 0


class _Parser(argparse.ArgumentParser):
    """Refuses as everything else here does: a sentence, in JSON too, and the exit code 2."""

    def error(self, message: str) -> NoReturn:
        raise BadRequest(f"{message}. See `{self.prog} --help`.")


def build_parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="fithub", description="The best variant of a model for what a machine can afford.")
    parser.add_argument("--version", action="version", version=f"fithub {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, act: Callable[[Any], tuple[Any, str]], words: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=words, description=words)
        made.add_argument("--json", action="store_true", help="the answer as JSON, and no progress bars")
        made.set_defaults(act=act)
        return made

    one = command("fit", _fit, "which variant fits a budget; without a model: which model of the hub")
    one.add_argument("model", nargs="?", help="owner/name")
    one.add_argument("--pipeline-tag", help="across models: of this task only")
    one.add_argument("--search", help="across models: whose names or cards hold these words")
    one.add_argument("--author", help="across models: of this owner only")
    one.add_argument("--limit", type=int, help="across models: how many to list")
    _budget(one)
    _proven(one)
    one = command("why", _why, "the reasons of an answer: what was dropped, and the nearest miss")
    one.add_argument("model")
    _budget(one)
    one = command("pull", _pull, "pull the variant which fits, or a named one, or what a lock file pins")
    one.add_argument("model", nargs="?")
    one.add_argument("--variant", help="this one instead of a budget's answer")
    one.add_argument("--lock", metavar="FILE", nargs="?", const="fithub.lock", help="write commit, sha256 and figures")
    one.add_argument(
        "--locked", metavar="FILE", nargs="?", const="fithub.lock", help="pull what this file pins, or fail"
    )
    one.add_argument("--local-dir", help="put the files here instead of the shared cache")
    _budget(one)
    _proven(one)
    one = command("variants", _variants, "the variants of a model and what they cost")
    one.add_argument("model")
    one.add_argument("--device")
    one.add_argument("--threads", type=int, default=1)
    one = command("devices", _devices, "the devices which a budget can name")
    one = command("run", _run, "pull a variant and run it once")
    one.add_argument("model")
    one.add_argument("--input", help="JSON, a .json, .npy or .npz file, or a text (made up when left out)")
    one.add_argument("--variant")
    _budget(one)
    one = command("measure", _measure, "take the hub's figures again on this machine")
    one.add_argument("model")
    one.add_argument("--variant", help="only this one (beside the source)")
    one.add_argument("--threads", type=int, default=1, help="0: all cores")
    one.add_argument("--seconds", type=float, default=10.0, help="how long each is timed")
    one.add_argument("--device", help="the name of this machine's class, where the made-up one is poor")
    one.add_argument("--submit", action="store_true", help="send the records to the hub")
    one = command("device", _device, "what this machine is, and how fast")
    one.add_argument("--name", help="the name of its class")
    one.add_argument("--quick", action="store_true", help="leave the speeds out")
    one = command("completion", _completion, 'a script for your shell: eval "$(fithub completion bash)"')
    one.add_argument("shell", choices=["bash", "zsh", "fish"])
    return parser


def _budget(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("budget")
    for key, words in KEYS.items():
        group.add_argument(f"--{key}", help=words.replace("%", "%%"))


def _proven(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--proven", action="store_true", help="nothing but fresh measurements of that device will do")


def _of(given: Any) -> dict[str, str]:
    return {key: value for key in KEYS if (value := getattr(given, key)) is not None}


# --- one function a command: (what --json prints, what people read) -------------------------------------------------
def _fit(given: Any) -> tuple[Any, str]:
    from fithub import choosing, shown

    named = {"pipeline_tag": given.pipeline_tag, "search": given.search, "author": given.author, "limit": given.limit}
    if given.model:
        if any(value is not None for value in named.values()):
            raise BadRequest("Name a model, or filters to choose across models: not both.")
        answer = choosing.fit(given.model, proven=given.proven, **_of(given))
        return answer, shown.fit(answer)
    answer = choosing.fit_across(**named, **_of(given))
    return answer, shown.across(answer)


def _why(given: Any) -> tuple[Any, str]:
    from fithub import choosing, shown

    answer = choosing.why(given.model, **_of(given))
    return answer, shown.why(answer)


def _pull(given: Any) -> tuple[Any, str]:
    from fithub import pulling, shown

    if given.locked:
        if given.lock or given.variant or given.proven:
            raise BadRequest("--locked pulls what the file pins: leave --lock, --variant and --proven out.")
        found = pulling.pull_locked(given.model, lock=given.locked, local_dir=given.local_dir, **_of(given))
        return [one.as_json() for one in found], "\n".join(shown.pulled(one) for one in found)
    if not given.model:
        raise BadRequest("Name the model to pull, or pull what a lock file pins by --locked.")
    one = pulling.pull(
        given.model,
        variant=given.variant,
        proven=given.proven,
        lock=given.lock,
        local_dir=given.local_dir,
        **_of(given),
    )
    return one.as_json(), shown.pulled(one)


def _variants(given: Any) -> tuple[Any, str]:
    from fithub import choosing, shown

    answer = choosing.variants(given.model)
    return answer, shown.variants(answer, given.device, given.threads)


def _devices(given: Any) -> tuple[Any, str]:
    from fithub import choosing, shown

    answer = choosing.devices()
    return answer, shown.devices(answer)


def _run(given: Any) -> tuple[Any, str]:
    from fithub import running, shown

    answer = running.run(given.model, input=given.input, variant=given.variant, **_of(given))
    return answer, shown.ran(answer)


def _measure(given: Any) -> tuple[Any, str]:
    from fithub import remeasuring, shown

    if given.submit:
        remeasuring.require_sender(device=given.device)
    with _progress(hidden=given.json) as progress:
        taken = remeasuring.measure(
            given.model, variant=given.variant, threads=given.threads, seconds=given.seconds, device=given.device,
            progress=progress,
        )  # fmt: skip
    words = shown.records(taken)
    if given.submit:
        taken["submitted"] = remeasuring.submit(taken)
        words += "\n" + taken["submitted"]["sentence"]
    return taken, words


def _device(given: Any) -> tuple[Any, str]:
    from fithub import machines, shown

    profile = machines.device(name=given.name, quick=given.quick)
    return profile, shown.device(profile)


def _completion(given: Any) -> tuple[Any, str]:
    from fithub import completion

    script = completion.script(given.shell, build_parser())
    return {"shell": given.shell, "script": script}, script


@contextmanager
def _progress(hidden: bool) -> Any:
    from tqdm.auto import tqdm

    with tqdm(total=100, disable=hidden or not sys.stderr.isatty(), file=sys.stderr, bar_format="{l_bar}{bar}") as bar:

        def progress(fraction: float, message: str) -> None:
            bar.set_description(message[:60])
            bar.update(max(0, round(fraction * 100) - bar.n))

        yield progress


@contextmanager
def _bars(hidden: bool) -> Any:
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if not hidden or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


if __name__ == "__main__":
    sys.exit(main())
