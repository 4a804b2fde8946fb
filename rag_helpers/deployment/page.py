"""The web page at ``/``: one file without outside parts, and the policy that confines it.

Whatever comes from a document or a model is set as text, never as HTML. The
module does not know how answers come about.
"""

from __future__ import annotations

import base64
import hashlib

__all__ = ["PAGE", "PAGE_POLICY"]

_STYLE = """
:root { color-scheme: light dark; font: 100%/1.5 system-ui, sans-serif; }
body { max-width: 44rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }
form { display: flex; flex-wrap: wrap; gap: .5rem; align-items: end; }
label { flex: 1 1 14rem; } label.small { flex: 0 0 6rem; }
input { display: block; box-sizing: border-box; width: 100%; font: inherit; padding: .5rem; }
button { font: inherit; padding: .5rem 1.2rem; }
#answer { font-size: 1.15rem; font-weight: 600; white-space: pre-wrap; }
details { border-left: 3px solid #0072b2; padding-left: .7rem; margin: .5rem 0; }
details p { white-space: pre-wrap; }
mark { background: #ffe27a; color: #1a1a1a; }
[role=alert] { background: #fbd9d3; color: #7a1500; padding: .3rem .6rem; }
"""

_SCRIPT = """
"use strict";
const find = (id) => document.getElementById(id);
const make = (tag, text) => {
  const node = document.createElement(tag);
  node.textContent = text;
  return node;
};
function say(text, failed) {
  find("status").textContent = text;
  find("status").setAttribute("role", failed ? "alert" : "status");
}
function cite(citation) {
  const details = make("details", "");
  const start = citation.start - citation.passage_start;
  const end = citation.end - citation.passage_start;
  const letters = Array.from(citation.passage);  // offsets count characters, not UTF-16 units
  const passage = make("p", letters.slice(0, start).join(""));
  passage.append(make("mark", letters.slice(start, end).join("")));
  passage.append(letters.slice(end).join(""));
  details.append(make("summary", citation.source + ": " + citation.text), passage);
  return details;
}
function show(answer) {
  find("answer").textContent = answer.text;
  find("citations").replaceChildren(...answer.citations.map(cite));
  say("Confidence " + answer.confidence.toFixed(2) + "; "
      + (answer.timings_ms.total / 1000).toFixed(1) + " s.", false);
}
function take(block) {
  const field = (name) => block.split("\\n").filter((line) => line.startsWith(name + ": "))
    .map((line) => line.slice(name.length + 2)).join("\\n");
  if (!field("data")) return;
  const data = JSON.parse(field("data"));
  if (field("event") === "piece") find("answer").textContent += data.text;
  if (field("event") === "answer") show(data);
  if (field("event") === "error") say(data.error, true);
}
async function ask() {
  const reply = await fetch("v1/answers", {
    method: "POST",
    headers: {"Content-Type": "application/json"},
    body: JSON.stringify({question: find("question").value, k: Number(find("k").value),
                          stream: true}),
  });
  if (!reply.ok) {
    const fault = await reply.json().catch(() => ({error: "The service did not answer."}));
    return say(fault.error, true);
  }
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const {done, value} = await reader.read();
    if (done) return;
    const blocks = (text + value).split("\\n\\n");
    text = blocks.pop();
    blocks.forEach(take);
  }
}
find("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  find("ask").disabled = true;
  find("answer").textContent = "";
  find("citations").replaceChildren();
  say("Searching and writing …", false);
  try { await ask(); } catch { say("The service cannot be reached.", true); }
  find("ask").disabled = false;
});
"""

PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Ask the documents</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>Ask the documents</h1>
<form id="form">
<label>Question
<input id="question" required maxlength="2000" autofocus autocomplete="off"></label>
<label class="small">Passages
<input id="k" type="number" min="1" max="20" value="5" required></label>
<button id="ask">Ask</button>
</form>
<p id="status" role="status" aria-live="polite"></p>
<p id="answer" aria-live="polite"></p>
<div id="citations"></div>
<script>{_SCRIPT}</script>
</body>
</html>
"""


def _allow(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


# The browser runs this script and this style, and connects to this service: nothing else.
PAGE_POLICY = (
    f"default-src 'none'; script-src {_allow(_SCRIPT)}; style-src {_allow(_STYLE)}; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
