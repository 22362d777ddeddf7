"""``percepnet devices``: what `percepnet live` can use."""

from __future__ import annotations

import click

from percepnet_cli.cli.options import CommandWithSections
from percepnet_cli.cli.printed import echo

EXAMPLES = """
    percepnet devices
"""


@click.command(cls=CommandWithSections, examples=EXAMPLES)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def devices(as_json: bool) -> None:
    """List sound devices.

    Marks: < the default input, > the default output, v what looks like a virtual cable. Latencies are those
    that the device suggests for quick and for safe use. Where a PulseAudio or PipeWire server runs,
    its sources and sinks are listed, too.
    """
    import json
    from dataclasses import asdict

    from percepnet_cli.live.portaudio import list_devices

    found = list_devices()
    if as_json:
        echo(json.dumps([asdict(device) for device in found], indent=2))
        return
    if not found:
        echo("no sound devices", err=True)
        return
    echo(f"{'':>7}  {'in':>3} {'out':>3} {'Hz':>6}  {'latency in':>11} {'latency out':>11}  name, host API")
    for d in found:
        marks = ("<" if d.default_input else " ") + (">" if d.default_output else " ") + ("v" if d.virtual else " ")
        latencies = [
            f"{pair[0]:.0f}..{pair[1]:.0f} ms" if pair and channels else "-"
            for pair, channels in ((d.input_latency_ms, d.inputs), (d.output_latency_ms, d.outputs))
        ]
        name = f"{d.name} [{d.server_name}]" if d.server_name else d.name
        echo(
            f"{marks} {d.index:>3}  {d.inputs or '-':>3} {d.outputs or '-':>3} {d.sample_rate:>6}  "
            f"{latencies[0]:>11} {latencies[1]:>11}  {name}, {d.host_api}"
        )
