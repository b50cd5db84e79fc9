"""The openai package, as it comes from PyPI, against a gateway.

Run by tests/e2e/openai_python.rs, which starts the gateway and a scripted vLLM and passes what to do: `served`,
`refused`, `cut`, or `broken` (the upstream drops every connection). Each function is one rule. Needs in the environment:
GATE_URL (with /v1), GATE_KEY, for `refused` GATE_POOR_KEY, whose owner has spent all tokens, and
for `cut` GATE_OTHER_KEY; the owners of both its keys have 300 tokens.
"""

import os
import sys

import openai

MODEL = "tiny"
MESSAGES = [{"role": "user", "content": "hi"}]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather of a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]
WEATHER = [{"role": "user", "content": "#weather in Paris"}]


def client(key=None, **options):
    options.setdefault("max_retries", 0)
    return openai.OpenAI(base_url=os.environ["GATE_URL"], api_key=key or os.environ["GATE_KEY"], **options)


def counting(key=None):
    """A client with the package's own retries, and the list of what it sends."""
    sent = []
    http = openai.DefaultHttpxClient(event_hooks={"request": [sent.append]})
    return client(key, max_retries=openai.DEFAULT_MAX_RETRIES, http_client=http), sent


def text(chunks):
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


def fails(kind, call):
    try:
        call()
    except kind as error:
        assert type(error) is kind, f"{type(error).__name__}, not {kind.__name__}"
        return error
    raise AssertionError(f"no {kind.__name__}")


# Served


def served_chat_has_content_and_usage():
    answer = client().chat.completions.create(model=MODEL, messages=MESSAGES)
    assert answer.choices[0].message.content.startswith("Hello from a tiny model")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


def served_a_stream_without_usage_has_none_and_no_empty_choices():
    chunks = list(client().chat.completions.create(model=MODEL, messages=MESSAGES, stream=True))
    assert text(chunks).startswith("Hello from a tiny model")
    assert all(chunk.usage is None for chunk in chunks), "usage was not asked for"
    assert all(chunk.choices for chunk in chunks), "code that reads choices[0] must not fail"
    assert not any("usage" in chunk.model_fields_set for chunk in chunks), "not even null"


def served_a_stream_with_usage_ends_with_it():
    options = {"include_usage": True}
    stream = client().chat.completions.create(model=MODEL, messages=MESSAGES, stream=True, stream_options=options)
    chunks = list(stream)
    assert text(chunks).startswith("Hello from a tiny model")
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == 17
    assert all(chunk.usage is None for chunk in chunks[:-1]), "only the last one"
    assert all(chunk.choices for chunk in chunks[:-1])


def served_a_tool_is_called():
    answer = client().chat.completions.create(model=MODEL, messages=WEATHER, tools=TOOLS)
    call = answer.choices[0].message.tool_calls[0]
    assert (call.function.name, call.function.arguments) == ("get_weather", '{"city": "Paris"}')
    assert answer.choices[0].finish_reason == "tool_calls"


def served_a_tool_is_called_in_a_stream():
    with client().chat.completions.stream(model=MODEL, messages=WEATHER, tools=TOOLS) as stream:
        for _ in stream:
            pass
        answer = stream.get_final_completion()
    call = answer.choices[0].message.tool_calls[0]
    assert (call.function.name, call.function.arguments) == ("get_weather", '{"city": "Paris"}')


def served_two_choices_are_two():
    answer = client().chat.completions.create(model=MODEL, messages=MESSAGES, n=2)
    assert [choice.index for choice in answer.choices] == [0, 1]
    chunks = list(client().chat.completions.create(model=MODEL, messages=MESSAGES, n=2, stream=True))
    assert {chunk.choices[0].index for chunk in chunks} == {0, 1}


def served_completions_go_on():
    answer = client().completions.create(model=MODEL, prompt="Hello", max_tokens=6)
    assert answer.choices[0].text == " from a tiny model that only"
    assert answer.usage.completion_tokens == 6
    chunks = list(client().completions.create(model=MODEL, prompt="Hello", max_tokens=6, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == " from a tiny model that only"
    assert all(chunk.usage is None for chunk in chunks)


def served_embeddings_are_vectors():
    # The package asks for base64 and decodes it.
    answer = client().embeddings.create(model=MODEL, input=["one", "two"])
    assert len(answer.data) == 2 and all(isinstance(x, float) for x in answer.data[0].embedding)
    assert answer.usage.prompt_tokens > 0


def served_models_are_listed_and_retrieved():
    models = client().models
    assert [model.id for model in models.list()] == [MODEL]
    assert models.retrieve(MODEL).id == MODEL


# Refused


def refused_a_bad_request_is_one():
    create = client().chat.completions.create
    error = fails(openai.BadRequestError, lambda: create(model=MODEL, messages=[]))
    assert error.param == "messages", error.body
    # This one is vLLM's own.
    error = fails(openai.BadRequestError, lambda: create(model=MODEL, messages=MESSAGES, max_tokens=100_000))
    assert error.body["message"], error.body


def refused_a_wrong_key_is_no_key():
    error = fails(openai.AuthenticationError, lambda: client("wrong").models.list())
    assert error.code == "invalid_api_key", error.body
    fails(openai.AuthenticationError, lambda: client("wrong").chat.completions.create(model=MODEL, messages=MESSAGES))


def refused_an_unknown_model_is_not_found():
    create = client().chat.completions.create
    for error in (
        fails(openai.NotFoundError, lambda: create(model="nope", messages=MESSAGES)),
        fails(openai.NotFoundError, lambda: client().models.retrieve("nope")),
    ):
        assert error.code == "model_not_found", error.body


def refused_a_route_that_is_not_served_is_not_found():
    fails(openai.NotFoundError, lambda: client().responses.create(model=MODEL, input="hi"))
    fails(openai.NotFoundError, lambda: client().files.list())


def refused_a_spent_quota_is_not_tried_again():
    poor, sent = counting(os.environ["GATE_POOR_KEY"])
    for stream in (False, True):
        sent.clear()
        create = poor.chat.completions.create
        error = fails(openai.RateLimitError, lambda: create(model=MODEL, messages=MESSAGES, stream=stream))
        assert error.code == "insufficient_quota", error.body
        assert error.type == "insufficient_quota", error.body
        assert error.response.headers["x-should-retry"] == "false"
        assert len(sent) == 1, f"sent {len(sent)} times"


# Cut


def cut_a_chat_ends_by_length():
    chunks = list(
        client().chat.completions.create(
            model=MODEL,
            messages=MESSAGES,
            max_tokens=1000,
            stream=True,
            stream_options={"include_usage": True},
            extra_body={"ignore_eos": True},
        )
    )
    reasons = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
    assert reasons[-1] == "length" and set(reasons[:-1]) == {None}, reasons
    assert len({(chunk.id, chunk.object, chunk.created, chunk.model) for chunk in chunks}) == 1
    usage = chunks[-1].usage
    assert chunks[-1].choices == [] and 290 < usage.total_tokens <= 300, usage
    assert usage.completion_tokens == len([c for c in chunks if c.choices and c.choices[0].delta.content])


def cut_a_completion_ends_by_length():
    other = client(os.environ["GATE_OTHER_KEY"])
    extra = {"ignore_eos": True}
    chunks = list(
        other.completions.create(model=MODEL, prompt="Hello", max_tokens=1000, stream=True, extra_body=extra)
    )
    reasons = [chunk.choices[0].finish_reason for chunk in chunks]
    assert reasons[-1] == "length" and set(reasons[:-1]) == {None}, reasons
    assert len({(chunk.id, chunk.object, chunk.created, chunk.model) for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks), "usage was not asked for"


# Broken


def broken_an_upstream_that_drops_connections_is_a_502():
    create = client().chat.completions.create
    error = fails(openai.InternalServerError, lambda: create(model=MODEL, messages=MESSAGES))
    assert error.status_code == 502 and error.code == "bad_gateway", error.body


def main(what):
    rules = [rule for name, rule in globals().items() if name.startswith(f"{what}_")]
    assert rules, what
    for rule in rules:
        print(f"openai {openai.__version__}: {rule.__name__}", flush=True)
        rule()


if __name__ == "__main__":
    main(sys.argv[1])
