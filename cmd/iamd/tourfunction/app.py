"""Keeps a note in a DynamoDB table, reads it back, and tries to delete the table.

With boto3 this would be three lines; it signs its calls itself (Signature Version 4) so
that it runs wherever there is a python3. Its credentials are those that Lambda puts into
every function's environment: the execution role's.
"""
import datetime
import hashlib
import hmac
import json
import os
import urllib.error
import urllib.request


def dynamodb(operation, parameters):
    body = json.dumps(parameters).encode()
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    endpoint, region = os.environ["AWS_ENDPOINT_URL"], os.environ["AWS_REGION"]
    headers = {
        "content-type": "application/x-amz-json-1.0",
        "host": endpoint.split("//")[1],
        "x-amz-date": now,
        "x-amz-security-token": os.environ["AWS_SESSION_TOKEN"],
        "x-amz-target": "DynamoDB_20120810." + operation,
    }
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    canonical = f"POST\n/\n\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
    scope = f"{now[:8]}/{region}/dynamodb/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = ("AWS4" + os.environ["AWS_SECRET_ACCESS_KEY"]).encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={os.environ['AWS_ACCESS_KEY_ID']}/{scope}, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    del headers["host"]  # urllib's own
    try:
        return json.load(urllib.request.urlopen(urllib.request.Request(endpoint + "/", body, headers)))
    except urllib.error.HTTPError as refusal:
        return json.load(refusal)


def handler(event, context):
    table = event["table"]
    dynamodb("PutItem", {"TableName": table, "Item": {"id": {"S": "1"}, "text": {"S": event["text"]}}})
    read = dynamodb("GetItem", {"TableName": table, "Key": {"id": {"S": "1"}}})
    deleted = dynamodb("DeleteTable", {"TableName": table})
    return {"read": read.get("Item", read), "deleted": deleted.get("__type", "yes").split("#")[-1]}
