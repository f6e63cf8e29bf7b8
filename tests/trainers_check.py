#!/usr/bin/env python3
"""Asks `worldpm-ort serve` with the reward clients of verl and OpenRLHF, unmodified, as they are on PyPI: every score has the
bits that `worldpm-ort score` gives.

    make trainers-check

What asks in slime is not on PyPI (its package there is a placeholder): its request is told again in clients_check.py.
"""

import argparse
import asyncio
import functools
import importlib.util
import json
import subprocess
import sys
import threading
import types
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from device_support import ROOT, Command, Report, with_folder
from transformers import AutoTokenizer

LIBRARY = ROOT / ".onnxruntime/libonnxruntime.so"
PROMPT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Tips for better sleep?"}]
ANSWERS = ["Keep a regular bedtime.", "just sleep lol", "Gehe früh zu Bett. 早点睡。 😴", "No screens. " * 40]
SECONDS = 60


def conversation(answer):
    return [*PROMPT, {"role": "assistant", "content": answer}]


@contextmanager
def served(command, bundle):
    """A server, whose model has the name of its checkpoint too, as trainers ask for it; gives HOST:PORT."""
    flags = ["--port", "0", "--model", f"reward={bundle}", "--alias", f"{command.checkpoint}=reward"]
    server = subprocess.Popen([command.binary, "serve", *flags], env=command.env, stderr=subprocess.PIPE, text=True)
    try:
        said = next(line for line in server.stderr if line.startswith("listening on http://"))
        threading.Thread(target=server.stderr.read, daemon=True).start()
        yield said.split("://")[1].strip()
        server.terminate()
        assert server.wait(SECONDS) == 0
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()


def verl(address, checkpoint, engine):
    """Its reward worker, without the resources that its constructor takes from Ray: what asks is as it is."""
    from omegaconf import OmegaConf
    from tensordict import TensorDict
    from verl.experimental.reward_loop.reward_loop import RewardLoopWorker
    from verl.protocol import DataProto

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    worker = object.__new__(RewardLoopWorker)
    model = {"enable": True, "model_path": str(checkpoint), "rollout": {"name": engine}}
    worker.config = OmegaConf.create({"reward": {"reward_model": model, "custom_reward_function": {"path": None}}})
    worker.reward_router_address = address
    worker.input_tokenizer = worker.reward_model_tokenizer = tokenizer

    def item(answer):
        responses = tokenizer(answer, return_tensors="pt").input_ids
        mask = torch.ones(1, responses.shape[1] + 4, dtype=torch.long)
        prompt = np.empty(1, object)
        prompt[0] = PROMPT
        batch = TensorDict({"responses": responses, "attention_mask": mask}, batch_size=[1])
        return DataProto(batch=batch, non_tensor_batch={"raw_prompt": prompt})

    async def ask():
        return await asyncio.gather(*(worker.compute_score(item(answer)) for answer in ANSWERS))

    return [reply["reward_score"] for reply in asyncio.run(ask())]


@functools.cache
def openrlhf_executor():
    """Its module alone: the `__init__` files beside it import what trains."""
    folder = Path(importlib.util.find_spec("openrlhf").submodule_search_locations[0])
    for name, path in [("openrlhf", folder), ("openrlhf.utils", folder / "utils")]:
        package = types.ModuleType(name)
        package.__path__ = [str(path)]
        sys.modules[name] = package
    from openrlhf.utils.agent import SingleTurnAgentExecutor

    return SingleTurnAgentExecutor


def openrlhf(address, checkpoint, servers):
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    texts = [tokenizer.apply_chat_template(conversation(answer), tokenize=False) for answer in ANSWERS]
    executor = openrlhf_executor()([f"http://{address}/get_reward"] * servers)
    names = ["p"] * len(texts)
    replies = asyncio.run(executor._fetch_rewards_via_http(texts, names, names))
    assert len(replies) == servers, replies
    return [reward for reply in replies for reward in reply["rewards"]]


def same(client, expected, *arguments):
    found = client(*arguments)
    assert found == expected, (found, expected)


def check(report, command):
    bundle = command.export("--probes", "off")
    lines = "".join(json.dumps(conversation(answer)) + "\n" for answer in ANSWERS)
    scored = command.ok("score", "--only-scores", "--model", bundle, "--input", "-", text=lines).stdout.splitlines()
    expected = [json.loads(line)["score"] for line in scored]
    assert len(set(expected)) == len(ANSWERS), expected
    with served(command, bundle) as address:
        for engine in ("vllm", "sglang"):
            report.check(f"verl, with {engine}", same, verl, expected, address, command.checkpoint, engine)
        for servers in (1, 2):
            report.check(f"OpenRLHF, {servers} addresses", same, openrlhf, expected, address, command.checkpoint, servers)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/debug/worldpm-ort", help="the worldpm-ort command")
    arguments = parser.parse_args()
    report = Report("trainers")
    with_folder(lambda folder: check(report, Command(arguments.binary, folder, LIBRARY)))
    report.finish(f"verl {version('verl')}, openrlhf {version('openrlhf')}")


if __name__ == "__main__":
    main()
