"""Writes the cases beside it with the messages of xai-sdk and of Google's libraries.

    pip install xai-sdk==1.21.0 google-ai-generativelanguage==0.12.1 google-cloud-aiplatform==2.7.0
    python generate.py

Each case has what `tests/corpus/llm` has; a message stands in base64, `expected` is
written by hand and kept.
"""

import base64
import json
import os

HERE = os.path.dirname(os.path.abspath(__file__))
USER = "Grüße an 漢字 🦀"


def b64(message):
    raw = message._pb.SerializeToString() if hasattr(message, "_pb") else message.SerializeToString()
    return base64.b64encode(raw).decode()


def case(name, about, url, request, replies, fields=None, trailers=None):
    path = os.path.join(HERE, name + ".json")
    expected = None
    if os.path.exists(path):
        with open(path) as file:
            expected = json.load(file)["expected"]
    with open(path, "w") as file:
        json.dump({
            "about": about,
            "request": {
                "url": url,
                "fields": {"content-type": "application/grpc"},
                "message": b64(request),
            },
            "response": {
                "fields": {"content-type": "application/grpc", **(fields or {})},
                "events": [{"message": b64(reply)} for reply in replies],
                "trailers": {"grpc-status": "0"} if trailers is None else trailers,
            },
            "expected": expected,
        }, file, indent=1, ensure_ascii=False)
        file.write("\n")


def xai():
    from xai_sdk import chat, tools
    from xai_sdk.proto.v5 import chat_pb2, image_pb2

    at = "https://api.x.ai/xai_api.Chat/"
    function = chat.tool("weather", "Tells it", {"type": "object", "properties": {"at": {"type": "string"}}})
    messages = [
        chat.system("Be brief."),
        chat.user(USER, chat.image("https://example.com/a.png"), chat.file("file-7")),
        chat_pb2.Message(
            role=chat_pb2.ROLE_ASSISTANT,
            reasoning_content="Hm.",
            tool_calls=[chat_pb2.ToolCall(id="c1", function=chat_pb2.FunctionCall(name="weather", arguments='{"at":"x"}'))],
        ),
        chat.tool_result('{"sun":true}', tool_call_id="c1"),
    ]
    request = chat_pb2.GetCompletionsRequest(
        messages=messages, model="grok-4", n=2, max_tokens=100, seed=7, stop=["END"], temperature=0.7,
        top_p=0.9, frequency_penalty=0.5, presence_penalty=-0.5, user="u1", tools=[function, tools.web_search()],
        reasoning_effort=chat_pb2.EFFORT_LOW, previous_response_id="prev",
        response_format=chat_pb2.ResponseFormat(format_type=chat_pb2.FORMAT_TYPE_JSON_OBJECT),
    )
    call = chat_pb2.ToolCall(
        id="c2", type=chat_pb2.TOOL_CALL_TYPE_CLIENT_SIDE_TOOL, status=chat_pb2.TOOL_CALL_STATUS_COMPLETED,
        function=chat_pb2.FunctionCall(name="weather", arguments='{"at":"y"}'),
    )
    search = chat_pb2.ToolCall(
        id="s1", type=chat_pb2.TOOL_CALL_TYPE_WEB_SEARCH_TOOL, status=chat_pb2.TOOL_CALL_STATUS_COMPLETED,
        function=chat_pb2.FunctionCall(name="web_search", arguments='{"query":"q"}'),
    )
    usage = {"completion_tokens": 9, "prompt_tokens": 30, "total_tokens": 44, "reasoning_tokens": 5,
             "cached_prompt_text_tokens": 12}
    case("xai-unary", "Every field that xAI's chat has and a call needs", at + "GetCompletion", request, [
        chat_pb2.GetChatCompletionResponse(
            id="r1", model="grok-4-0709", system_fingerprint="fp_1", usage=usage,
            service_tier="SERVICE_TIER_DEFAULT",
            outputs=[
                chat_pb2.CompletionOutput(
                    finish_reason="REASON_TOOL_CALLS",
                    message=chat_pb2.CompletionMessage(
                        role="ROLE_ASSISTANT", content="Ça va.", reasoning_content="Hm.", tool_calls=[search, call]),
                ),
                chat_pb2.CompletionOutput(
                    index=1, finish_reason="REASON_MAX_LEN",
                    message=chat_pb2.CompletionMessage(role="ROLE_ASSISTANT", content="Zwei")),
            ],
        ),
    ])

    request = chat_pb2.GetCompletionsRequest(messages=[chat.user(USER)], model="grok-4")
    chunk = lambda usage=None, **delta: chat_pb2.GetChatCompletionChunk(
        id="r2", model="grok-4-0709", usage=usage,
        outputs=[chat_pb2.CompletionOutputChunk(
            finish_reason=delta.pop("finish", None), delta=chat_pb2.Delta(role="ROLE_ASSISTANT", **delta))],
    )
    running = chat_pb2.ToolCall(id="s1", type="TOOL_CALL_TYPE_WEB_SEARCH_TOOL", function=search.function)
    chunks = [
        chunk(reasoning_content="Hm"),
        chunk(reasoning_content="."),
        chunk(tool_calls=[running]),
        chunk(tool_calls=[search]),
        chunk(content="Grü"),
        chunk(content="ße"),
        chunk(tool_calls=[call]),
        chunk(finish="REASON_STOP", usage=usage),
    ]
    case("xai-stream", "A stream of chunks; usage comes with the last", at + "GetCompletionChunk", request, chunks)
    case("xai-stream-fails", "The status tells what went wrong amid a stream", at + "GetCompletionChunk",
         request, chunks[4:5], trailers={"grpc-status": "8", "grpc-message": "50%25 of it f%C3%BCr heute"})
    case("xai-refused", "No message; the status stands in the head", at + "GetCompletion", request, [],
         fields={"grpc-status": "16", "grpc-message": "no key"}, trailers={})
    case("xai-at-nobody", "The service's name tells whose it is", "https://10.0.0.7:50051/xai_api.Chat/GetCompletionChunk",
         request, chunks[4:])
    case("xai-image", "An image", "https://api.x.ai/xai_api.Image/GenerateImage",
         image_pb2.GenerateImageRequest(prompt="A crab", model="grok-image", n=2),
         [image_pb2.ImageResponse(model="grok-image-1", images=[{"url": "https://x/1"}, {"url": "https://x/2"}])])
    case("xai-models", "No call: the list of models", "https://api.x.ai/xai_api.Models/ListLanguageModels",
         chat_pb2.GetCompletionsRequest(), [])


def contents(lib):
    """A conversation in the types of either of Google's libraries."""
    return [
        lib.Content(role="user", parts=[
            lib.Part(text=USER),
            lib.Part(inline_data=lib.Blob(mime_type="image/png", data=b"\x00\x01\x02")),
            lib.Part(file_data=lib.FileData(mime_type="application/pdf", file_uri="gs://b/f.pdf")),
        ]),
        lib.Content(role="model", parts=[
            lib.Part(function_call=lib.FunctionCall(name="weather", args={"at": "x", "days": 2, "deep": [True, None, {"k": 0.5}]})),
        ]),
        lib.Content(role="user", parts=[
            lib.Part(function_response=lib.FunctionResponse(name="weather", response={"sun": True})),
        ]),
    ]


def parameters(lib):
    return lib.Schema(
        type_=lib.Type.OBJECT, required=["at"],
        properties={"at": lib.Schema(type_=lib.Type.STRING, description="Where", enum=["x", "y"]),
                    "list": lib.Schema(type_=lib.Type.ARRAY, items=lib.Schema(type_=lib.Type.NUMBER))},
    )


def google(lib, name, at, model, **extra):
    config = lib.GenerationConfig(
        candidate_count=1, stop_sequences=["END"], max_output_tokens=64, temperature=0.7, top_p=0.9, top_k=40,
        seed=7, response_mime_type="text/plain", presence_penalty=0.5, frequency_penalty=-0.5,
    )
    request = lib.GenerateContentRequest(
        model=model, contents=contents(lib), generation_config=config,
        system_instruction=lib.Content(parts=[lib.Part(text="Be brief.")]),
        tools=[lib.Tool(function_declarations=[lib.FunctionDeclaration(
            name="weather", description="Tells it", parameters=parameters(lib))])],
    )
    usage = lib.GenerateContentResponse.UsageMetadata(
        prompt_token_count=20, candidates_token_count=7, thoughts_token_count=5, total_token_count=32,
        cached_content_token_count=8, **extra,
    )
    candidate = lambda *parts, **more: lib.Candidate(content=lib.Content(role="model", parts=list(parts)), **more)
    answer = lambda c, **more: lib.GenerateContentResponse(
        candidates=[c], model_version="gemini-9", response_id="r1", **more)
    stream = [
        answer(candidate(lib.Part(text="Hm.", thought=True))),
        answer(candidate(lib.Part(text="Grü"))),
        answer(candidate(lib.Part(text="ße"))),
        answer(candidate(lib.Part(function_call=lib.FunctionCall(name="weather", args={"at": "y"})),
                         finish_reason=lib.Candidate.FinishReason.MAX_TOKENS), usage_metadata=usage),
    ]
    case(name + "-stream", "A streamed reply with thoughts and a tool call", at + "StreamGenerateContent", request, stream)
    short = lib.GenerateContentRequest(model=model, contents=[lib.Content(role="user", parts=[lib.Part(text=USER)])])
    case(name + "-unary", "A reply in one message", at + "GenerateContent", short, [
        answer(candidate(lib.Part(text="Ja."), finish_reason=lib.Candidate.FinishReason.STOP), usage_metadata=usage)])
    case(name + "-blocked", "A prompt that is blocked", at + "GenerateContent", short, [
        lib.GenerateContentResponse(prompt_feedback=lib.GenerateContentResponse.PromptFeedback(block_reason=1))])
    case(name + "-embed", "An embedding", at + "EmbedContent",
         lib.EmbedContentRequest(model=model, content=lib.Content(parts=[lib.Part(text=USER)]), output_dimensionality=3),
         [lib.EmbedContentResponse(embedding={"values": [0.25, -0.5, 0.125]})])


if __name__ == "__main__":
    xai()
    from google.ai import generativelanguage_v1beta
    google(generativelanguage_v1beta, "gemini",
           "https://generativelanguage.googleapis.com/google.ai.generativelanguage.v1beta.GenerativeService/",
           "models/gemini-9-flash", tool_use_prompt_token_count=3)
    case("gemini-batch-embed", "Several embeddings",
         "https://generativelanguage.googleapis.com/google.ai.generativelanguage.v1.GenerativeService/BatchEmbedContents",
         generativelanguage_v1beta.BatchEmbedContentsRequest(
             model="models/e-1",
             requests=[{"model": "models/e-1", "content": {"parts": [{"text": text}]}} for text in ("a", "b")]),
         [generativelanguage_v1beta.BatchEmbedContentsResponse(embeddings=[{"values": [1.0]}, {"values": [2.0]}])])
    from google.cloud import aiplatform_v1
    google(aiplatform_v1, "vertex",
           "https://europe-west1-aiplatform.googleapis.com/google.cloud.aiplatform.v1.PredictionService/",
           "projects/p/locations/europe-west1/publishers/google/models/gemini-9-flash",
           traffic_type=aiplatform_v1.GenerateContentResponse.UsageMetadata.TrafficType.ON_DEMAND)
