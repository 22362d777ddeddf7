"""``python -m percepnet_cli`` runs the command line."""

from percepnet_cli.cli import main

if __name__ == "__main__":
    main()
