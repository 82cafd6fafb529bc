"""The same responses as other projects log them, one model a file, in their exact format."""

import csv
import io
import json

CONTEXTS = {"policy": 3, "base": 3, "larry": 7, "bob": 6, "alice": 8}
"""Tokens before a response, which differ because personas are called by prompts."""


def scores(row, model):
    return row["log_probs"][model] if model in ("policy", "base") else row["log_probs"]["personas"][model]


def identity(row):
    name = f"{row['prompt_id']}/{row['response_id']}"
    return name if row["sampled_from"] == "policy" else f"base/{name}"


def inspect_log(rows, model, temperature=1.0):
    """What ``inspect eval --log-format json`` writes of a task with ``generate(max_tokens=1, prompt_logprobs=1)``."""
    content = [
        {"token": f"<{i}>", "logprob": -0.5 - i, "bytes": None, "top_logprobs": None} for i in range(CONTEXTS[model])
    ]
    samples = [
        {
            "id": identity(row),
            "epoch": 1,
            "input": "You are talking to everybody.\n" + row["response"],
            "target": "",
            "metadata": {"num_target_tokens": len(row["tokens"]), "target_text": row["response"]},
            "messages": [],
            "output": {
                "model": f"vllm-completions/{model}",
                "choices": [
                    {
                        "message": {"role": "assistant", "content": " x", "source": "generate"},
                        "stop_reason": "max_tokens",
                        "prompt_logprobs": {
                            "content": content
                            + [
                                {"token": word, "logprob": value, "bytes": None, "top_logprobs": None}
                                for word, value in zip(row["tokens"], scores(row, model), strict=True)
                            ]
                        },
                    }
                ],
                "completion": " x",
                "usage": {"input_tokens": 12, "output_tokens": 1, "total_tokens": 13},
            },
            "scores": {"target_perplexity": {"value": 1.0}},
        }
        for row in rows
    ]
    log = {
        "version": 2,
        "status": "success",
        "eval": {"run_id": "a1", "created": "2026-11-01T10:00:00+00:00", "task": "score", "model": model, "config": {}},
        "plan": {
            "name": "plan",
            "steps": [],
            "config": {"max_tokens": 1, "temperature": temperature, "prompt_logprobs": 1},
        },
        "results": {"total_samples": len(rows), "completed_samples": len(rows)},
        "samples": samples,
    }
    return json.dumps(log, indent=2)


def lm_evaluation(rows, model):
    """What ``lm_eval --log_samples`` writes of a loglikelihood task with two filters."""
    lines = []
    for filtered in ("none", "second"):
        for i, row in enumerate(rows):
            value = [str(sum(scores(row, model))), "False"]
            lines.append(
                {
                    "doc_id": i,
                    "doc": {name: row[name] for name in ("prompt_id", "response_id", "sampled_from", "response")},
                    "target": row["response"],
                    "arguments": {"gen_args_0": {"arg_0": f"({model}) {row['prompt_id']}", "arg_1": row["response"]}},
                    "resps": [[value]],
                    "filtered_resps": [value],
                    "filter": filtered,
                    "metrics": ["perplexity"],
                    "doc_hash": "d94881c1",
                    "prompt_hash": "16abd5fa",
                    "target_hash": "5feceb66",
                    "perplexity": 1.0,
                }
            )
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def completions(rows, model, echo=False):
    """What ``vllm run-batch`` writes: of what the model said itself its logprobs, of the rest those of the prompt."""
    lines = []
    for row in rows:
        words, values = row["tokens"], scores(row, model)
        context = [f"<{i}>" for i in range(CONTEXTS[model])]
        choice = {
            "index": 0,
            "text": row["response"],
            "logprobs": None,
            "finish_reason": "stop",
            "prompt_logprobs": None,
        }
        if model == row["sampled_from"]:
            choice["logprobs"] = _logprobs(words, values)
        elif echo:
            known = [None, *[-1.0 - i for i in range(len(context) - 1)], *values, -0.25]
            choice |= {
                "logprobs": _logprobs([*context, *words, " x"], known),
                "text": "context and all",
                "finish_reason": "length",
            }
        else:
            tokens = zip([*context, *words], [None, *[-1.0] * (len(context) - 1), *values], strict=True)
            choice["text"], choice["prompt_logprobs"] = (
                " x",
                [
                    None if value is None else {str(100 + i): {"logprob": value, "rank": 2, "decoded_token": word}}
                    for i, (word, value) in enumerate(tokens)
                ],
            )
        body = {
            "id": "cmpl-1", "object": "text_completion", "created": 1, "model": model, "choices": [choice],
            "usage": {"prompt_tokens": 9, "total_tokens": 10, "completion_tokens": 1},
        }  # fmt: skip
        response = {"status_code": 200, "request_id": "vllm-batch-1", "body": body}
        lines.append({"id": "vllm-1", "custom_id": identity(row), "response": response, "error": None})
    return "".join(json.dumps(line) + "\n" for line in lines)


def _logprobs(words, values):
    return {"text_offset": [0] * len(words), "token_logprobs": values, "tokens": words, "top_logprobs": None}


def columns(rows, model):
    """What ``gen_logprobs`` of bayesft gives, by ``Dataset.to_csv``; with who said it."""
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["prompt", "completion", "persona", "completion_logprob", "sampled_from"])
    for row in rows:
        said = [row["prompt_id"], row["response"], "all", sum(scores(row, model)), row["sampled_from"]]
        table.writerow(said)
    return text.getvalue()
