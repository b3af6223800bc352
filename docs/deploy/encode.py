"""The best variant for a budget by optimum-onnx and transformers. With HF_ENDPOINT and HF_TOKEN of the hub:

python encode.py alice/my-model memory=512MB "a text"
"""

import json
import sys

from huggingface_hub import HfApi
from optimum.onnxruntime import ORTModelForFeatureExtraction
from transformers import AutoTokenizer


def fitted(model: str, budget: str):
    """(tokenizer, model, commit): the budget is resolved once, so that both are of the same commit."""
    commit = HfApi().model_info(model, revision=f"fit@{budget}").sha
    return (
        AutoTokenizer.from_pretrained(model, revision=commit),
        ORTModelForFeatureExtraction.from_pretrained(model, revision=commit),
        commit,
    )


if __name__ == "__main__":
    name, budget, text = sys.argv[1:]
    tokenizer, model, commit = fitted(name, budget)
    output = model(**tokenizer(text, return_tensors="pt")).last_hidden_state
    print(json.dumps({"commit": commit, "dims": list(output.shape), "data": output.flatten().tolist()}))
