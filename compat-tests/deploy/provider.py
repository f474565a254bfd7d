"""What Terraform's provider of AWS takes and gives, from the TypeScript bindings that are generated from its schema.

Names are the bindings': `kms_key_arn` is `kmsKeyArn`, and a block is an interface. Types of values are not looked at.
"""

import functools
import os
import re

import support

BINDINGS = os.path.join(support.TOOLS, "provider-aws", "lib")

# Terraform's own, in any resource.
META = {"count", "for_each", "depends_on", "lifecycle", "provider", "provisioner", "connection"}


def camel(name):
    return re.sub(r"_(\w)", lambda at: at[1].upper(), name)


@functools.cache
def bindings(kind):
    """The interfaces of a resource or data source, the name of its own, and its attributes."""
    directory = os.path.join(BINDINGS, kind.replace("_", "-"))
    text = ""
    for folder, _, files in os.walk(directory):
        for file in files:
            with open(os.path.join(folder, file), encoding="utf-8") as opened:
                text += re.sub(r"/\*.*?\*/", "", opened.read(), flags=re.S)
    if not text:
        raise AssertionError(f"the provider has no {kind}")
    interfaces = {}
    for name, body in re.findall(r"export interface (\w+)(?: extends [\w.]+)? \{(.*?)\n\}", text, re.S):
        fields = re.findall(r"^ +readonly (\w+)(\??): (.*)$", body, re.M)
        interfaces[name] = {field: (not optional, kind.strip()) for field, optional, kind in fields}
    (own,) = re.findall(r"export interface (\w+) extends cdktf\.TerraformMetaArguments", text)
    return interfaces, own, set(re.findall(r"^ +get (\w+)\(\)", text, re.M))


def block_problems(where, body, interfaces, name):
    fields = interfaces[name]
    given = {key: value for key, value in body.items() if key not in META}
    for dynamic in given.pop("dynamic", []):
        for key, block in dynamic.items():
            given[key] = block["content"]
    missing = [field for field, (needed, _) in fields.items() if needed and field not in map(camel, given)]
    found = [f"{where}: {field} is missing" for field in missing]
    for key, value in given.items():
        if camel(key) not in fields:
            found.append(f"{where}: no {key}")
            continue
        # A block's type is an interface, or a list of it.
        inner = re.match(r"\w*", fields[camel(key)][1])[0]
        if inner in interfaces:
            for block in value if isinstance(value, list) else [value]:
                found += block_problems(f"{where}.{key}", block, interfaces, inner)
    return found


def problems(module):
    """What a module gives that the provider does not take, and asks for that it does not have."""
    found = []
    for prefix, declared in (("", module.resources), ("data_aws_", module.data)):
        for name, body in declared.items():
            kind = prefix + name.split(".")[0].removeprefix("aws_")
            interfaces, own, _ = bindings(kind)
            found += block_problems(name, body, interfaces, own)
    for prefix, kind, name, attribute in re.findall(r"(data\.)?\baws_(\w+)\.(\w+)\.(\w+)", module.text):
        _, _, attributes = bindings(("data_aws_" if prefix else "") + kind)
        if camel(attribute) not in attributes:
            found.append(f"aws_{kind}.{name} has no {attribute}")
    return found
