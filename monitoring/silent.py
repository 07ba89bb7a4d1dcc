"""The recorder of a gateway that measures nothing."""

from monitoring.exposition import Format
from monitoring.metrics import GatewayMetrics
from monitoring.records import RequestRecord, RetrievalRecord


class SilentMetrics(GatewayMetrics):
    """Takes what every request tells, does nothing with it, and shows nothing."""

    def request_started(self, task: str) -> None:
        """Nothing."""

    def request_finished(self, record: RequestRecord) -> None:
        """Nothing."""

    def adapter_wait_started(self, task: str) -> None:
        """Nothing."""

    def adapter_wait_ended(self, task: str) -> None:
        """Nothing."""

    def shadow_finished(self, record: RequestRecord) -> None:
        """Nothing."""

    def request_refused(self, code: str) -> None:
        """Nothing."""

    def retrieval_finished(self, record: RetrievalRecord) -> None:
        """Nothing."""

    def answer_grounded(self, task: str, citations: int, dropped: int, unsupported: int) -> None:
        """Nothing."""

    def render(self, form: Format = Format.TEXT) -> bytes:
        """Nothing: what is seldom counted is not shown either."""
        return b""
