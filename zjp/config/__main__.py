"""`python -m zjp.config env|markdown` prints the generated files; `make docs` writes them."""

import sys

from zjp.config.docs import env_example, markdown

WRITERS = {"env": env_example, "markdown": markdown}


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in WRITERS:
        print("usage: python -m zjp.config env|markdown", file=sys.stderr)
        return 2
    sys.stdout.write(WRITERS[arguments[0]]())
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
