"""Whether an answer is what openapi.json says: a small part of JSON Schema, as much as that document uses. A word that is
not known here is an error, so that nothing goes unchecked."""

import re

KNOWN = {
    "$ref", "description", "type", "properties", "required", "items", "anyOf", "enum", "const", "pattern", "minimum",
    "maximum", "minLength", "maxLength", "maxItems", "maxProperties", "default", "additionalProperties", "propertyNames",
}
TYPES = {
    "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "integer": int, "number": float,
}


def faults(document, schema, value, at="answer"):
    """Every way in which `value` is not what `schema` says."""
    if unknown := set(schema) - KNOWN:
        return [f"{at}: the schema has {sorted(unknown)}, which is not checked"]
    found = []
    if "$ref" in schema:
        found += faults(document, resolve(document, schema["$ref"]), value, at)
    if "type" in schema:
        names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        fits = [isinstance(value, TYPES[n]) and not (n == "integer" and isinstance(value, bool)) for n in names]
        if not any(fits):
            return found + [f"{at}: {value!r:.80} is no {' or '.join(names)}"]
    if "const" in schema and value != schema["const"]:
        found.append(f"{at}: {value!r:.80} is not {schema['const']!r}")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{at}: {value!r:.80} is none of the values")
    if "anyOf" in schema and all(faults(document, one, value, at) for one in schema["anyOf"]):
        found.append(f"{at}: fits none of anyOf")
    if isinstance(value, str):
        if "pattern" in schema and not re.search(schema["pattern"], value):
            found.append(f"{at}: {value!r:.80} does not match {schema['pattern']}")
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
            found.append(f"{at}: has {len(value)} characters")
    if isinstance(value, int) and not isinstance(value, bool):
        if not schema.get("minimum", value) <= value <= schema.get("maximum", value):
            found.append(f"{at}: {value} is out of bounds")
    if isinstance(value, list):
        if len(value) > schema.get("maxItems", len(value)):
            found.append(f"{at}: has {len(value)} items")
        for n, item in enumerate(value):
            found += faults(document, schema.get("items", {}), item, f"{at}[{n}]")
    if isinstance(value, dict):
        found += [f"{at}: {name} is missing" for name in schema.get("required", []) if name not in value]
        if len(value) > schema.get("maxProperties", len(value)):
            found.append(f"{at}: has {len(value)} properties")
        named = schema.get("properties", {})
        for name, inner in value.items():
            other = schema.get("additionalProperties", {})
            found += faults(document, named.get(name, other), inner, f"{at}.{name}")
            found += faults(document, schema.get("propertyNames", {}), name, f"{at}, the name {name!r:.40}")
    return found


def resolve(document, reference):
    there = document
    for part in reference.removeprefix("#/").split("/"):
        there = there[part]
    return there


def answer_faults(document, path, answer, method="post"):
    """Every way in which an answer with its status is not what the document says of that call."""
    responses = document["paths"][path][method]["responses"]
    described = responses.get(str(answer["status"]))
    if described is None:
        return [f"{path}: the status {answer['status']} is not described"]
    if "$ref" in described:
        described = resolve(document, described["$ref"])
    found = faults(document, described["content"]["application/json"]["schema"], answer["body"], path)
    required = described.get("headers", {})
    if "Retry-After" in required and not (answer["retry_after"] or "").isdigit():
        found.append(f"{path}: a {answer['status']} without Retry-After")
    return found
