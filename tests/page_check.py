#!/usr/bin/env python3
"""The pages of `worldpm-ort serve`, in a real browser without a display: what the one at `/` shows are the scores of
`worldpm-ort score`, and the one at `/docs` sends what it shows; by keyboard too, at the width of a phone, in dark and light, and
they ask nobody but their server.

    page_check.py --binary target/debug/worldpm-ort --browser /usr/bin/chromium [--axe axe.min.js] [--screenshots DIR]
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import sync_playwright

PROMPT = "Tips for better sleep?"
ANSWERS = ["just sleep lol", "Keep a regular bedtime, and avoid screens before it.", "<b>No</b>"]
MINUS = "\u2212"
KEY = "a key of this check"


def run(binary, *args, **kwargs):
    return subprocess.run([binary, *args], check=True, capture_output=True, text=True, **kwargs)


def make_bundle(binary, place):
    checkpoint, bundle = place / "checkpoint", place / "bundle"
    shape = "--shape tiny --hidden-size 64 --intermediate-size 96 --num-attention-heads 2 --num-key-value-heads 1 --head-dim 32"
    run(binary, "synth", "--out", checkpoint, *shape.split(), "--num-hidden-layers", "2")
    run(binary, "export", "--checkpoint", checkpoint, "--out", bundle)
    return bundle


@contextmanager
def served(binary, bundle, *args, **kwargs):
    command = [binary, "serve", "--model", f"tiny={bundle}", "--port", "0", *args]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **kwargs)
    try:
        for line in server.stderr:
            found = re.search(r"listening on (http://\S+)", line)
            if found:
                break
        else:
            raise SystemExit("page check: the server ended before it listened")
        address = found[1]
        subprocess.run(["curl", "-sf", "--retry", "60", "--retry-delay", "1", "--retry-all-errors", f"{address}/ready"],
                       check=True, capture_output=True)
        yield address
    finally:
        server.terminate()
        server.wait(60)


class Checks:
    def __init__(self):
        self.passed, self.failed = 0, 0

    def that(self, name, good, found=""):
        if good:
            self.passed += 1
        else:
            self.failed += 1
            print(f"page check: FAILED: {name}: {found}", file=sys.stderr)


def shown_scores(page):
    """Score of each answer, by its letter, as the page shows it."""
    scores = {}
    for item in page.locator("#results > li").all():
        letter = re.search(r"Answer (\w+)", item.locator("h3").inner_text())[1]
        facts = dict(zip(item.locator("dt").all_inner_texts(), item.locator("dd").all_inner_texts()))
        scores[letter] = facts
    return scores


def check(page, address, expected, checks, axe, shot):
    page.goto(f"{address}/")
    checks.that("title", "worldpm-ort" in page.title(), page.title())
    # By keyboard alone: the first field is reached with Tab, and Ctrl+Enter scores.
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.type(PROMPT)
    checks.that("tab order begins with the prompt", page.get_by_role("textbox", name="Prompt").input_value() == PROMPT)
    page.get_by_role("textbox", name="Answer A").focus()
    page.keyboard.type(ANSWERS[0])
    page.get_by_role("button", name="Add answer").focus()
    page.keyboard.press("Enter")
    page.get_by_role("textbox", name="Answer B").fill(ANSWERS[1])
    page.get_by_role("textbox", name="Answer C").focus()
    page.keyboard.type(ANSWERS[2])
    page.keyboard.press("Control+Enter")
    page.locator("#results > li").nth(2).wait_for()
    found = shown_scores(page)
    for letter, score in zip("ABC", expected):
        text = f"{score:.3f}".replace("-", MINUS)
        checks.that(f"score of {letter}", found[letter]["Score"] == text, (found[letter], text))
    order = [re.search(r"Answer (\w+)", text)[1] for text in page.locator("#results h3").all_inner_texts()]
    best_first = [letter for _, letter in sorted(zip(expected, "ABC"), reverse=True)]
    checks.that("best first", order == best_first, order)
    best, second = sorted(expected, reverse=True)[:2]
    margin = found[order[1]]["Margin to the best"].replace(MINUS, "-")
    checks.that("margin", abs(float(margin) - (second - best)) < 2e-3, margin)
    checks.that("status is said", "answers scored by tiny" in page.locator("#status").inner_text())
    checks.that("no markup of answers", page.locator("#results b").count() == 0)

    page.locator("#results > li").first.get_by_text("Text that was scored").click()
    mark = page.locator("#results mark").first
    mark.wait_for()
    checks.that("scored token is marked", mark.inner_text() == "<|endoftext|>", mark.inner_text())
    shot("results")

    page.set_viewport_size({"width": 360, "height": 740})
    width = page.evaluate("document.documentElement.scrollWidth")
    checks.that("no scrolling sideways on a phone", width <= 360, width)
    shot("phone")
    page.set_viewport_size({"width": 1200, "height": 900})

    # History: it fills the fields again, and can be cleared.
    page.reload()
    page.locator("#history button").first.click()
    checks.that("history", page.get_by_role("textbox", name="Answer C").input_value() == ANSWERS[2])
    page.get_by_role("button", name="Clear").click()
    checks.that("history is cleared", page.locator("#history li").count() == 0)
    page.get_by_label("Keep the last").uncheck()
    page.get_by_role("button", name="Score", exact=True).click()
    page.locator("#results > li").nth(2).wait_for()
    checks.that("history can be off", page.locator("#history li").count() == 0)

    # An error of one answer, and one of all.
    page.get_by_role("textbox", name="Answer C").fill("x " * 40_000)
    page.get_by_role("button", name="Score", exact=True).click()
    page.locator("#results .error:visible").wait_for()
    checks.that("a long answer is refused alone", "limit" in page.locator("#results .error:visible").inner_text())
    checks.that("and the others are scored", page.locator("#results .bar").count() == 2)

    for turn in ("Add turns", "Add system message"):
        page.get_by_role("button", name=turn).click()
    labels = page.locator("#turns label").all_inner_texts()
    checks.that("turns", labels == ["System message", "User 1", "Assistant 1", "User 2"], labels)
    page.get_by_role("button", name="Remove User 2").click()
    page.get_by_role("button", name="Remove Assistant 1").click()

    if axe:
        found_by_axe(page, axe, checks, "in the page")
    page.emulate_media(color_scheme="dark")
    shot("dark")
    page.emulate_media(color_scheme="light")


def found_by_axe(page, axe, checks, what):
    """Checks with axe-core in both colour schemes."""
    if page.evaluate("typeof axe === 'undefined'"):
        page.add_script_tag(path=axe)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        violations = page.evaluate("axe.run().then((all) => all.violations.map((v) => [v.id, v.nodes.length, v.nodes[0].html]))")
        checks.that(f"axe-core finds nothing {what} in {scheme}", violations == [], violations)
    page.emulate_media(color_scheme="light")


def check_docs(page, address, checks, axe, shot):
    """The page of the description, of a server that asks for a key."""
    page.goto(f"{address}/docs")
    page.get_by_text("The server asks for an API key.").wait_for()
    checks.that("a key is asked for", page.evaluate("document.activeElement.id") == "key")
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    page.get_by_text("The server does not know this key.").wait_for()
    page.get_by_label("API key").fill(KEY)
    page.keyboard.press("Enter")
    page.locator(".operation").first.wait_for()
    count = page.locator(".operation").count()
    document = page.evaluate("""(key) => fetch("openapi.json", {headers: {authorization: `Bearer ${key}`}}).then((r) => r.json())""", KEY)
    described = sum(len(item) for item in document["paths"].values())
    checks.that("every operation is listed", count == described and count > 40, (count, described))

    # By keyboard alone: to an operation, into its body, and sent.
    page.get_by_label("Filter").focus()
    page.keyboard.type("post compare")
    checks.that("the filter leaves one", page.locator(".operation:visible").count() == 1)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    score = page.locator("#op-compare")
    body = score.get_by_label("Body, application/json")
    body.wait_for()
    checks.that("a schema is shown", "rejected" in score.locator("ul.schema").first.inner_text())
    checks.that("what is required is said", score.locator(".need").count() > 0)
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.tagName") == "TEXTAREA":
            break
    checks.that("the body is reached with Tab", page.evaluate("document.activeElement.tagName") == "TEXTAREA")
    page.keyboard.press("Control+Enter")
    outcome = score.locator(".outcome.good")
    outcome.wait_for()
    checks.that("the status is said", outcome.inner_text().startswith("200"), outcome.inner_text())
    reply = json.loads(score.locator(".reply .text").inner_text())
    checks.that("the reply is shown", reply["model"] == "tiny" and "margin" in reply, reply)
    checks.that("its headers are shown", "x-request-id" in score.locator(".reply .headers").inner_text())
    score.locator(".replies summary").first.click()
    shot("docs")
    example = body.input_value()
    body.fill("{")
    score.get_by_role("button", name="Send").click()
    score.locator(".outcome.bad").wait_for()
    checks.that("a refusal is shown", score.locator(".outcome").inner_text().startswith("400"))

    body.fill(example)

    # Every operation can be opened, and what it says can be sent.
    page.get_by_label("Filter").fill("")
    page.locator(".operation").evaluate_all("all => all.forEach((one) => { one.open = true; })")
    page.locator("#op-slime_reward textarea").wait_for()
    sent = page.locator("form.try")
    for form in sent.all():
        name = form.get_attribute("aria-label")
        form.get_by_role("button", name="Send").click()
        form.locator(".outcome.good, .outcome.bad").wait_for()
        status = form.locator(".outcome").inner_text().split()[0]
        # The key is none for operators.
        due = "401" if "/admin/" in name else "200"
        checks.that(f"the example is sent: {name}", status == due, status)
    checks.that("what is JSON can be tried", sent.count() == count - 9, (sent.count(), count))
    page.locator(".replies summary").evaluate_all("all => all.forEach((one) => { one.parentElement.open = true; })")
    page.set_viewport_size({"width": 360, "height": 740})
    width = page.evaluate("document.documentElement.scrollWidth")
    checks.that("no scrolling sideways on a phone in the description", width <= 360, width)
    page.set_viewport_size({"width": 1200, "height": 900})
    if axe:
        found_by_axe(page, axe, checks, "in the description")

    # An address may name an operation.
    page.goto("about:blank")
    page.goto(f"{address}/docs#op-rank")
    page.get_by_label("API key").fill(KEY)
    page.keyboard.press("Enter")
    page.locator("#op-rank[open]").wait_for()
    page.locator("#op-rank textarea").wait_for()
    page.set_viewport_size({"width": 360, "height": 740})
    shot("docs-phone")
    page.set_viewport_size({"width": 1200, "height": 900})
    page.emulate_media(color_scheme="dark")
    shot("docs-dark")
    page.emulate_media(color_scheme="light")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True)
    parser.add_argument("--browser", required=True)
    parser.add_argument("--axe", help="axe.min.js of the npm package axe-core")
    parser.add_argument("--screenshots", type=Path)
    args = parser.parse_args()
    checks = Checks()
    with tempfile.TemporaryDirectory() as place:
        bundle = make_bundle(args.binary, Path(place))
        records = "\n".join(json.dumps({"prompt": PROMPT, "response": answer}) for answer in ANSWERS)
        lines = run(args.binary, "score", "--only-scores", "--model", bundle, input=records).stdout.splitlines()
        expected = [json.loads(line)["score"] for line in lines]
        with served(args.binary, bundle) as root, sync_playwright() as playwright:
            address = root
            browser = playwright.chromium.launch(executable_path=args.browser, args=["--no-sandbox"])
            # What the policy of the page forbids, axe-core needs.
            context = browser.new_context(bypass_csp=bool(args.axe))
            page = context.new_page()
            outside, said = [], []
            page.on("request", lambda request: None if request.url.startswith((address, "data:")) else outside.append(request.url))
            page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
            page.on("pageerror", lambda error: said.append(str(error)))

            def shot(name):
                if args.screenshots:
                    page.screenshot(path=args.screenshots / f"{name}.png", full_page=True)

            check(page, address, expected, checks, args.axe, shot)
            checks.that("nobody else is asked", outside == [], outside)
            checks.that("no error in the console", said == [], said)

            with served(args.binary, bundle, env={**os.environ, "WORLDPM_API_KEY": KEY}) as address:
                said.clear()
                check_docs(page, address, checks, args.axe, shot)
                checks.that("nobody else is asked by the description", outside == [], outside)
                # What is refused on purpose is said there by the browser itself.
                said = [one for one in said if "Failed to load resource" not in one]
                checks.that("no error in the console of the description", said == [], said)

            # With its policy in force, and no script of ours in the page.
            context = browser.new_context()
            page = context.new_page()
            blocked = []
            page.on("console", lambda message: blocked.append(message.text) if message.type == "error" else None)
            page.goto(f"{root}/")
            page.get_by_role("textbox", name="Answer A").fill("a")
            page.get_by_role("button", name="Score", exact=True).click()
            page.locator("#results > li").first.wait_for()
            page.goto(f"{root}/docs#op-live")
            page.locator("#op-live[open]").get_by_role("button", name="Send").click()
            page.locator("#op-live .outcome.good").wait_for()
            checks.that("the policy forbids nothing that the pages need", blocked == [], blocked)
            browser.close()
    outcome = "ok" if checks.failed == 0 else "FAILED"
    print(f"page check: {outcome}. {checks.passed} passed; {checks.failed} failed")
    sys.exit(checks.failed > 0)


if __name__ == "__main__":
    main()
