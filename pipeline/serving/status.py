"""The errors that a client sees, by TensorFlow's status codes, which are gRPC's. Runs in the development server."""

import grpc

MAX_REQUEST_BYTES = 64 << 20  # of a REST body and of a gRPC message
INTERNAL_ERROR = "The server failed; its log says how."
_MAX_DETAILS_BYTES = 1024  # TF Serving truncates so (grpc_status_util.cc); a longer one may not fit an HTTP/2 header

# ToHTTPStatusCode of TF Serving's http_server.cc; any other code is a 500.
_HTTP_STATUS = {
    "CANCELLED": 499,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "UNAUTHENTICATED": 401,
}
_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}


class ServingError(RuntimeError):
    """A request that is not answered, or a version that does not load.

    Attributes:
        code: Its status; `code.value[0]` is TensorFlow's number.
    """

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code

    @classmethod
    def numbered(cls, number: int, message: str) -> "ServingError":
        """Returns the error with TensorFlow's number of a status (tensorflow/core/protobuf/error_codes.proto)."""
        return cls(_BY_NUMBER.get(number, grpc.StatusCode.UNKNOWN), message)

    @property
    def http_status(self) -> int:
        """The HTTP status that TF Serving answers with."""
        return _HTTP_STATUS.get(self.code.name, 500)

    @property
    def details(self) -> str:
        """The text for gRPC."""
        text = str(self).encode()
        if len(text) <= _MAX_DETAILS_BYTES:
            return str(self)
        return text[:_MAX_DETAILS_BYTES].decode(errors="ignore") + "...TRUNCATED"


def invalid_argument(message: str) -> ServingError:
    """Returns the error of a request that is wrong in itself."""
    return ServingError(grpc.StatusCode.INVALID_ARGUMENT, message)


def not_found(message: str) -> ServingError:
    """Returns the error of a model or a version that is not there."""
    return ServingError(grpc.StatusCode.NOT_FOUND, message)
