"""jinja2 set up as transformers' apply_chat_template sets it up (utils/chat_template_utils.py): the oracle of the tests."""
import copy
import datetime
import functools
import json

import jinja2
import jinja2.ext
import jinja2.nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment


class Generation(jinja2.ext.Extension):
    """{% generation %}: its body in a scope of its own, as a call block."""

    tags = {"generation"}

    def parse(self, parser):
        lineno = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_support"), [], [], body).set_lineno(lineno)

    @jinja2.pass_eval_context
    def _support(self, context, caller):
        return caller()


class Raised(jinja2.exceptions.TemplateError):
    pass


def environment(local_time=None):
    env = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])

    def raise_exception(message):
        raise Raised(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    if local_time is not None:
        now = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=local_time)
        env.globals["strftime_now"] = lambda format: now.strftime(format)
    return env


@functools.lru_cache(maxsize=64)
def compiled(source, local_time):
    return environment(local_time).from_string(source)


def variables(context):
    context = copy.deepcopy(context)  # the filter indent changes a list in its place
    out = {"messages": context.get("messages", []), "tools": None, "documents": None,
           "add_generation_prompt": context.get("add_generation_prompt", True)}
    for name in ("bos_token", "eos_token"):
        if name in context:
            out[name] = context[name]
    out.update(context.get("extra", {}))
    return out


def render(source, context):
    """{"text": ...}, {"raised": text of raise_exception} or {"error": class and text of any other exception}."""
    try:
        text = compiled(source, context.get("local_time")).render(**variables(context))
        text.encode("utf-8")
        return {"text": text}
    except Raised as e:
        return {"raised": str(e)}
    except Exception as e:  # every failure of the template counts, whatever its class
        return {"error": f"{type(e).__name__}: {e}"}
