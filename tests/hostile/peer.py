#!/usr/bin/env python3
"""A peer that means harm, or is broken. It knows docs/protocol.md and docs/openapi.json, and nothing of Landbridge's code.

    peer.py ATTACK FACTS      plays an attack of attacks.py against a bridge
    peer.py serve MODE        is dialled by a bridge, and answers as answers.py says, until its standard input ends

FACTS is JSON: whom to speak to and as whom. What it got is printed as JSON, the last line of the output."""

import json
import sys
from pathlib import Path

from answers import serve
from attacks import ATTACKS
from wire import Peer


def main():
    if sys.argv[1] == "serve":
        return serve(sys.argv[2])
    facts = json.loads(sys.argv[2])
    document = Path(__file__).resolve().parents[2] / "docs" / "openapi.json"
    facts["document"] = json.loads(document.read_text())
    print(json.dumps(ATTACKS[sys.argv[1]](Peer(facts))))


main()
