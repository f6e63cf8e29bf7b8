#!/usr/bin/env python3
"""Lists every field that the configurations of our model families have in the installed transformers.

    python scripts/list-config-fields.py [--out tests/fixtures/config_fields]

writes transformers-<version>.json there. A test of the exporter fails on a field of these lists that it does not
classify, so run this for a new release of transformers, and classify what is new. torch is not needed.

A field is whatever a config.json can say that transformers may look at:

- `families`: the parameters of each configuration class, its base classes included, with their defaults;
- `handled`: names that the constructors take out of the remaining keys, or that have a setter;
- `class_attributes`: attributes of the classes, which a key of the same name would replace;
- `generation`: parameters of generation, which configurations of transformers 4 hold too;
- `read`: what the modelling code of the family, and the code that all models share, reads from a configuration;
- `rope`: the keys of `rope_parameters` and `rope_scaling`.
"""

import argparse
import ast
import dataclasses
import importlib
import inspect
import json
from pathlib import Path

import transformers
from transformers import GenerationConfig, configuration_utils

FAMILIES = {"gemma2": "Gemma2Config", "llama": "LlamaConfig", "mistral": "MistralConfig", "qwen2": "Qwen2Config",
            "qwen3": "Qwen3Config"}
ROOT = Path(transformers.__file__).parent
# The code that every model runs through, beside its own.
SHARED = ["masking_utils.py", "modeling_layers.py", "modeling_rope_utils.py", "modeling_attn_mask_utils.py",
          "configuration_utils.py", "integrations/sdpa_attention.py", "integrations/sdpa_paged.py",
          "integrations/flex_attention.py", "integrations/flash_attention.py", "pytorch_utils.py",
          "models/auto/auto_factory.py", "models/auto/configuration_auto.py", "dynamic_module_utils.py"]
SHARED += [str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("integrations/heterogeneity/*.py"))]
# Of this file only what loads a model and runs it: the rest is about saving, quantising and generating.
LOADING = "modeling_utils.py"
CONFIGS = {"config", "self_config", "text_config", "layer_config", "output_config", "effective_config"}


def tree(path):
    return ast.parse((ROOT / path).read_text()) if (ROOT / path).exists() else ast.parse("")


def dotted(node):
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return "?"


def is_config(node):
    return dotted(node) in CONFIGS | {"self.config", "model.config", "self.model.config", "module.config", "cls.config"}


def constant(node):
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def reads(path):
    """Attributes of a configuration that a file reads."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute) and is_config(node.value):
            found.add(node.attr)
        if isinstance(node, ast.Call) and dotted(node.func) in {"getattr", "hasattr"} and len(node.args) > 1:
            if is_config(node.args[0]) and constant(node.args[1]):
                found.add(node.args[1].value)
    return {name for name in found if not name.startswith("__")}


def handled(path):
    """Keys that a constructor takes out of the remaining ones, and properties with a setter."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            is_dictionary = dotted(node.func.value) in {"kwargs", "config_dict"}
            if node.func.attr in {"pop", "get"} and is_dictionary and constant(node.args[0]):
                found.add(node.args[0].value)
        if isinstance(node, ast.Compare) and constant(node.left) and len(node.comparators) == 1:
            if dotted(node.comparators[0]) in {"kwargs", "config_dict"}:
                found.add(node.left.value)
        if isinstance(node, ast.FunctionDef):
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Attribute) and decorator.attr == "setter":
                    found.add(node.name)
        if isinstance(node, ast.Subscript) and dotted(node.value) == "config_dict" and constant(node.slice):
            found.add(node.slice.value)
    return found


def rope_keys():
    """Keys of rope parameters that transformers knows."""
    found = set()
    module = importlib.import_module("transformers.modeling_rope_utils")
    found.update(getattr(getattr(module, "RopeParameters", None), "__annotations__", {}))
    for node in ast.walk(tree("modeling_rope_utils.py")):
        if isinstance(node, ast.Subscript) and "rope" in dotted(node.value) and constant(node.slice):
            found.add(node.slice.value)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            if node.func.attr in {"get", "setdefault"} and "rope" in dotted(node.func.value) and constant(node.args[0]):
                found.add(node.args[0].value)
        if isinstance(node, ast.Assign) and dotted(node.targets[0]) in {"required_keys", "optional_keys"}:
            found.update(filter(None, map(constant, getattr(node.value, "elts", []))))
    return found


def shown(value):
    """A default as JSON, or its text where it has no JSON."""
    try:
        json.dumps(value)
        return value
    except TypeError:
        return str(value)


def parameters(config_class):
    """The parameters of a configuration class and of its base classes, with their defaults."""
    found = {}
    if dataclasses.is_dataclass(config_class):
        for field in dataclasses.fields(config_class):
            missing = field.default is dataclasses.MISSING
            found[field.name] = None if missing else shown(field.default)
        return found
    for base in reversed(config_class.__mro__):
        if "__init__" not in vars(base):
            continue
        for name, parameter in inspect.signature(base.__init__).parameters.items():
            if name != "self" and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                found[name] = None if parameter.default is parameter.empty else shown(parameter.default)
    return found


def attributes(config_class):
    names = {name for base in config_class.__mro__ for name in [*vars(base), *getattr(base, "__annotations__", {})]}
    return {name for name in names if not name.startswith("__") and not inspect.isroutine(getattr(config_class, name, 0))}


def generation():
    defaults = getattr(GenerationConfig, "_get_default_generation_params", None)
    if defaults is None:
        return set(configuration_utils.PretrainedConfig._get_global_generation_defaults())
    return set(defaults())


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=Path, default=Path("tests/fixtures/config_fields"))
    out = arguments.parse_args().out
    classes = {family: getattr(transformers, name) for family, name in FAMILIES.items()}
    families = {family: parameters(config_class) for family, config_class in classes.items()}
    rope_mixin = ["modeling_rope_utils.py", *SHARED[-3:]]
    own_configurations = [f"models/{family}/configuration_{family}.py" for family in FAMILIES]
    taken = set().union(*map(handled, ["configuration_utils.py", "models/auto/configuration_auto.py", *rope_mixin,
                                       *own_configurations]))
    shared = set().union(*map(reads, [*SHARED, LOADING]))
    functions = {name for config_class in classes.values() for name in dir(config_class)
                 if inspect.isroutine(getattr(config_class, name, None))}
    result = {
        "made_by": "scripts/list-config-fields.py",
        "transformers": transformers.__version__,
        "families": {family: dict(sorted(found.items())) for family, found in families.items()},
        "handled": sorted(taken),
        "class_attributes": sorted(set().union(*map(attributes, classes.values()))),
        "generation": sorted(generation()),
        "read": {
            "shared": sorted(shared - functions),
            **{family: sorted(reads(f"models/{family}/modeling_{family}.py") - functions) for family in FAMILIES},
        },
        "rope": sorted(rope_keys()),
    }
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"transformers-{transformers.__version__}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    main()
