"""Checks Kubernetes objects against the models that Kubernetes and KServe publish for their Python clients.

The models are classes that name the type of every field. They are read as text: running them would need dozens of
packages.
"""

import ast
import re

SCALARS = {
    "str": lambda v: isinstance(v, str),
    "int": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "bool": lambda v: isinstance(v, bool),
    "float": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool),
    "object": lambda v: v is not None,
    "datetime": lambda v: isinstance(v, str),
    "ResourceQuantity": lambda v: isinstance(v, str) and re.fullmatch(r"\d+(\.\d+)?([numkMGTPE]|[KMGTPE]i)?", v),
}
KINDS = {
    ("serving.kserve.io/v1alpha1", "ServingRuntime"): "V1alpha1ServingRuntime",
    ("serving.kserve.io/v1beta1", "InferenceService"): "V1beta1InferenceService",
}


class Schemas:
    def __init__(self, *folders):
        self.sources = {}
        for folder in folders:
            for path in sorted(folder.glob("*.py")):
                for name in re.findall(r"^class (\w+)\(object\):", path.read_text(), re.MULTILINE):
                    self.sources.setdefault(name, path)
        self.models = {}

    def model(self, name):
        """(types by field, required fields) of a model; a field as it is written in an object."""
        if name not in self.models:
            text = self.sources[name].read_text()
            tables = {}
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                    if node.targets[0].id in ("openapi_types", "attribute_map"):
                        tables[node.targets[0].id] = ast.literal_eval(node.value)
            names = tables["attribute_map"]
            required = set(re.findall(r"Invalid value for `(\w+)`, must not be `None`", text))
            types = {names[field]: kind for field, kind in tables["openapi_types"].items()}
            self.models[name] = (types, {names[field] for field in required})
        return self.models[name]

    def check(self, document):
        """Raises AssertionError that names the field at fault."""
        self.value(KINDS[document.get("apiVersion"), document.get("kind")], document, document["kind"])

    def value(self, kind, value, where):
        # KServe spells out where it has some of Kubernetes' types from.
        kind = re.sub(r"^K8sIoApi(?:Core|Apps)V1(?=[A-Z])", "V1", kind)
        kind = re.sub(r"^K8sIoApimachineryPkgApi", "", kind)
        if match := re.fullmatch(r"list\[(.+)\]", kind):
            assert isinstance(value, list), f"{where}: {value!r} is no list"
            for index, item in enumerate(value):
                self.value(match[1], item, f"{where}[{index}]")
        elif match := re.fullmatch(r"dict\(str, (.+)\)", kind):
            assert isinstance(value, dict), f"{where}: {value!r} is no map"
            for key, item in value.items():
                self.value(match[1], item, f"{where}.{key}")
        elif kind in SCALARS:
            assert SCALARS[kind](value), f"{where}: {value!r} is no {kind}"
        else:
            types, required = self.model(kind)
            assert isinstance(value, dict), f"{where}: {value!r} is no {kind}"
            unknown = set(value) - set(types)
            assert not unknown, f"{where}: a {kind} has no field {', '.join(sorted(unknown))}"
            missing = required - set(value)
            assert not missing, f"{where}: a {kind} needs {', '.join(sorted(missing))}"
            for field, item in value.items():
                self.value(types[field], item, f"{where}.{field}")
