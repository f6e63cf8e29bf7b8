"""What `transformers` makes of the conversations: hidden states, and the heads that are fitted on them."""

import hashlib
import json

import torch
import transformers


def token_ids(tokenizer, conversations):
    texts = [tokenizer.apply_chat_template(c, tokenize=False, add_generation_prompt=False) for c in conversations]
    return [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]


def hidden_states(base, ids, dtype, work):
    """The final hidden state of every conversation's last token, one conversation at a time, without padding. Kept in
    the work folder."""
    versions = [torch.__version__, transformers.__version__, torch.backends.cpu.get_cpu_capability()]
    key = hashlib.sha256(json.dumps([base.name, ids, str(dtype), versions]).encode()).hexdigest()[:12]
    path = work / f"hidden-{key}.pt"
    if not path.exists():
        model = transformers.AutoModel.from_pretrained(base, dtype=dtype)
        with torch.inference_mode():
            found = [model(input_ids=torch.tensor([row]), use_cache=False).last_hidden_state[0, -1] for row in ids]
        torch.save(torch.stack(found), path)
    return torch.load(path)


def whole_model_agrees(checkpoint, ids, hidden):
    """Whether the reward model, opened by `transformers` as users do, makes of these conversations what the heads make
    of the hidden states."""
    model = transformers.AutoModelForSequenceClassification.from_pretrained(checkpoint, dtype=hidden.dtype)
    with torch.inference_mode():
        whole = torch.cat([model(input_ids=torch.tensor([row])).logits for row in ids])
        return torch.allclose(whole, model.score(hidden), rtol=1e-5, atol=1e-5)


def logistic(features, penalty):
    """Ridge logistic regression of margins, by Newton's method: minimises the mean of log(1 + exp(-w x)) + penalty w²/2."""
    weights = torch.zeros(features.shape[1], dtype=torch.float64)
    for _ in range(100):
        wrong = torch.sigmoid(-features @ weights)
        gradient = penalty * weights - features.T @ wrong / len(features)
        curvature = (features * (wrong * (1 - wrong))[:, None]).T @ features / len(features)
        step = torch.linalg.solve(curvature + penalty * torch.eye(len(weights), dtype=torch.float64), gradient)
        weights -= step
        if step.norm() <= 1e-10 * (1 + weights.norm()):
            return weights
    raise SystemExit("measure-trained: error: the logistic regression does not converge: are there any pairs?")


def fit_heads(hidden, fitted, seed):
    """Heads by name, in bf16. `hidden` has a row for each conversation, chosen and rejected in turn; the first `fitted`
    pairs are used.

    Every head is orthogonal to the mean hidden state, so that scores lie around 0 and rounding a score to bf16 costs as
    little as it can, and scaled to scores with a standard deviation of 1."""
    hidden = hidden.double()
    used = hidden[: 2 * fitted]
    mean = used.mean(0)
    margins = (used[0::2] - used[1::2]) / (used - mean).std()
    random = torch.Generator().manual_seed(seed)
    directions = {
        "ridge_weak": logistic(margins, 0.01),
        "ridge_strong": logistic(margins, 1.0),
        "mean_difference": margins.mean(0),
        "random": torch.randn(hidden.shape[1], generator=random, dtype=torch.float64),
    }
    heads = {}
    for name, direction in directions.items():
        direction = direction - mean * (direction @ mean) / (mean @ mean)
        heads[name] = (direction / (hidden @ direction).std()).bfloat16()
    return heads
