"""A collector made of OpenTelemetry's own Python messages: it takes OTLP over gRPC and over HTTP,
and prints each span as a line of JSON. Its first line says where it listens."""

import concurrent.futures
import http.server
import json
import threading

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as services

LOOPBACK = "127.0.0.1"
LOCK = threading.Lock()


def show(line):
    with LOCK:
        print(json.dumps(line), flush=True)


def facts(attributes):
    value = lambda v: getattr(v, v.WhichOneof("value"))
    return {attribute.key: value(attribute.value) for attribute in attributes}


def take(way, request):
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                show({
                    "way": way,
                    "resource": facts(resource.resource.attributes),
                    "name": span.name,
                    "kind": span.kind,
                    "trace": span.trace_id.hex(),
                    "id": span.span_id.hex(),
                    "parent": span.parent_span_id.hex(),
                    "status": span.status.code,
                    "message": span.status.message,
                    "attributes": facts(span.attributes),
                    "attempts": [facts(event.attributes) for event in span.events],
                })


class Grpc(services.TraceServiceServicer):
    def Export(self, request, context):
        take("grpc", request)
        return messages.ExportTraceServiceResponse()


class Http(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        request = messages.ExportTraceServiceRequest()
        request.ParseFromString(self.rfile.read(int(self.headers["content-length"])))
        take("http", request)
        answer = messages.ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


grpc_server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
services.add_TraceServiceServicer_to_server(Grpc(), grpc_server)
grpc_port = grpc_server.add_insecure_port(f"{LOOPBACK}:0")
grpc_server.start()
http_server = http.server.ThreadingHTTPServer((LOOPBACK, 0), Http)
show({"grpc": grpc_port, "http": http_server.server_port})
http_server.serve_forever()
