"""``percepnet models``: what ``--model`` can name."""

from __future__ import annotations

import click

from percepnet_cli.cli.options import CommandWithSections

COLUMNS = (
    ("pesq_wb", "PESQ-wb", ".2f"),
    ("stoi", "STOI", ".3f"),
    ("si_sdr", "SI-SDR dB", ".1f"),
    ("dnsmos_ovrl", "OVRL", ".2f"),
)
"""Key of a score, heading, format."""


EXAMPLES = """
    percepnet models
    percepnet denoise --model lite noisy.wav clean.wav
"""


@click.command(cls=CommandWithSections, examples=EXAMPLES)
@click.option("--json", "as_json", is_flag=True, help="Print everything known of each as JSON.")
def models(as_json: bool) -> None:
    """List the models that come with the program.

    Of each: size, cost and measured quality. The scores are means over noisy recordings of speakers and noises that
    were not in training; models/README.md says which. Other models are used with `denoise --model FILE`.
    """
    import json

    from percepnet_cli.network.shipped import shipped

    entries = shipped()
    if as_json:
        click.echo(json.dumps([entry.as_json() for entry in entries], indent=1))
        return
    heading = [
        "model",
        "weights",
        "file MB",
        "multiply-adds/s",
        "latency ms",
        *(title for _, title, _ in COLUMNS),
        "sha256",
    ]
    lines = [heading]
    for entry in entries:
        scores = (format(entry.scores[key], form) if key in entry.scores else "-" for key, _, form in COLUMNS)
        lines.append(
            [
                entry.name + (f" (default: {', '.join(entry.default_for)})" if entry.default_for else ""),
                f"{entry.num_weights / 1e6:.2f} M",
                f"{entry.file_bytes / 1e6:.1f}",
                f"{entry.multiply_adds_per_second / 1e6:.0f} M",
                f"{entry.latency_ms:.0f}",
                *scores,
                entry.sha256[:12],
            ]
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for first, *rest in lines:
        click.echo("  ".join([first.ljust(widths[0]), *map(str.rjust, rest, widths[1:])]))
