"""``/v1/completions``."""

from serving.api.generation import Resource, encode_data
from serving.api.validate import check_completion
from serving.engine.protocol import Endpoint

PATH = "/v1/completions"
RESOURCE = Resource(Endpoint.COMPLETIONS, check_completion, encode_data, b"data: [DONE]\n\n")
