"""Makes a video with a Cogwheel server, by gRPC.

    python3 generate.py --prompt "a panda playing the guitar" --adapter bounce=0.8 --seed 7 --output panda.mp4
"""

import argparse
import os
import pathlib
import sys

import grpc

from client import Server
from progress import Progress
from stubs import generation_pb2

FORMATS = {".mp4": generation_pb2.OUTPUT_FORMAT_MP4, ".gif": generation_pb2.OUTPUT_FORMAT_GIF}


def arguments():
    parser = argparse.ArgumentParser(description="Makes a video with a Cogwheel server.")
    parser.add_argument("--endpoint", default="http://127.0.0.1:50051", help="http(s)://HOST:PORT [%(default)s]")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--prompt", help="what the video shows")
    what.add_argument("--list-adapters", action="store_true", help="print the server's adapters instead")
    parser.add_argument("--negative-prompt", default="", help="what it does not show")
    parser.add_argument("--output", type=pathlib.Path, default="video.mp4", help="FILE.mp4 or FILE.gif [%(default)s]")
    parser.add_argument("--adapter", type=adapter, action="append", default=[], metavar="NAME[=SCALE]",
                        help="use a registered adapter, by default with scale 1; may be repeated")
    parser.add_argument("--seed", type=int, help="the same seed gives the same video")
    for name in ("width", "height", "num-frames", "num-inference-steps", "fps"):
        parser.add_argument(f"--{name}", type=int, metavar="N", help="by default the model's")
    parser.add_argument("--guidance-scale", type=float, metavar="G", help="by default the model's")
    parser.add_argument("--timeout", type=float, default=3600, metavar="SECONDS", help="all is over then [%(default)s]")
    parser.add_argument("--patience", type=float, default=0, metavar="SECONDS",
                        help="how long to go on asking where nobody answers [%(default)s]")
    parser.add_argument("--token-file", type=pathlib.Path, help="file with the token that the server knows")
    parser.add_argument("--ca", help="PEM file of the authorities that the server's certificate is checked by")
    parser.add_argument("--cert", help="PEM file of the certificate that this client shows, for mutual TLS")
    parser.add_argument("--key", help="PEM file of that certificate's key")
    given = parser.parse_args()
    if bool(given.cert) != bool(given.key):
        parser.error("--cert, --key: expected both or none")
    if given.output.suffix not in FORMATS:
        parser.error(f"--output: expected a name that ends in .mp4 or .gif, found '{given.output}'")
    if not given.output.absolute().parent.is_dir():
        parser.error(f"--output: expected a folder, found none at {given.output.absolute().parent}")
    return given


def adapter(text):
    name, is_scaled, scale = text.rpartition("=")
    return (name, float(scale)) if is_scaled else (text, 1.0)


def request_of(given):
    request = generation_pb2.GenerateVideoRequest(
        prompt=given.prompt, negative_prompt=given.negative_prompt, output_format=FORMATS[given.output.suffix])
    # What is not stated stays absent: the server then takes the model's own.
    for name in ("seed", "width", "height", "num_frames", "num_inference_steps", "fps", "guidance_scale"):
        if (value := getattr(given, name)) is not None:
            setattr(request, name, value)
    for name, scale in given.adapter:
        request.adapters.add(name=name, scale=scale)
    return request


def save(responses, output, progress):
    """Writes the file beside its place and moves it there when it is whole."""
    part = output.with_name(f".{output.name}.part")
    try:
        with part.open("wb") as file:
            for response in responses:
                progress.tell(response)
                if response.WhichOneof("event") == "artifact":
                    file.write(response.artifact.chunk)  # empty in the header that comes first
        os.replace(part, output)
    finally:
        progress.clear()
        part.unlink(missing_ok=True)


def run(given):
    token = given.token_file.read_text().strip() if given.token_file else None
    with Server(given.endpoint, given.ca, given.cert, given.key, token) as server:
        if given.list_adapters:
            for found in server.adapters():
                print(f"{found.name}  {found.num_targets} of {found.num_targets_of_model} layers, {found.layout}")
            return
        progress = Progress()
        responses = server.generate(request_of(given), given.timeout, given.patience, progress.refused)
        try:
            save(responses, given.output, progress)
        finally:
            responses.close()  # cancels what has not ended
    print(given.output)


def main():
    given = arguments()
    try:
        run(given)
    except KeyboardInterrupt:
        print("interrupted: the server stops the work too", file=sys.stderr)
        return 130
    except grpc.RpcError as error:
        print(f"error: {error.code().name}: {error.details()}", file=sys.stderr)
        return 2 if error.code() == grpc.StatusCode.INVALID_ARGUMENT else 1
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
