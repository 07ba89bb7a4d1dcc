"""``/v1/chat/completions``."""

from serving.api.generation import Resource, encode_data
from serving.api.validate import check_chat
from serving.engine.protocol import Endpoint

PATH = "/v1/chat/completions"
RESOURCE = Resource(Endpoint.CHAT, check_chat, encode_data, b"data: [DONE]\n\n")
