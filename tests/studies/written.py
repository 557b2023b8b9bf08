"""Results of a run as the other steps leave them, with a loss that a test chooses."""

import math

import pandas

from wavestack.artifacts import write_json


def result(reports, run, nats, parameters=56_000, tokens=20_480, status="ok"):
    metrics = {"status": status, "reason": None, "parameters": parameters, "non_embedding_parameters": parameters - 16_000}
    metrics |= {"training_tokens": tokens, "best_step": 20, "steps": 20}
    if status == "ok":
        metrics |= {"nats_per_token": nats, "perplexity": math.exp(nats), "bits_per_byte": nats / 2, "word_perplexity": None}
        metrics |= {"documents": 3, "tokens": 1000}
    write_json(reports / "runs" / str(run) / "metrics.json", metrics)
    documents = {"document": [0, 1, 2], "tokens": [100, 300, 600], "nats": [nats * 100, nats * 300, nats * 600]}
    (reports / "measures" / str(run)).mkdir(parents=True, exist_ok=True)
    pandas.DataFrame(documents).to_parquet(reports / "measures" / str(run) / "documents.parquet")
    write_json(reports / "runs" / str(run) / "train.timing.json", {"training": {"seconds": 2.0, "tokens_per_second": 10.0}})
