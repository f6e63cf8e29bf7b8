#!/usr/bin/env python3
"""Asks `worldpm-ort serve` with clients as they are published: every score has the bits that `worldpm-ort score` gives.

    make clients-check     (or: .venv-clients/bin/python tests/clients_check.py --binary target/debug/worldpm-ort
                            --token-ids target/debug/examples/token_ids)

tritonclient (HTTP, gRPC, and asyncio's of both) and openai are the packages themselves. The reward clients of verl,
OpenRLHF and slime come with whole training frameworks: what they send, read and try again is told again here, each in a
function of its name.
"""

import argparse
import asyncio
import json
import random
import re
import shlex
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version

import grpc
import numpy as np
import openai
import tritonclient.grpc as triton_grpc
import tritonclient.grpc.aio as triton_grpc_aio
import tritonclient.http as triton_http
import tritonclient.http.aio as triton_http_aio
import trustme
from device_support import ROOT, Command, Report, with_folder
from tritonclient.utils import InferenceServerException

LIBRARY = ROOT / ".onnxruntime/libonnxruntime.so"
MODEL = "reward"
SYSTEM = "Be brief."
PROMPT = "Tips for better sleep?"
ANSWERS = [
    "Keep a regular bedtime.",
    "just sleep lol",
    "Gehe früh zu Bett. 早点睡。 😴",
    "No screens, no coffee, and a cool, dark room. " * 6,
]
SECONDS = 60


def messages(answer):
    turns = [("system", SYSTEM), ("user", PROMPT), ("assistant", answer)]
    return [{"role": role, "content": content} for role, content in turns]


def templated(answer):
    """What the template of `synth` makes of a conversation."""
    turns = [f"<|im_start|>{message['role']}\n{message['content']}<|im_end|>" for message in messages(answer)]
    return "\n".join(turns) + "<|endoftext|>"


class Bundle:
    """A small bundle, and what `worldpm-ort score` gives the answers."""

    def __init__(self, command, token_ids):
        self.command, self.path = command, command.export("--probes", "off")
        lines = [json.dumps(messages(answer)) for answer in ANSWERS]
        text = "\n".join(lines) + "\n"
        records = command.ok("score", "--only-scores", "--model", self.path, "--input", "-", text=text).stdout.splitlines()
        self.scores = np.array([json.loads(line)["score"] for line in records], np.float32)
        done = subprocess.run([token_ids, command.checkpoint], input=text, capture_output=True, text=True, check=True)
        self.ids = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(set(self.scores.tolist())) == len(self.ids) == len(ANSWERS), self.scores

    def padded(self):
        """Ids in rows of one length, their mask, and their lengths."""
        longest = max(map(len, self.ids))
        rows = np.array([ids + [0] * (longest - len(ids)) for ids in self.ids], np.int64)
        mask = np.array([[1] * len(ids) + [0] * (longest - len(ids)) for ids in self.ids], np.int64)
        return rows, mask, np.array([[len(ids)] for ids in self.ids], np.int64)

    def same(self, scores, of=slice(None)):
        """The same bits, in a tensor of any shape."""
        found = np.array(scores, np.float32).reshape(-1)
        assert found.tobytes() == self.scores[of].tobytes(), (found, self.scores[of])


@contextmanager
def served(bundle, port=0, flags=(), env=None):
    """A server; gives HOST:PORT. It has to end well."""
    command = [bundle.command.binary, "serve", "--model", f"{MODEL}={bundle.path}", "--port", str(port), *flags]
    env = {**bundle.command.env, **(env or {})}
    server = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    said = []
    try:
        for line in server.stderr:
            said.append(line)
            if line.startswith("listening on http"):
                break
        else:
            raise AssertionError(f"the server ended:\n{''.join(said)}")
        # What it says later must not fill the pipe.
        reader = threading.Thread(target=lambda: said.extend(server.stderr), daemon=True)
        reader.start()
        yield said[-1].split("://")[1].strip()
        server.terminate()
        assert server.wait(SECONDS) == 0, "".join(said)
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()


def wait_until_ready(address, context=None):
    scheme = "http" if context is None else "https"
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"{scheme}://{address}/ready", timeout=SECONDS, context=context):
                return
        except urllib.error.HTTPError:
            time.sleep(0.05)
    raise AssertionError("the server is not ready")


def tensor(module, name, datatype, values, **how):
    made = module.InferInput(name, list(values.shape), datatype)
    made.set_data_from_numpy(values, **how)
    return made


def requests(bundle):
    """(what it is, [(name, datatype, values)], which answers it asks for)."""
    texts = np.array([[templated(answer).encode()] for answer in ANSWERS], object)
    records = np.array([[json.dumps(messages(answer)).encode()] for answer in ANSWERS], object)
    rows, mask, lengths = bundle.padded()
    whole = slice(None)
    yield "text", [("text", "BYTES", texts)], whole
    yield "text of one axis", [("text", "BYTES", texts.reshape(-1))], whole
    yield "conversation", [("conversation", "BYTES", records)], whole
    yield "input_ids, attention_mask", [("input_ids", "INT64", rows), ("attention_mask", "INT64", mask)], whole
    yield "NeMo-Aligner's tokens", [("tokens", "INT64", rows), ("sequence_lengths", "INT64", lengths)], whole
    yield "NeMo-Aligner's sentences", [("sentences", "BYTES", texts)], whole
    narrow = np.array([bundle.ids[1]], np.int32)
    yield "input_ids of INT32", [("input_ids", "INT32", narrow)], slice(1, 2)


def ask_http(client, bundle, tensors, of, binary_in, binary_out):
    inputs = [tensor(triton_http, *one, binary_data=binary_in) for one in tensors]
    outputs = [triton_http.InferRequestedOutput(name, binary_data=binary_out) for name in ("rewards", "score")]
    reply = client.infer(MODEL, inputs, outputs=outputs, request_id="7")
    assert reply.get_response()["id"] == "7"
    assert reply.as_numpy("score").shape == (len(bundle.scores[of]), 1)
    for name in ("score", "rewards"):
        bundle.same(reply.as_numpy(name), of)
    bundle.same(client.infer(MODEL, inputs, model_version="1").as_numpy("score"), of)


def ask_grpc(client, bundle, tensors, of):
    inputs = [tensor(triton_grpc, *one) for one in tensors]
    outputs = [triton_grpc.InferRequestedOutput(name) for name in ("rewards", "score")]
    reply = client.infer(MODEL, inputs, outputs=outputs, request_id="7", client_timeout=SECONDS)
    assert reply.get_response().id == "7"
    assert reply.as_numpy("score").shape == (len(bundle.scores[of]), 1)
    for name in ("score", "rewards"):
        bundle.same(reply.as_numpy(name), of)
    bundle.same(client.infer(MODEL, inputs, model_version="1").as_numpy("score"), of)


def known(client, as_json):
    """What both of Triton's clients ask besides scores."""
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready(MODEL)
    assert not client.is_model_ready("other")
    server = client.get_server_metadata(**as_json)
    assert "binary_tensor_data" in server["extensions"], server
    metadata = client.get_model_metadata(MODEL, **as_json)
    shapes = {one["name"]: [int(n) for n in one["shape"]] for one in metadata["inputs"] + metadata["outputs"]}
    assert shapes["text"] == [-1, 1] and shapes["input_ids"] == [-1, -1] and shapes["score"] == [-1, 1], shapes
    config = client.get_model_config(MODEL, **as_json)
    config = config.get("config", config)
    assert config["max_batch_size"] == 4096 and config["input"][0]["data_type"] == "TYPE_STRING", config
    index = client.get_model_repository_index(**as_json)
    index = index.get("models", index) if isinstance(index, dict) else index
    assert [(one["name"], one["state"]) for one in index] == [(MODEL, "READY")], index


def refused(module, client):
    """Bad requests are the client's own exception, with what is wrong."""
    text = np.array([["a"]], object)
    for model, name, version_, outputs, part in [
        ("other", "text", "", [], "there is reward"),
        (MODEL, "words", "", [], "no input"),
        (MODEL, "text", "7", [], "no version"),
        (MODEL, "text", "", ["logits"], "no output"),
    ]:
        inputs = [tensor(module, name, "BYTES", text)]
        wanted = [module.InferRequestedOutput(name) for name in outputs]
        try:
            client.infer(model, inputs, model_version=version_, outputs=wanted)
        except InferenceServerException as error:
            assert part in error.message(), error
        else:
            raise AssertionError(f"{model} {name} {version_} {outputs} was answered")


def at_once(bundle, address, kind):
    """One answer a request, from many threads, each with a client of its own."""
    module = {"http": triton_http, "grpc": triton_grpc}[kind]

    def ask(worker):
        order = list(range(len(ANSWERS))) * 4
        random.Random(worker).shuffle(order)
        with module.InferenceServerClient(address) as client:
            for index in order:
                text = np.array([[templated(ANSWERS[index])]], object)
                reply = client.infer(MODEL, [tensor(module, "text", "BYTES", text)])
                bundle.same(reply.as_numpy("score"), slice(index, index + 1))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(8)))


def with_asyncio(bundle, address, module, common):
    async def ask():
        async with module.InferenceServerClient(address) as client:
            assert await client.is_server_ready()
            texts = [np.array([[templated(answer)]], object) for answer in ANSWERS]
            asked = (client.infer(MODEL, [tensor(common, "text", "BYTES", text)]) for text in texts)
            replies = await asyncio.gather(*asked)
            bundle.same([reply.as_numpy("score") for reply in replies])

    asyncio.run(ask())


def health(address):
    """grpc.health.v1, by its wire form: the package of its messages is one more to install."""
    with grpc.insecure_channel(address) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        assert check(b"", timeout=SECONDS) == b"\x08\x01"
        try:
            check(b"\x0a\x05other", timeout=SECONDS)
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.NOT_FOUND, error
        else:
            raise AssertionError("a service that is not there is healthy")


def ask_openai(bundle, address):
    client = openai.OpenAI(base_url=f"http://{address}/v1", api_key="none", max_retries=0)
    assert [model.id for model in client.models.list()] == [MODEL]
    inputs = [templated(answer) for answer in ANSWERS]
    for sent in (inputs, bundle.ids):
        reply = client.embeddings.create(model=MODEL, input=sent)
        assert [len(one.embedding) for one in reply.data] == [1] * len(ANSWERS)
        bundle.same([one.embedding[0] for one in reply.data])
    for index, answer in enumerate(ANSWERS):
        reply = client.chat.completions.create(model=MODEL, messages=messages(answer))
        name, score = reply.choices[0].message.content.split(":")
        assert name == "reward", reply
        bundle.same(float(score), slice(index, index + 1))
    try:
        client.chat.completions.create(model="other", messages=messages("a"))
    except openai.NotFoundError as error:
        assert "there is reward" in error.message, error
    else:
        raise AssertionError("a model that is not there answered")


def post(url, body, timeout=SECONDS):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=timeout) as reply:
        return json.load(reply)


def verl_reply(url, body):
    """verl's reward loop: it tries 16 times, on 5xx and where there is no connection, and never after another refusal."""
    for attempt in range(16):
        try:
            return post(url, body)
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise
        except OSError:
            pass
        time.sleep(min(2**attempt, 30))
    raise AssertionError("verl gave up")


def verl(address, answer):
    """With vLLM behind it."""
    body = {"model": MODEL, "input": templated(answer), "use_activation": False}
    return verl_reply(f"http://{address}/classify", body)["data"][-1]["probs"][-1]


def verl_sglang(address, answer):
    """With SGLang behind it."""
    body = {"model": MODEL, "input": templated(answer)}
    return verl_reply(f"http://{address}/v1/embeddings", body)["data"][-1]["embedding"][-1]


def openrlhf(address, answer):
    """OpenRLHF's remote reward: it tries 5 times, a second apart, whatever is wrong."""
    for attempt in range(5):
        try:
            body = {"query": [templated(answer)], "prompts": [PROMPT], "labels": [""]}
            reply = post(f"http://{address}/get_reward", body, timeout=180)
            assert reply["scores"] == reply["rewards"] and "extra_logs" in reply, reply
            return reply["rewards"][0]
        except OSError:
            time.sleep(1)
    raise AssertionError("OpenRLHF gave up")


def slime(address, answer):
    """slime's remote reward model: it tries 10 times, whatever is wrong, and the body is the reward."""
    whole = templated(answer)
    prompt, response = whole[: whole.index(answer)], whole[whole.index(answer) :]
    for attempt in range(10):
        try:
            return post(f"http://{address}", {"prompt": prompt, "response": response, "label": None})
        except OSError:
            time.sleep(min(2**attempt, 30) + random.random())
    raise AssertionError("slime gave up")


def retold(bundle, address, client):
    bundle.same([client(address, answer) for answer in ANSWERS])


def curl_lines():
    """Those of the documentation, each one that begins a line."""
    text = (ROOT / "docs/serving.md").read_text()
    lines = re.findall(r"^curl .*$", text, re.MULTILINE)
    assert len(lines) >= 4, lines
    return lines


def curl(bundle, line, replaced, folder):
    """A line of the documentation gives what `worldpm-ort score` gives of what it sends."""
    for old, new in replaced.items():
        line = line.replace(old, new)
    arguments = shlex.split(line)
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=folder, timeout=SECONDS)
    assert done.returncode == 0, (line, done.stderr)
    reply = json.loads(done.stdout)
    sent = json.loads(arguments[arguments.index("-d") + 1])
    answers = sent.pop("responses", None)
    records = [sent] if answers is None else [{**sent, "response": answer} for answer in answers]
    scored = bundle.command.ok("score", "--only-scores", "--model", bundle.path, text="\n".join(map(json.dumps, records)) + "\n")
    expected = [json.loads(line) for line in scored.stdout.splitlines()]
    if answers is None:
        [record] = expected
        for key in {"score", "margin", "probability"} & record.keys():
            assert reply[key] == record[key], (line, reply, record)
        for side in {"chosen", "rejected"} & record.keys():
            assert reply[side]["score"] == record[side]["score"], (line, reply, record)
    else:
        order = sorted(range(len(answers)), key=lambda index: -expected[index]["score"])
        assert [one["index"] for one in reply["results"]] == order and reply["best"] == order[0], reply
        assert [one["score"] for one in reply["results"]] == [expected[index]["score"] for index in order], reply


def with_tls(report, bundle):
    """The line with a key and a certificate."""
    folder = bundle.command.folder / "tls"
    folder.mkdir()
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(folder / "cert.pem")
    certificate.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    flags = ["--tls-cert", folder / "server.pem", "--tls-key", folder / "server.pem"]
    with served(bundle, flags=flags, env={"WORLDPM_API_KEY": "secret"}) as address:
        port = address.split(":")[-1]
        wait_until_ready(f"localhost:{port}", ssl.create_default_context(cafile=folder / "cert.pem"))
        for line in curl_lines():
            if "https://" in line:
                replaced = {"HOST:8000": f"localhost:{port}", "KEY": "secret"}
                report.check(f"docs: {line[:60]}", curl, bundle, line, replaced, folder)


def before_the_server(bundle, client):
    """A trainer that starts before its server gets its rewards."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with ThreadPoolExecutor(1) as pool:
        reward = pool.submit(client, f"127.0.0.1:{port}", ANSWERS[0])
        time.sleep(0.5)
        with served(bundle, port):
            bundle.same(reward.result(SECONDS), slice(0, 1))


def check(report, bundle):
    with served(bundle) as address:
        wait_until_ready(address)
        with triton_http.InferenceServerClient(address, network_timeout=SECONDS) as client:
            report.check("tritonclient.http: server and models", known, client, {})
            report.check("tritonclient.http: refusals", refused, triton_http, client)
            for what, tensors, of in requests(bundle):
                for ways in [(True, True), (False, False), (True, False), (False, True)]:
                    label = f"tritonclient.http: {what}; binary in {ways[0]}, out {ways[1]}"
                    report.check(label, ask_http, client, bundle, tensors, of, *ways)
        with triton_grpc.InferenceServerClient(address) as client:
            report.check("tritonclient.grpc: server and models", known, client, {"as_json": True})
            report.check("tritonclient.grpc: refusals", refused, triton_grpc, client)
            for what, tensors, of in requests(bundle):
                report.check(f"tritonclient.grpc: {what}", ask_grpc, client, bundle, tensors, of)
        for kind in ("http", "grpc"):
            report.check(f"tritonclient.{kind}: eight threads", at_once, bundle, address, kind)
        for module, common in [(triton_http_aio, triton_http), (triton_grpc_aio, triton_grpc)]:
            report.check(module.__name__, with_asyncio, bundle, address, module, common)
        report.check("grpc.health.v1", health, address)
        report.check("openai", ask_openai, bundle, address)
        for client in (verl, verl_sglang, openrlhf, slime):
            report.check(f"the request of {client.__name__}", retold, bundle, address, client)
        for line in curl_lines():
            if "https://" not in line:
                report.check(f"docs: {line[:60]}", curl, bundle, line, {"localhost:8000": address}, bundle.command.folder)
    with_tls(report, bundle)
    for client in (verl, openrlhf, slime):
        report.check(f"{client.__name__} waits for its server", before_the_server, bundle, client)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/debug/worldpm-ort", help="the worldpm-ort command")
    parser.add_argument("--token-ids", default="target/debug/examples/token_ids", help="the example token_ids")
    arguments = parser.parse_args()
    report = Report("clients")
    with_folder(lambda folder: check(report, Bundle(Command(arguments.binary, folder, LIBRARY), arguments.token_ids)))
    report.finish(f"tritonclient {version('tritonclient')}, openai {version('openai')}")


if __name__ == "__main__":
    main()
