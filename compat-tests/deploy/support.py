"""What the tests of the deployment share: where the files are, and the templates as plain data.

A CloudFormation template becomes the objects that it has for given parameters: conditions are decided, `!If` is
resolved, and what only AWS can know stays as a word, `${Balancer.DNSName}`. A Terraform module becomes its blocks, with
expressions left as they are written. Nothing here knows what either should say.
"""

import json
import os
import re
import sys

import hcl2
import yaml

HERE = os.path.dirname(os.path.abspath(__file__))
REPO = os.path.dirname(os.path.dirname(HERE))
TOOLS = os.path.join(REPO, "compat-tests", ".tools")
DEPLOY = os.path.join(REPO, "deploy")
TERRAFORM = os.path.join(DEPLOY, "terraform")
CLOUDFORMATION = os.path.join(DEPLOY, "cloudformation")
MODULES = ("table", "service", "example")

sys.path.insert(0, os.path.join(REPO, "compat-tests", "clients"))


def read(*path):
    """The text of a file of the repository."""
    with open(os.path.join(REPO, *path), encoding="utf-8") as file:
        return file.read()


class Loader(yaml.SafeLoader):
    """CloudFormation's short forms, as their long ones."""


def short_form(loader, suffix, node):
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        return {name: value.split(".", 1) if suffix == "GetAtt" else value}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    return {name: loader.construct_mapping(node, deep=True)}


Loader.add_multi_constructor("!", short_form)

ABSENT = object()


class Template:
    """A CloudFormation template with these parameters; the others have their defaults."""

    def __init__(self, name, **parameters):
        self.body = yaml.load(read("deploy", "cloudformation", name), Loader)
        declared = self.body["Parameters"]
        unknown = set(parameters) - set(declared)
        if unknown:
            raise AssertionError(f"{name} has no parameters {unknown}")
        defaults = {key: str(value.get("Default", f"${{{key}}}")) for key, value in declared.items()}
        self.parameters = {**defaults, **parameters}
        self.resources = {}
        for key, resource in self.body["Resources"].items():
            if "Condition" not in resource or self.decide(resource["Condition"]):
                self.resources[key] = {**resource, "Properties": self.resolve(resource.get("Properties", {}))}

    def of_type(self, kind):
        """The properties of the resources of a type, by name."""
        found = self.resources.items()
        return {name: resource["Properties"] for name, resource in found if resource["Type"] == kind}

    def only(self, kind):
        """Those of the only one."""
        (properties,) = self.of_type(kind).values()
        return properties

    def decide(self, name):
        return self.holds(self.body["Conditions"][name])

    def holds(self, condition):
        ((function, arguments),) = condition.items()
        if function == "Fn::Equals":
            first, second = (self.resolve(argument) for argument in arguments)
            return first == second
        if function == "Fn::Not":
            return not self.holds(arguments[0])
        raise AssertionError(f"{function} is not understood")

    def resolve(self, value):
        if isinstance(value, list):
            return [item for item in map(self.resolve, value) if item is not ABSENT]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((function, arguments),) = value.items()
            if function == "Ref":
                if arguments == "AWS::NoValue":
                    return ABSENT
                return self.parameters.get(arguments, f"${{{arguments}}}")
            if function == "Fn::GetAtt":
                return "${" + ".".join(arguments) + "}"
            if function == "Fn::Sub":
                known = self.parameters
                return re.sub(r"\$\{([^}]+)\}", lambda at: known.get(at[1], at[0]), arguments)
            if function == "Fn::If":
                name, yes, no = arguments
                return self.resolve(yes if self.decide(name) else no)
            if function.startswith("Fn::"):
                raise AssertionError(f"{function} is not understood")
        resolved = {key: self.resolve(item) for key, item in value.items()}
        return {key: item for key, item in resolved.items() if item is not ABSENT}


def unquoted(value):
    """python-hcl2's strings without their quotes; it has those of the file."""
    if isinstance(value, str):
        return re.sub(r"\\(.)", r"\1", value[1:-1]) if value[:1] == value[-1:] == '"' else value
    if isinstance(value, list):
        return [unquoted(item) for item in value]
    if isinstance(value, dict):
        return {unquoted(key): unquoted(item) for key, item in value.items() if not key.startswith("__")}
    return value


class Module:
    """A Terraform module: its blocks, and all of its text."""

    def __init__(self, name):
        directory = os.path.join(TERRAFORM, name)
        files = sorted(file for file in os.listdir(directory) if file.endswith(".tf"))
        self.text = "".join(read("deploy", "terraform", name, file) for file in files)
        self.blocks = {}
        for file in files:
            with open(os.path.join(directory, file), encoding="utf-8") as opened:
                for kind, blocks in unquoted(hcl2.load(opened)).items():
                    self.blocks.setdefault(kind, []).extend(blocks)
        self.resources = self.of_two_labels("resource")
        self.data = self.of_two_labels("data")

    def of_two_labels(self, kind):
        found = {}
        for block in self.blocks.get(kind, []):
            ((first, rest),) = block.items()
            ((second, body),) = rest.items()
            found[f"{first}.{second}"] = body
        return found

    def of_one_label(self, kind):
        found = {}
        for block in self.blocks.get(kind, []):
            found.update(block)
        return found

    def locals(self):
        merged = {}
        for block in self.blocks.get("locals", []):
            merged.update(block)
        return merged


def iam(name):
    """A policy of deploy/iam."""
    return json.loads(read("deploy", "iam", f"{name}.json"))
