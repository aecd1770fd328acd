"""Holds answers against botocore's own model of them.

    problems = watch(client)    # from here on, every answer is looked at
    ...
    for problem in problems: ...

Looked at are the bytes and what botocore makes of them: an element or a key that the
model does not have, a required member that is absent, a value out of its enumeration,
pattern, range or length, a time without a zone; of errors, a code that the operation
does not declare and that is not one of every operation.
"""

import datetime
import json
import re
import xml.etree.ElementTree as ElementTree

# What AWS answers though its model, or this release of it, does not say so.
KNOWN = [
    (r"PermissionsBoundaryType: 'Policy' is none of", "recorded of AWS: Policy"),
    (r"SourcePolicyType: 'IAM Policy' is none of", "AWS's own examples: IAM Policy"),
    (r"Fingerprint: '[0-9a-f:]{47}' is not between 48 and 48 long", "an MD5 fingerprint has 47 characters, in AWS's own examples, too"),
    (r": the model has no SessionToken(Size|Utilization)$", "newer models of STS have it"),
]

# Codes that the models do not list with each operation.
COMMON = {
    "AccessDenied", "AccessDeniedException", "ValidationError", "ValidationException",
    "InvalidClientTokenId", "SignatureDoesNotMatch", "InvalidParameterValue", "MissingParameter",
}


def watch(client, problems, called):
    """Looks at every answer from here on; adds to the lists of problems and of operations that succeeded."""

    def look(event_name, operation_model, response_dict, **_):
        name, shape = operation_model.name, operation_model.output_shape
        text = response_dict["body"]
        if response_dict["status_code"] >= 300:
            return
        try:
            if operation_model.metadata["protocol"] == "query":
                root = strip(ElementTree.fromstring(text))
                if root.tag != name + "Response":
                    raise ValueError(f"the root is {root.tag}")
                extra = [e.tag for e in root if e.tag not in (name + "Result", "ResponseMetadata")]
                if extra:
                    raise ValueError(f"beside the result there is {extra}")
                if root.find("ResponseMetadata/RequestId") is None:
                    raise ValueError("there is no RequestId")
                result = root.find(name + "Result")
                if shape is None or not shape.members:
                    if result is not None and len(result):
                        raise ValueError("there is a result")
                elif result is None:
                    raise ValueError("there is no result")
                else:
                    unknown_elements(shape, result, name, problems)
            elif shape is not None and text:
                unknown_keys(shape, json.loads(text), name, problems)
        except (ValueError, ElementTree.ParseError) as e:
            problems.append(f"{name}: {e}: {text[:500]!r}")

    def parsed(http_response, parsed, model, **_):
        if http_response.status_code >= 300:
            error = parsed.get("Error", {})
            declared = {s.metadata.get("error", {}).get("code", s.name) for s in model.error_shapes}
            if error.get("Code") not in declared | COMMON:
                problems.append(f"{model.name}: {error} is none of {sorted(declared)}")
            return
        called.add(model.name)
        if model.output_shape is not None:
            values(model.output_shape, parsed, model.name, problems)

    service = client.meta.service_model.service_id.hyphenize()
    client.meta.events.register(f"before-parse.{service}", look)
    client.meta.events.register(f"after-call.{service}", parsed)


def unknown(problems):
    """The problems without those that are known, each once; and the known ones that are none."""
    rest = [p for p in dict.fromkeys(problems) if not any(re.search(k, p) for k, _ in KNOWN)]
    return rest + [f"the known problem {k} is none" for k, _ in KNOWN if not any(re.search(k, p) for p in problems)]


def strip(root):
    for e in root.iter():
        e.tag = e.tag.rpartition("}")[2]
    return root


def unknown_elements(shape, element, path, problems):
    if shape.type_name == "structure":
        members = {m.serialization.get("name", n): m for n, m in shape.members.items()}
        for child in element:
            if child.tag not in members:
                problems.append(f"{path}: the model has no {child.tag}")
            else:
                unknown_elements(members[child.tag], child, f"{path}.{child.tag}", problems)
    elif shape.type_name == "list":
        for child in element:
            if child.tag != shape.member.serialization.get("name", "member"):
                problems.append(f"{path}: an element of the list is {child.tag}")
            unknown_elements(shape.member, child, path + "[]", problems)
    elif shape.type_name == "map":
        for entry in element:
            if entry.tag != "entry" or [c.tag for c in entry] != ["key", "value"]:
                problems.append(f"{path}: an entry of the map is {ElementTree.tostring(entry)!r}")
            else:
                unknown_elements(shape.value, entry[1], path + "{}", problems)
    elif len(element):
        problems.append(f"{path}: a {shape.type_name} has elements")


def unknown_keys(shape, value, path, problems):
    if shape.type_name == "structure" and isinstance(value, dict):
        for key, v in value.items():
            if key not in shape.members:
                problems.append(f"{path}: the model has no {key}")
            elif v is None:
                problems.append(f"{path}.{key}: is null")
            else:
                unknown_keys(shape.members[key], v, f"{path}.{key}", problems)
    elif shape.type_name == "list" and isinstance(value, list):
        for v in value:
            unknown_keys(shape.member, v, path + "[]", problems)
    elif shape.type_name == "timestamp":
        if not isinstance(value, (int, float)):
            problems.append(f"{path}: the time is {value!r}")
    elif shape.type_name in ("structure", "list"):
        problems.append(f"{path}: is {value!r}, not a {shape.type_name}")


def values(shape, value, path, problems):
    def say(what):
        problems.append(f"{path}: {value!r} {what}")

    kind = shape.type_name
    if kind == "structure":
        for name in shape.required_members:
            if name not in value:
                say(f"has no {name}")
        for name, v in value.items():
            if name in shape.members:
                values(shape.members[name], v, f"{path}.{name}", problems)
    elif kind == "list":
        for v in value:
            values(shape.member, v, path + "[]", problems)
    elif kind == "map":
        for v in value.values():
            values(shape.value, v, path + "{}", problems)
    elif kind == "timestamp":
        if not isinstance(value, datetime.datetime) or value.tzinfo is None:
            say("is no time with a zone")
    elif kind == "string":
        if isinstance(value, dict):  # a policy document, which botocore has decoded
            return
        if not isinstance(value, str):
            return say("is no string")
        limits = shape.metadata
        if "enum" in limits and value not in limits["enum"]:
            say(f"is none of {limits['enum']}")
        if not limits.get("min", 0) <= len(value) <= limits.get("max", len(value)):
            say(f"is not between {limits.get('min')} and {limits.get('max')} long")
        if "pattern" in limits:
            try:
                fits = re.search(limits["pattern"], value, re.DOTALL)
            except re.error:  # one that Python does not know
                fits = True
            if not fits:
                say(f"is not like {limits['pattern']}")
    elif kind in ("integer", "long", "float", "double"):
        if not isinstance(value, (int, float)):
            say("is no number")
        elif not shape.metadata.get("min", value) <= value <= shape.metadata.get("max", value):
            say("is out of its range")
    elif kind == "boolean" and not isinstance(value, bool):
        say("is no boolean")
