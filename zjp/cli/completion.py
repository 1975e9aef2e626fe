"""`zjp completion SHELL`: the script that makes a shell complete zjp's words."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command("completion", short_help="Print the completion script for a shell.")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script for a shell.

    \b
    bash  add to ~/.bashrc:  eval "$(zjp completion bash)"
    zsh   add to ~/.zshrc:   eval "$(zjp completion zsh)"
    fish  run once:          zjp completion fish > ~/.config/fish/completions/zjp.fish
    """
    found = get_completion_class(shell)
    assert found is not None, f"click knows no completion for {shell}"
    # The variable's name follows from the program's: what click looks at when the shell calls `zjp` to complete a line.
    click.echo(found(ctx.find_root().command, {}, "zjp", "_ZJP_COMPLETE").source())
