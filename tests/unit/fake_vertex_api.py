"""The parts of Vertex AI's gRPC API that `sluice submit` uses, over TLS, with the official messages."""

import datetime
import ipaddress
from concurrent import futures

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.cloud.aiplatform_v1.types import (
    CreatePipelineJobRequest,
    CreateScheduleRequest,
    GetPipelineJobRequest,
    PipelineJob,
    Schedule,
)
from google.protobuf import json_format


def as_json(message):
    return json_format.MessageToDict(type(message).pb(message))


class FakeVertexApi:
    """Answers on `host`; `requests` holds what came in.

    Attributes:
        requests: RPC and body of each request but those for a state.
        tokens: The `authorization` of each request.
        jobs: What GetPipelineJob answers, one after the other; the last one stays.
        refusal: Status code and message with which requests are refused, if any.
    """

    def __init__(self, private_key, certificate):
        self.requests, self.tokens, self.jobs, self.refusal = [], [], [], None
        self._server = grpc.server(futures.ThreadPoolExecutor(2))
        self._server.add_generic_rpc_handlers(
            [
                _handler(
                    "PipelineService",
                    CreatePipelineJob=(self._create_job, CreatePipelineJobRequest, PipelineJob),
                    GetPipelineJob=(self._get_job, GetPipelineJobRequest, PipelineJob),
                ),
                _handler("ScheduleService", CreateSchedule=(self._create_schedule, CreateScheduleRequest, Schedule)),
            ]
        )
        credentials = grpc.ssl_server_credentials([(private_key, certificate)])
        self.host = f"localhost:{self._server.add_secure_port('127.0.0.1:0', credentials)}"
        self._server.start()

    def stop(self):
        self._server.stop(None).wait()

    def _check(self, context):
        self.tokens.append(dict(context.invocation_metadata()).get("authorization"))
        if self.refusal:
            context.abort(*self.refusal)

    def _create_job(self, request, context):
        self._check(context)
        self.requests.append(("google.cloud.aiplatform.v1.PipelineService/CreatePipelineJob", as_json(request)))
        return PipelineJob(name=f"{request.parent}/pipelineJobs/{request.pipeline_job_id}")

    def _create_schedule(self, request, context):
        self._check(context)
        self.requests.append(("google.cloud.aiplatform.v1.ScheduleService/CreateSchedule", as_json(request)))
        return Schedule(name=f"{request.parent}/schedules/4711")

    def _get_job(self, request, context):
        self._check(context)
        job = PipelineJob(self.jobs.pop(0) if len(self.jobs) > 1 else self.jobs[0])
        job.name = request.name
        return job


def _handler(service, **methods):
    return grpc.method_handlers_generic_handler(
        f"google.cloud.aiplatform.v1.{service}",
        {
            name: grpc.unary_unary_rpc_method_handler(behaviour, request.deserialize, response.serialize)
            for name, (behaviour, request, response) in methods.items()
        },
    )


def make_key():
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    encoding = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key, key.private_bytes(*encoding)


def make_certificate(key):
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    hosts = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(1))
    return (
        builder.add_extension(hosts, critical=False).sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    )
