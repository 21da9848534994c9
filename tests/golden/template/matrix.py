"""The contexts that every chat template is rendered with."""
import itertools

UNICODE = "Grüße, 世界! 🦙 «naïve» \u00a0\ttab 'q' \"d\" <b>&amp;</b> {{ x }} {% if %} \\n"

TURNS = {
    "one": [("user", "Hello!")],
    "three": [("user", "What is 2 + 2?"), ("assistant", "4"), ("user", "  And 3 + 3?\n")],
    "five": [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "<think>\nx\n</think>\n\nd"), ("user", "e")],
    "ends_with_assistant": [("user", "Say hi"), ("assistant", " hi ")],
    "empty_content": [("user", "")],
    "empty_everywhere": [("user", ""), ("assistant", ""), ("user", "")],
    "unicode": [("user", UNICODE), ("assistant", UNICODE), ("user", "ok")],
    "multi_line": [("user", "one\ntwo\r\n\n  three  \n\n"), ("assistant", "\n\nanswer\n"), ("user", "\ttail\t")],
    "two_users": [("user", "first"), ("user", "second")],
    "assistant_first": [("assistant", "Welcome"), ("user", "thanks")],
    "unknown_role": [("user", "x"), ("critic", "y"), ("user", "z")],
    "none_at_all": [],
}
SYSTEM = {"no_system": None, "system": "You are a helpful assistant.", "empty_system": "", "unicode_system": UNICODE}
EXTRA = {"plain": {}, "thinking": {"enable_thinking": True}, "no_thinking": {"enable_thinking": False}}


def reduced(turns, system, prompt, extra):
    """The part of the matrix that the checked-in golden file holds."""
    usual = [system in ("no_system", "system"), prompt, extra == "plain"]
    return all(usual) or (turns in ("three", "ends_with_assistant") and sum(usual) == 2) or (
        turns == "five" and system == "system" and prompt)


def contexts(full=True):
    """(name, context) pairs; full: every combination."""
    for (turns, messages), (system, text), prompt, (extra, values) in itertools.product(
            TURNS.items(), SYSTEM.items(), (True, False), EXTRA.items()):
        if not full and not reduced(turns, system, prompt, extra):
            continue
        chat = [{"role": r, "content": c} for r, c in messages]
        if text is not None:
            chat.insert(0, {"role": "system", "content": text})
        name = "-".join([turns, system, "prompt" if prompt else "no_prompt", extra])
        yield name, {"messages": chat, "add_generation_prompt": prompt, "bos_token": "<s>", "eos_token": "</s>",
                     "local_time": 1735740245, "extra": values}
