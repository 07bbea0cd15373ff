"""The `flawmap` command: runs the command line and turns errors into exit codes.

0 done; 1 done, but photos were left out; 2 the user has to change something; 70 a bug of ours.
"""

from __future__ import annotations

import sys
import warnings


def main() -> None:
    """Run the command line; never returns."""
    from flawmap.errors import FlawmapError

    # Odd tags make Pillow warn; what matters about a photo is said in its note or its reason.
    warnings.filterwarnings("ignore", module="PIL")
    warnings.filterwarnings("ignore", message="lance is not fork-safe")
    try:
        from flawmap.cli import app
        from flawmap.cli.mistakes import run_app

        sys.exit(run_app(app))
    except FlawmapError as error:
        print(f"flawmap: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        more = ", and the same command with --resume goes on" if sys.argv[1:2] == ["train"] else ""
        print(f"flawmap: stopped; what was finished is kept{more}", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:
        import traceback

        from flawmap.tools.files import is_full_disk

        if is_full_disk(error):  # met by what others write for us: logs, arrays
            print(f"flawmap: {error}. Make room there, or name another place.", file=sys.stderr)
            sys.exit(FlawmapError.exit_code)
        traceback.print_exc()
        print("flawmap: this is a bug in flawmap; please report it with the lines above", file=sys.stderr)
        sys.exit(70)


if __name__ == "__main__":
    main()
