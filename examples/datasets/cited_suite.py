"""Make the cases of the cited-answers suite from its held-out rows: the same prompts, with their passages as context.

python -m examples.datasets.cited_suite
"""

import json
import re

from examples.datasets.cited_answers import FOLDER, UNKNOWN
from examples.datasets.rows import EXAMPLES
from training.data.chat import read_chat

TARGET = EXAMPLES / "suites" / "cited-answers.jsonl"
_PASSAGE = re.compile(r'<passage id="(\d+)"[^>]*>\n(.*?)\n</passage>', re.DOTALL)


def cases() -> list[str]:
    """The lines of the file."""
    lines = []
    for row in read_chat(FOLDER / "heldout-v1.jsonl").rows:
        prompt, answer = row.messages[0].content, row.messages[-1].content
        passages = sorted((int(number), text) for number, text in _PASSAGE.findall(prompt))
        case = {
            "prompt": prompt,
            "expected": answer,
            # A citation names a passage by its number, whatever its place in the prompt.
            "context": [text for _, text in passages],
            "tags": ["not told" if answer == UNKNOWN else "told"],
        }
        lines.append(json.dumps(case, ensure_ascii=False))
    return lines


def main() -> None:
    """Write the file."""
    lines = cases()
    TARGET.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{TARGET.relative_to(EXAMPLES.parent)}: {len(lines)} cases")


if __name__ == "__main__":
    main()
