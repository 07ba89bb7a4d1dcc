"""One question to a gateway on loopback, asked by the image's own interpreter: nothing but the standard library.

    python ask.py PORT MODEL SECONDS

Waits until the gateway is ready, for SECONDS at most, and prints one JSON object. The exit status is 0 if it answered.
Where MODEL is empty, it asks nothing more.
"""

import json
import sys
import time
import urllib.error
import urllib.request
from typing import Any

PROMPT = "The capital of France is"
_PAUSE_S = 0.25


def main(port: int, model: str, limit_s: float) -> int:
    """Ask and print. Returns the exit status."""
    base, started = f"http://127.0.0.1:{port}", time.monotonic()
    while not _ready(base):
        if time.monotonic() - started > limit_s:
            print(json.dumps({"error": f"not ready after {limit_s:g} s"}))
            return 1
        time.sleep(_PAUSE_S)
    ready_s = round(time.monotonic() - started, 1)
    if not model:
        print(json.dumps({"ready_s": ready_s}))
        return 0
    asked = time.monotonic()
    try:
        answer = _post(f"{base}/v1/chat/completions", _body(model))
    except urllib.error.HTTPError as error:
        print(json.dumps({"error": f"{error.code}: {error.read().decode(errors='replace')[:500]}"}))
        return 1
    choice = answer["choices"][0]
    found = {
        "ready_s": ready_s,
        "first_answer_s": round(time.monotonic() - asked, 2),
        "answer": choice["message"]["content"],
        "logprobs": len(choice["logprobs"]["content"]),
        "fingerprint": answer.get("system_fingerprint"),
    }
    print(json.dumps(found))
    return 0 if found["answer"] and found["logprobs"] else 1


def _body(model: str) -> dict[str, Any]:
    return {
        "model": model,
        "messages": [{"role": "user", "content": PROMPT}],
        "max_tokens": 12,
        # What an engine compiles at its first use: probabilities, and sampling out of a part of the vocabulary.
        "logprobs": True,
        "top_logprobs": 3,
        "temperature": 0.7,
        "top_p": 0.9,
        "seed": 1,
    }


def _ready(base: str) -> bool:
    try:
        with urllib.request.urlopen(f"{base}/readyz", timeout=10) as reply:  # noqa: S310
            return bool(reply.status == 200)
    except OSError:
        return False


def _post(url: str, body: object) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=300) as reply:  # noqa: S310
        return json.load(reply)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3])))
