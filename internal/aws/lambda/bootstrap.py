# The bootstrap of functions in Python: it takes events from the Lambda runtime API and
# gives them to the function's handler.
import http.client
import importlib
import json
import logging
import os
import sys
import time
import traceback

API = os.environ["AWS_LAMBDA_RUNTIME_API"]
PREFIX = "/2018-06-01/runtime/"
sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])
sys.argv = ["bootstrap"]
connection = http.client.HTTPConnection(API)
request_id = ""


def call(method, path, body=None, headers={}):
    connection.request(method, PREFIX + path, body, headers)
    response = connection.getresponse()
    return response, response.read()


def error_of(kind, message, trace, id=""):
    return json.dumps({"errorMessage": message, "errorType": kind, "requestId": id, "stackTrace": trace}).encode()


def trace_of(e):
    frames = traceback.extract_tb(e.__traceback__)
    return traceback.format_list([f for f in frames if f.filename not in ("<string>", "<frozen importlib._bootstrap>")])


def report(kind, message, trace):
    print("[ERROR] %s: %s" % (kind, message), "".join(["\nTraceback (most recent call last):\n"] + trace).rstrip() if trace else "", flush=True)


class LogHandler(logging.Handler):
    def emit(self, record):
        try:
            at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            print("[%s]\t%s.%03dZ\t%s\t%s" % (record.levelname, at, record.msecs, request_id, self.format(record)), flush=True)
        except Exception:
            self.handleError(record)


logging.getLogger().addHandler(LogHandler())


class Identity:
    cognito_identity_id = None
    cognito_identity_pool_id = None


class ClientContext:
    def __init__(self, d):
        self.custom = d.get("custom")
        self.env = d.get("env")
        self.client = type("Client", (), d.get("client") or {})() if d.get("client") else None


class LambdaContext:
    def __init__(self, headers):
        self.aws_request_id = headers["Lambda-Runtime-Aws-Request-Id"]
        self.invoked_function_arn = headers["Lambda-Runtime-Invoked-Function-Arn"]
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.identity = Identity()
        self.client_context = None
        if headers.get("Lambda-Runtime-Client-Context"):
            self.client_context = ClientContext(json.loads(headers["Lambda-Runtime-Client-Context"]))
        self._deadline = int(headers["Lambda-Runtime-Deadline-Ms"])

    def get_remaining_time_in_millis(self):
        return max(0, self._deadline - int(time.time() * 1000))

    def log(self, message):
        sys.stdout.write(str(message))
        sys.stdout.flush()


def load():
    name = os.environ["_HANDLER"]
    module, dot, function = name.rpartition(".")
    if not dot:
        raise_init("Runtime.MalformedHandlerName", "Bad handler '%s': not enough values to unpack (expected 2, got 1)" % name, [])
    try:
        m = importlib.import_module(module.replace("/", "."))
    except ImportError as e:
        raise_init("Runtime.ImportModuleError", "Unable to import module '%s': %s" % (module, e), [])
    except SyntaxError as e:
        raise_init("Runtime.UserCodeSyntaxError", "Syntax error in module '%s': %s" % (module, e), [])
    except Exception as e:
        raise_init(type(e).__name__, str(e), trace_of(e))
    try:
        return getattr(m, function)
    except AttributeError:
        raise_init("Runtime.HandlerNotFound", "Handler '%s' missing on module '%s'" % (function, module), [])


def raise_init(kind, message, trace):
    report(kind, message, trace)
    call("POST", "init/error", error_of(kind, message, trace), {"Lambda-Runtime-Function-Error-Type": kind})
    sys.exit(1)


handler = load()
while True:
    response, event = call("GET", "invocation/next")
    request_id = response.headers["Lambda-Runtime-Aws-Request-Id"]
    os.environ["_X_AMZN_TRACE_ID"] = response.headers["Lambda-Runtime-Trace-Id"]
    try:
        result = handler(json.loads(event), LambdaContext(response.headers))
        try:
            body = json.dumps(result, ensure_ascii=False).encode("utf-8")
        except Exception as e:
            report("Runtime.MarshalError", "Unable to marshal response: %s" % e, [])
            call("POST", "invocation/%s/error" % request_id, error_of("Runtime.MarshalError", "Unable to marshal response: %s" % e, [], request_id))
            continue
    except Exception as e:
        report(type(e).__name__, str(e), trace_of(e))
        call("POST", "invocation/%s/error" % request_id, error_of(type(e).__name__, str(e), trace_of(e), request_id),
             {"Lambda-Runtime-Function-Error-Type": type(e).__name__})
        continue
    sys.stdout.flush()
    call("POST", "invocation/%s/response" % request_id, body, {"Content-Type": "application/json"})
