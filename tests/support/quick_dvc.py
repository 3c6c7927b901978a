"""DVC in warm processes reads, checks and writes each text once. Its files and what it refuses stay as they are."""

import functools
import hashlib
import io
import os
import pickle
import threading
import types
from pathlib import Path


def kept(folder, name, content, make):
    """What is made of a content, which the processes of a server find in its folder once one of them has made it."""
    file = Path(folder, f"{hashlib.sha256(content.encode()).hexdigest()}.{name}")
    if not file.exists():
        own = Path(f"{file}.{os.getpid()}.{threading.get_ident()}")
        own.write_bytes(make())
        own.rename(file)
    return file.read_bytes()


def quicken_dvc(folder):
    """Let DVC read and check a YAML file that is as it was once only, and its lock, which has no comments, without care
    for them: every command, and every stage again, reads the same files. What it writes, and how, stays."""
    from diskcache.core import DEFAULT_SETTINGS
    from dvc import schema as schemas
    from dvc.dependency import param
    from dvc.parsing import interpolate
    from dvc.utils import strictyaml
    from dvc.utils.serialize import _yaml

    slow, check = _yaml.parse_yaml, strictyaml.validate
    names = {id(schema): name for name, schema in vars(schemas).items() if name.startswith("COMPILED_")}

    @functools.lru_cache(256)
    def pickled(text, path):
        return kept(folder, "yaml", text, lambda: pickle.dumps(slow(text, path)))

    def parse_yaml(text, path, typ="safe"):
        is_plain = typ == "safe" or Path(path).name == "dvc.lock"
        return pickle.loads(pickled(text, path)) if is_plain else slow(text, path, typ)

    def validate(data, schema, text=None, **where):
        def valid():
            check(data, schema, text=text, **where)
            return b""

        if text is None or id(schema) not in names:
            return check(data, schema, text=text, **where)
        kept(folder, names[id(schema)], text, valid)
        return data

    _yaml.parse_yaml = strictyaml.parse_yaml = parse_yaml
    strictyaml.validate = validate
    _yaml._dump = functools.partial(dump_lock, slow=_yaml._dump, parse=parse_yaml, folder=folder)
    interpolate.parse_expr = functools.cache(interpolate.parse_expr)
    get = functools.partial(value_of, search=param.dpath.get)
    param.dpath = types.SimpleNamespace(get=get, search=param.dpath.search)
    DEFAULT_SETTINGS["sqlite_synchronous"] = 0  # the kill of a process loses nothing by it


def value_of(content, key, search, separator):
    """The value of a key with its parents, `a.b`; a search through all that is there is for patterns, `a.*`."""
    found = content
    for part in key.split(separator):
        if not isinstance(found, dict) or not part.isidentifier() or part not in found:
            return search(content, key, separator=separator)
        found = found[part]
    return found


def dump_lock(data, stream, slow, parse, folder):
    """Write a lock stage by stage, and any other file as ever. Of a stage that is as it was, the lines and what is read
    of them are kept; so is what will be read of the whole."""
    if list(data) != ["schema", "stages"] or not data["stages"]:
        slow(data, stream)
        return

    def dumped(content):
        out = io.StringIO()
        slow(content, out)
        return out.getvalue().encode()

    head = dumped({"schema": data["schema"]}).decode()
    text, content = f"{head}stages:\n", parse(head, "") | {"stages": {}}
    for name, stage in data["stages"].items():
        one = kept(folder, "one", repr((name, stage)), functools.partial(dumped, {"stages": {name: stage}}))
        text += one.decode().removeprefix("stages:\n")
        content["stages"] |= parse(one.decode(), "")["stages"]
    kept(folder, "yaml", text, functools.partial(pickle.dumps, content))
    stream.write(text)
